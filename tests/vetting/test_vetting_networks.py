"""Networks are looked at rightly, shadows are honest and repeat, panels feed detectors."""

from pathlib import Path

import numpy as np
import pytest
import torch
import vetting_toys
from safetensors.torch import load_file
from torch import nn
from vetting_toys import CLASSES, Tiny, pictures, problem

from splitveil.data import LabelledImages
from splitveil.errors import AuditError, BadData, BadModel, BadPlan
from splitveil.models import PixelModel, load_model
from splitveil.rng import Rng
from splitveil.vetting import (
    Answers,
    Case,
    Recipe,
    benchmark,
    build_panel,
    find_detector,
    images_digest,
    look,
    measure,
    null_from,
    panel_nets,
    shadow_maker,
    shadow_null,
    small_network,
    train_shadow,
    train_shadows,
    vet,
)
from splitveil.vetting.against_shadows import measured
from splitveil.vetting.looking import find_last_layer
from splitveil.vetting.shadows import FAMILIES
from splitveil.vetting.statistics import centred
from splitveil.vetting.statistics.catalogue import STATISTICS


def test_the_last_layer_is_found_behind_normalisation_and_class_order() -> None:
    images = pictures(40)
    network = PixelModel(Tiny(), mean=(0.3,), std=(0.2,), order=(2, 0, 3, 1))
    last = find_last_layer(network, images.x)
    assert last is not None
    assert torch.allclose(last.outputs.float(), network(images.x), atol=1e-5)
    bundled = load_model("vgg").network
    x = torch.rand(3, 1, 32, 32, generator=Rng(0).torch())
    found = find_last_layer(bundled, x)
    assert found is not None
    assert torch.allclose(found.outputs.float(), bundled(x), atol=1e-4)


def test_slopes_are_gradients_and_the_network_stays_as_it_was() -> None:
    images, network = pictures(40), Tiny().train()
    answers, notes = look(network, images)
    assert notes == ()
    assert answers.slopes is not None
    rows = network.classifier.weight.detach().double().norm(dim=1)
    assert torch.allclose(answers.slopes, rows.expand_as(answers.slopes), atol=1e-5)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert set(measure(answers, Rng(0))) == set(STATISTICS)


def test_a_network_without_a_last_layer_or_a_gradient_says_so() -> None:
    class Closed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach().flatten(1)[:, :CLASSES] * 3

    answers, notes = look(Closed(), pictures(40))
    assert "T1" in notes[0]
    assert "T4" in notes[1]
    assert set(measure(answers, Rng(0))) == {
        "effective_rank",
        "kernel_probe",
        "linear_probe",
        "spread",
    }


def test_a_cut_is_looked_at() -> None:
    network = PixelModel(small_network("plain", 1, CLASSES))
    images = pictures(60)
    answers, _ = look(network.eval(), images, cut="relu3")
    assert answers.sent.shape == (60, 64 * 2 * 2)
    assert "linear_probe" in measure(answers, Rng(0))


def test_probabilities_are_looked_at_as_scores() -> None:
    x, labels, own = problem(100)
    scores = own[:, :CLASSES]
    answers = Answers.of(x, labels, scores.softmax(1))
    assert torch.allclose(answers.sent, scores - scores.mean(1, keepdim=True), atol=1e-9)


def test_one_output_is_a_score_against_nought() -> None:
    images = pictures(60, classes=2)
    answers, notes = look(Tiny(classes=1), images)
    assert answers.scores.shape == (60, 2)
    assert notes == ("One output has no losing classes: T4 is not available.",)
    found = measure(answers, Rng(0))
    assert found["effective_rank"].value == pytest.approx(1)
    assert -1 < found["linear_probe"].value <= 1


def test_what_cannot_be_vetted_is_one_line() -> None:
    x, labels, own = problem(60)
    outputs = own[:, :CLASSES]
    wrong: list[
        tuple[str, type[AuditError], tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]
    ]
    wrong = [
        ("no labels", BadData, (x, None, outputs)),
        ("too few", BadData, (x[:3], torch.arange(3), outputs[:3])),
        ("too few", BadData, (x[:12], torch.arange(12) % 4, outputs[:12])),
        ("count classes from 0", BadData, (x, labels - 1, outputs)),
        ("all equal", BadData, (x[:1].expand(60, -1, -1, -1), labels, outputs)),
        ("beyond the class", BadData, (x[labels % 4], labels, outputs)),
        ("NaN or infinite", BadModel, (x, labels, outputs.log())),
        ("label 3", BadModel, (x, labels, outputs[:, :2])),
        ("expected outputs", BadModel, (x, labels, outputs[:5])),
    ]
    for text, error, given in wrong:
        with pytest.raises(error, match=text):
            Answers.of(*given)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", [16, 28, 60])
def test_small_networks_take_images_of_any_size(family: str, side: int) -> None:
    network = small_network(family, 3, 5).eval()
    assert network(torch.rand(2, 3, side, side, generator=Rng(0).torch())).shape == (2, 5)


def test_shadows_repeat_and_do_not_depend_on_each_other() -> None:
    images = pictures(60)
    make = shadow_maker("plain", channels=1, classes=CLASSES)
    before = torch.get_rng_state()
    whole = list(train_shadows(make, images, count=3, epochs=1, rng=Rng(1)))
    assert torch.equal(before, torch.get_rng_state())
    (rest,) = train_shadows(make, images, count=3, epochs=1, rng=Rng(1), skip=frozenset({0, 2}))
    assert rest.number == 1
    x = images.x[:5]
    assert torch.equal(rest.network(x), whole[1].network(x))
    assert not torch.equal(whole[0].network(x), whole[1].network(x))


def test_shadows_of_a_factory_start_from_weights_of_their_own() -> None:
    make = shadow_maker("vetting_toys:stuck", channels=1, classes=CLASSES)
    first, second = make(Recipe(epochs=1)), make(Recipe(epochs=1))
    assert isinstance(first, Tiny)
    assert isinstance(second, Tiny)
    assert not torch.equal(first.classifier.weight, torch.ones_like(first.classifier.weight))
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_bad_shadows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.weight = nn.Parameter(torch.zeros(3))

    monkeypatch.setattr(vetting_toys, "stuck", Kept)
    with pytest.raises(BadModel, match="initialised anew: weight"):
        shadow_maker("vetting_toys:stuck", channels=1, classes=2)(Recipe(epochs=1))
    with pytest.raises(BadPlan, match="expected one of"):
        shadow_maker("nonsense", channels=1, classes=2)
    make = shadow_maker("plain", channels=1, classes=2)
    grey = LabelledImages(torch.full((50, 1, 16, 16), 0.5), torch.arange(50) % 2)
    with pytest.raises(BadData, match="alike"):
        train_shadow(make, grey, Recipe(epochs=1), Rng(0))
    with pytest.raises(BadData, match="no labels"):
        train_shadow(make, LabelledImages(grey.x), Recipe(epochs=1), Rng(0))


class Rows(nn.Module):
    """Answers with the brightness of each class's row, and adds `axes` of the image to it."""

    def __init__(self, axes: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.stack([x[:, 0, 3 * k % 16].mean(1) for k in range(CLASSES)], 1)
        return 50 * rows + x.flatten(1) @ self.axes.T


def test_a_network_that_sends_its_image_is_suspicious_among_honest_ones() -> None:
    images = pictures(60, seed=2)
    assert images.y is not None
    inside = centred(images.x.double().flatten(1), images.y)
    widest = torch.linalg.svd(inside, full_matrices=False)[2][:CLASSES].float()
    generator = Rng(0).torch()
    honest = [Rows(0.05 * torch.randn(CLASSES, 256, generator=generator)) for _ in range(40)]
    found = [measured(network, images) for network in honest]
    null = null_from(
        [(one.statistics, one.accuracy.value) for one in found[1:]],
        images=images_digest(images),
        family="rows",
        how="by hand",
        command="none",
        seed=0,
    )
    vetting, notes = vet(Rows(widest), images, null)
    assert vetting.answer == "SUSPICIOUS"
    assert vetting.p == pytest.approx(2 / 40)
    assert "T1" in notes[0]
    assert vet(honest[0], images, null)[0].answer == "CONSISTENT WITH HONEST"
    other = pictures(60, seed=3)
    assert vet(Rows(widest), other, null)[0].answer == "INCONCLUSIVE"


def test_shadows_on_the_spot_become_a_null() -> None:
    training, images = pictures(60, seed=1), pictures(60, seed=2)
    make = shadow_maker("vetting_toys:Tiny", channels=1, classes=CLASSES)
    said: list[int] = []
    null = shadow_null(
        make,
        training,
        images,
        family="tiny",
        count=2,
        epochs=1,
        say=lambda shadow, found: said.append(shadow.number),
    )
    assert said == [0, 1]
    assert null.images == images_digest(images)
    assert set(null.values) == set(STATISTICS)


class Learns:
    """A detector for the benchmark that learns a threshold, and cheats if it can."""

    def fit(self, cases: list[Case]) -> None:
        assert {case.vicious for case in cases} == {True, False}
        self.seen = len(cases)

    def __call__(self, case: Case) -> float:
        assert case.vicious is None
        return float(self.seen + ("vicious" in case.name))


def test_a_panel_goes_on_and_feeds_a_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_nets, "COUNTS", {"test": 1, "train": 1})
    training, images = pictures(60), pictures(60, seed=4)
    build_panel(tmp_path, training, images, rng=Rng(0))
    paths = sorted(tmp_path.iterdir())
    assert [p.name for p in paths] == [
        f"{part}-{kind}-00.safetensors"
        for part in ("test", "train")
        for kind in ("honest", "vicious")
    ]
    before = paths[1].read_bytes()
    paths[1].unlink()
    said: list[str] = []
    build_panel(tmp_path, training, images, rng=Rng(0), say=said.append)
    assert len(said) == 1
    weights = load_file(paths[1])
    assert before  # the same weights come back, though the CPU time written beside them differs
    found = benchmark("Learns", find_detector(f"{__name__}:Learns"), tmp_path, images)
    assert found.roc.area.value == 1
    assert found.to_json()["scores"]["test-vicious-00"]["weight"] == 3.0
    again = {m.name: n for m, n, _ in panel_nets.read_panel(tmp_path)}
    assert torch.equal(
        again["test-vicious-00"].state_dict()["network.conv.weight"],
        weights["network.conv.weight"],
    )
    for name in STATISTICS:
        own = benchmark(name, find_detector(name), tmp_path, images)
        assert np.isfinite([score for _, score in own.scores]).all()


def test_bad_detectors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match="expected one of"):
        find_detector("nonsense")
    with pytest.raises(BadPlan, match="must be callable"):
        find_detector("vetting_toys:CLASSES")
    with pytest.raises(BadPlan, match="holds no panel"):
        benchmark("x", find_detector("spread"), tmp_path, pictures(60))
