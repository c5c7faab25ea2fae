"""LPIPS on random weights against torchmetrics' network and against the formula written out."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchmetrics.functional.image import lpips as reference

from splitveil.errors import BadModel, BadPlan
from splitveil.measures import lpips, perceptual_distance
from splitveil.measures.lpips import Backbone
from splitveil.rng import Rng

ALEX = [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)]
VGG = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def torchvision_features(net: str) -> nn.Sequential:
    """The layers as torchvision orders them, with seeded weights of unit gain."""
    layers: list[nn.Module] = []
    if net == "alex":
        for index, (width, before, kernel) in enumerate(ALEX):
            stride, padding = (4, 2) if index == 0 else (1, kernel // 2)
            layers.append(nn.Conv2d(before, width, kernel, stride=stride, padding=padding))
            layers.append(nn.ReLU(inplace=True))
            if index in (0, 1, 4):
                layers.append(nn.MaxPool2d(3, 2))
    else:
        before = 3
        for entry in VGG:
            if isinstance(entry, int):
                layers += [nn.Conv2d(before, entry, 3, padding=1), nn.ReLU(inplace=True)]
                before = entry
            else:
                layers.append(nn.MaxPool2d(2, 2))
    features = nn.Sequential(*layers)
    generator = Rng(0, ("lpips", net)).torch()
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            fan = layer.weight[0].numel()
            layer.weight.data.normal_(0, math.sqrt(2 / fan), generator=generator)
            assert layer.bias is not None
            layer.bias.data.normal_(0, 0.1, generator=generator)
    return features.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lpips")
    for net in ("alex", "vgg"):
        state = {f"features.{k}": v for k, v in torchvision_features(net).state_dict().items()}
        save_file({**state, "classifier.1.weight": torch.zeros(2)}, place / f"{net}.safetensors")
    return place


def images(side: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = Rng(1, ("images",)).torch()
    x = torch.rand(3, channels, side, side, generator=generator)
    return x, (x + 0.2 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize(("net", "side"), [("alex", 64), ("alex", 31), ("vgg", 32)])
def test_it_is_torchmetrics_network(
    net: Backbone, side: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        reference, "_get_tv_model_features", lambda name, pretrained: torchvision_features(net)
    )
    theirs = reference._LPIPS(pretrained=True, net=net, pnet_rand=True)
    ours = lpips(folder / f"{net}.safetensors", net=net)
    x, y = images(side)
    expected = theirs(x, y, normalize=True).flatten()
    assert float(expected.min()) > 1e-3
    assert torch.allclose(ours(x, y), expected, rtol=1e-4, atol=1e-7)


def test_it_is_the_formula_with_heads_of_ones(folder: Path) -> None:
    """Every stage then adds the mean over positions of 2 - 2 cos of the features' angle."""
    widths = (64, 192, 384, 256, 256)
    heads = {f"lin{i}.model.1.weight": torch.ones(1, w, 1, 1) for i, w in enumerate(widths)}
    save_file(heads, folder / "ones.safetensors")
    network = lpips(folder / "alex.safetensors", heads=folder / "ones.safetensors")
    x, y = images(64)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = (
        (2 * z - 1 - shift[:, None, None]) / scale[:, None, None] for z in (x.clone(), y.clone())
    )
    expected = torch.zeros(3)
    for layer in list(torchvision_features("alex"))[:12]:
        a, b = layer(a), layer(b)
        if isinstance(layer, nn.ReLU):
            angle = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
            expected += (2 - 2 * angle).mean((1, 2))
    assert torch.allclose(network(x, y), expected, rtol=1e-3)


def test_as_a_measure(folder: Path) -> None:
    network = lpips(folder / "alex.safetensors", size=64)
    x, y = images(28, channels=1)
    found = perceptual_distance(y, x, network, Rng(0), unit="lpips (alex, 64 px)")
    assert found.value > 0
    assert found.unit == "lpips (alex, 64 px)"
    assert perceptual_distance(x, x, network, Rng(0), unit="").value == 0.0
    assert torch.allclose(network(x, y), network(y, x))


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(BadModel, match=r"no vgg backbone: 'features.0.weight' has shape"):
        lpips(folder / "alex.safetensors", net="vgg")
    save_file({"features.0.weight": torch.zeros(64, 3, 11, 11)}, folder / "part.safetensors")
    with pytest.raises(BadModel, match=r"no alex backbone: 'features.0.bias' is missing"):
        lpips(folder / "part.safetensors")
    with pytest.raises(BadModel, match="do not exist"):
        lpips(folder / "none.pt")
    with pytest.raises(BadModel, match="no alex heads"):
        lpips(folder / "alex.safetensors", heads=folder / "alex.safetensors")
    with pytest.raises(BadPlan, match="size >= 31"):
        lpips(folder / "alex.safetensors", size=28)
    x, y = images(28)
    with pytest.raises(BadModel, match="size=64"):
        lpips(folder / "alex.safetensors")(x, y)
