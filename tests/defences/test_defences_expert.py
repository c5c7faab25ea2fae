"""Going on from the device's half of a network hardened before."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hardening import CLASSES, images
from safetensors.torch import save_file
from torch import nn

from splitveil.defences import Component, Expert, Hardened, ResSFL, harden, parse_components
from splitveil.defences.base import Batch, Setting
from splitveil.defences.pipeline import open_setting
from splitveil.defences.way import Way
from splitveil.errors import BadPlan
from splitveil.models import PixelModel
from splitveil.models.grafts import apply_grafts
from splitveil.models.weights import model_digest
from splitveil.rng import Rng
from splitveil.testing.conformance.defences import DefenceConformance
from splitveil.training import Schedule


def net(classes: int = CLASSES, channels: int = 4, size: int = 6, seed: int = 1) -> nn.Module:
    """Images (1, size, size) to logits; the last layer depends on the classes."""
    with Rng(seed).as_global():
        network = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(channels * (size // 2) ** 2, classes),
        )
    return network.eval()


def run(text: str, model: nn.Module, *, epochs: int = 2, **changes: Any) -> Hardened:
    settings: dict[str, Any] = {"cut": "3", "rng": Rng(0), "watch": None} | changes
    schedule = Schedule(epochs=epochs, batch=32, learning_rate=settings.pop("rate", 1e-2))
    return harden(model, images(128), parse_components(text), schedule=schedule, **settings)


def stored(found: Hardened, folder: Path, **described: str) -> Path:
    """What the command writes."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.clone().contiguous() for k, v in found.network.state_dict().items()}
    grafts = {"grafts": json.dumps(list(found.grafts))} if found.grafts else {}
    save_file(state, folder / "weights.safetensors", grafts | described)
    return folder


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of six classes, behind a bottleneck and an adversary."""
    found = run("bottleneck(2)+adversary(1)", net(classes=6, seed=5))
    return stored(found, tmp_path_factory.mktemp("expert"))


class TestExpert(DefenceConformance):
    cut = "3"

    def network(self) -> nn.Module:
        return net(3, size=12)

    @pytest.fixture
    def component(self, expert: Path) -> Component:
        return Expert(str(expert))


def test_training_starts_from_the_experts_half_and_the_sources_rest(expert: Path) -> None:
    """At a vanishing learning rate what comes out is what was put in."""
    source = net()
    found = run(f"expert({expert})", source, epochs=1, rate=1e-12)
    given = net(classes=6)
    (change,) = found.grafts
    assert change["at"] == "3"
    apply_grafts(given, found.grafts)
    from splitveil.models.weights import read_weights

    given.load_state_dict(read_weights(expert / "weights.safetensors"))
    before, after = given.state_dict(), found.network.state_dict()
    for name in ("0.weight", "0.bias", "1.weight", "3.device.0.mix.weight", "3.cloud.0.mix.weight"):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-8)
    torch.testing.assert_close(after["5.weight"], source.state_dict()["5.weight"])
    assert not torch.equal(before["0.weight"], source.state_dict()["0.weight"])


def test_the_source_stays_as_it_is(expert: Path) -> None:
    source = net()
    before = model_digest(source)
    run(f"expert({expert})+noise(0.1)", source, epochs=1)
    assert model_digest(source) == before


def test_a_frozen_expert_ends_bit_equal(expert: Path) -> None:
    found = run(f"expert({expert})+freeze(1)", net())
    from splitveil.models.weights import read_weights

    given = read_weights(expert / "weights.safetensors")
    assert torch.equal(found.network.state_dict()["0.weight"], given["0.weight"])


def test_an_attacker_may_weaken_over_training() -> None:
    """The price is linear in progress, from weight to end."""
    x = torch.rand(8, 1, 12, 12, generator=Rng(0).torch())
    source = net(size=12)
    setting = Setting(source=source, classes=CLASSES, class_names=(), x=x)
    setting = open_setting(setting, Way.of(source, "3", x[:2]))

    def price(component: ResSFL, progress: float) -> float:
        with Rng(0).as_global():
            part = component.prepare(setting)
        # a decoder that starts at the mean image is like it: some SSIM is there to charge
        z = torch.zeros(8, 144)
        same = x.mean(0, keepdim=True).expand(8, -1, -1, -1)
        batch = Batch(
            x=same, y=torch.zeros(8).long(), logits=torch.zeros(8, 4), progress=progress, sent=z
        )
        assert part.term is not None
        return float(part.term(batch).detach())

    whole = price(ResSFL(2.0, channels=0, cap=0.0), 0.7)
    assert whole > 0
    fading = ResSFL(2.0, channels=0, cap=0.0, end=0.5)
    for progress, weight in ((0.0, 2.0), (0.5, 1.25), (1.0, 0.5)):
        assert price(fading, progress) == pytest.approx(weight / 2 * whole, rel=1e-4)
    assert fading.structure(setting) is None
    assert parse_components(str(fading)) == (fading,)


def test_both_steps_of_the_recipe(tmp_path: Path) -> None:
    """An expert under a strong attacker, a transfer under a weaker one; what ships has one neck."""
    data = DefenceConformance()._images()
    schedule = Schedule(epochs=1, batch=32, learning_rate=1e-2)

    def step(text: str, model: nn.Module) -> Hardened:
        parts = parse_components(text)
        return harden(model, data, parts, schedule=schedule, rng=Rng(0), cut="3", watch=None)

    first = step("ressfl(2,channels=2)", net(3, size=12, seed=4))
    folder = stored(first, tmp_path / "expert")
    second = step(f"expert({folder})+ressfl(0.5,channels=0)+noise(0.1)", net(3, size=12))
    assert second.partition is not None
    assert second.partition.cut.layout.size == 2 * 36
    assert second.grafts[0]["device"] == [
        {"name": "Narrow", "settings": {"shape": [4, 6, 6], "kept": 2}}
    ]


def test_bad_input(expert: Path, tmp_path: Path) -> None:
    for text, model, says in (
        (f"expert({tmp_path}/nowhere)", net(), "no weights at"),
        (f"expert({expert})", net(channels=3), r"'0.weight' is \(4, 1, 3, 3\)"),
        (f"expert({expert})+bottleneck(2)", net(), "2 channels cross here"),
    ):
        with pytest.raises(BadPlan, match=says):
            run(text, model)
    with pytest.raises(BadPlan, match="acts on what crosses a cut"):
        run(f"expert({expert})", net(), cut=None)
    with pytest.raises(BadPlan, match="cut where the expert was hardened"):
        run(f"expert({expert})", net(), cut="2")
    with pytest.raises(BadPlan, match="starting from scratch"):
        run(f"expert({expert})", net(), start="scratch")
    other = stored(run("onehot", net(), epochs=1), tmp_path / "grey", mean="0.5", std="0.25")
    with pytest.raises(BadPlan, match="expects mean and std"):
        run(f"expert({other})", PixelModel(net()).eval(), cut="3")
    for text in ("ressfl(1,channels=-1)", "ressfl(1,end=-1)"):
        with pytest.raises(BadPlan, match="must not be negative"):
            parse_components(text)
