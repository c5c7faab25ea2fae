"""Components at a cut: releases, structures, adversaries, memory, freezing, and their storage."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hardening import CLASSES, images, net
from torch import Tensor, nn

from splitveil.defences import (
    Adversary,
    Batch,
    Component,
    EpochState,
    Hardened,
    Noise,
    Part,
    Setting,
    Structure,
    harden,
    parse_components,
)
from splitveil.errors import BadPlan, UnknownName
from splitveil.models.grafts import apply_grafts
from splitveil.models.weights import model_digest
from splitveil.nets.carriers import Narrow
from splitveil.partition import trace
from splitveil.release import ClippedGaussian, GaussianNoise
from splitveil.release.stored import Stored, release_bytes
from splitveil.rng import Rng
from splitveil.training import Schedule

SHORT = Schedule(epochs=2, batch=32, learning_rate=1e-2)


class Memory(nn.Module):
    """A running mean."""

    mean: Tensor

    def __init__(self, size: int) -> None:
        nn.Module.__init__(self)
        self.register_buffer("mean", torch.zeros(size))


class Watcher(Component):
    """A component with everything: an adversary, a memory, a term that uses both."""

    name = "watcher"
    reference = "none"

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight})"

    def prepare(self, setting: Setting) -> Part:
        size = setting.crossing(self).size
        critic = nn.Linear(size, 36)
        memory = Memory(size)

        def error(batch: Batch) -> Tensor:
            return (critic(batch.features) - batch.x.flatten(1)).square().mean()

        def remember(batch: Batch) -> None:
            assert not batch.features.requires_grad
            memory.mean.mul_(0.9).add_(0.1 * batch.features.mean(0))

        def term(batch: Batch) -> Tensor:
            drift = (batch.features.mean(0) - memory.mean).square().mean()
            return 0.1 * drift - self.weight * error(batch).clamp_max(0.3)

        return Part(
            term=term,
            adversaries=(Adversary(network=critic, loss=error, learning_rate=1e-2),),
            modules=memory,
            observe=remember,
        )

    def __str__(self) -> str:
        return self.name


class Unbounded(Watcher):
    """A price on what only noise bounds."""

    def prepare(self, setting: Setting) -> Part:
        def rate(batch: Batch) -> Tensor:
            assert batch.noise is not None
            return (1 + batch.features.var(0) / batch.noise.square()).log().mean()

        return Part(term=rate, needs_noise=True)


def run(text: str, *more: Component, cut: str | None = "3", **changes: object) -> Hardened:
    settings: dict[str, object] = {"schedule": SHORT, "rng": Rng(0), "patience": None}
    settings |= changes
    model = settings.pop("model", None) or net()
    components = [*parse_components(text), *more]
    return harden(model, images(128), components, cut=cut, **settings)  # type: ignore[arg-type]


def test_a_cut_by_itself_changes_no_bit() -> None:
    assert model_digest(run("onehot").network) == model_digest(run("onehot", cut=None).network)


def test_training_noise_is_the_release_that_ships() -> None:
    z = torch.randn(64, 10, generator=Rng(0).torch()).exp()
    noise = Noise(0.3, clip=0.9)
    sent, scale = noise.send(z, Rng(1).torch())
    release = GaussianNoise(sigma=0.3, clip=0.9).fit(z)
    assert float(scale) == pytest.approx(release.sigma, rel=1e-5)
    torch.testing.assert_close(sent, release(z, Rng(1).torch()), rtol=1e-4, atol=1e-5)


def test_inflating_features_gains_nothing_against_noise() -> None:
    z = torch.randn(64, 10, generator=Rng(0).torch())
    growth = torch.ones((), requires_grad=True)
    sent, scale = Noise(0.3).send(growth * z, Rng(1).torch())
    signal = (sent - scale * torch.randn(z.shape, generator=Rng(1).torch())).square().sum()
    (signal / scale.square()).backward()
    # only the clipped image, held at a radius that counts as constant, has any slope
    assert growth.grad is not None
    assert float(growth.grad) <= 0


def test_the_partition_is_the_network_with_its_release() -> None:
    found = run("noise(0.2)")
    partition = found.partition
    assert partition is not None
    assert partition.cut.name == "3"
    x = images().probe.x[:8]
    z = partition.features(x)
    with torch.no_grad():
        assert torch.equal(partition.predict(z), found.network(x))
    release = partition.release
    assert isinstance(release, ClippedGaussian)
    assert release.sigma > 0
    assert not torch.equal(partition.transmit(x, Rng(0)), z)


def test_a_structure_crosses_stores_and_is_rebuilt() -> None:
    found = run("bottleneck(2)+noise(0.1)")
    partition = found.partition
    assert partition is not None
    assert partition.cut.layout.size == 2 * 9
    described = json.loads(json.dumps(found.grafts))
    again = net()
    apply_grafts(again, described)
    again.load_state_dict(found.network.state_dict())
    assert model_digest(again.eval()) == model_digest(found.network)
    x = images().probe.x[:4]
    traced = trace(again, x)
    z = traced.features(x, [traced.cut(partition.cut.name)])[partition.cut.id]
    assert torch.equal(z, partition.features(x))


def test_a_release_is_stored_without_pickles(tmp_path: Path) -> None:
    partition = run("noise(0.1)", schedule=Schedule(epochs=1, batch=64)).partition
    assert partition is not None
    path = tmp_path / "release.safetensors"
    path.write_bytes(release_bytes(partition.release))
    recipe = Stored(str(path))
    release = recipe.fit(torch.zeros(1, 36))
    z = partition.features(images().probe.x[:4])
    assert torch.equal(release(z, Rng(2).torch()), partition.release(z, Rng(2).torch()))
    assert eval(repr(recipe), {"Stored": Stored}) == recipe
    path.write_bytes(release_bytes(GaussianNoise(sigma=1.0).fit(z)))
    with pytest.raises(BadPlan, match="changed since"):
        eval(repr(recipe), {"Stored": Stored})
    path.write_bytes(b"nothing")
    with pytest.raises(BadPlan, match="no stored release"):
        Stored(str(path)).fit(z)
    with pytest.raises(BadPlan, match="check the path"):
        Stored(str(tmp_path / "none")).fit(z)


@pytest.mark.parametrize(
    ("text", "still", "moved"),
    [
        ("freeze(1)", ("0.", "1."), "6.weight"),
        ("freeze:1", ("0.", "1."), "6.weight"),
        ("freeze(-1)", ("0.", "1.", "6."), "8.weight"),
        ("freeze(2,span=from)", ("8.",), "0.weight"),
    ],
)
@pytest.mark.parametrize("cut", [None, "3"])
def test_what_is_frozen_ends_bit_equal(
    text: str, still: tuple[str, ...], moved: str, cut: str | None
) -> None:
    source = net()
    after = run(text, cut=cut, model=source).network.state_dict()
    before = source.state_dict()
    for name in before:
        if name.startswith(still):
            assert torch.equal(before[name], after[name]), name
    assert "1.running_mean" in before
    assert not torch.equal(before[moved], after[moved])


@pytest.mark.parametrize("cut", [None, "3"])
def test_without_freezing_statistics_move(cut: str | None) -> None:
    source = net()
    after = run("onehot", cut=cut, model=source).network.state_dict()
    assert not torch.equal(source.state_dict()["1.running_mean"], after["1.running_mean"])


class Named(nn.Module):
    """Stages by name, and a parameter of the network's own."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.shift = nn.Parameter(torch.zeros(1))
        self.stage1 = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        self.stage2 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Flatten())
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.stage2(self.stage1(x + self.shift).relu()))
        return out


def frozen(text: str) -> set[str]:
    with Rng(0).as_global():
        source = Named().eval()
    (component,) = parse_components(text)
    data = images().train
    part = component.prepare(Setting(source=source, classes=CLASSES, class_names=(), x=data.x[:2]))
    return {
        name.partition(".")[0]
        for name in source.state_dict()
        if any(name == path or name.startswith(f"{path}.") for path in part.frozen)
    }


def test_freezing_by_name() -> None:
    assert frozen("freeze:stage1") == {"shift", "stage1"}
    assert frozen("freeze(stage2)") == {"shift", "stage1", "stage2"}
    assert frozen("freeze(stage2,only)") == {"stage2"}
    assert frozen("freeze(stage2,from)") == {"stage2", "classifier"}
    with pytest.raises(UnknownName, match="stage1"):
        frozen("freeze(stage9)")
    with pytest.raises(BadPlan, match="between 1 and 2"):
        frozen("freeze(3)")


def test_an_adversary_learns_and_the_memory_moves() -> None:
    seen: list[float] = []

    class Listening(Watcher):
        def prepare(self, setting: Setting) -> Part:
            part = Watcher.prepare(self, setting)
            (adversary,) = part.adversaries

            def loss(batch: Batch) -> Tensor:
                assert not batch.features.requires_grad
                found = adversary.loss(batch)
                seen.append(float(found.detach()))
                return found

            given = Adversary(network=adversary.network, loss=loss, learning_rate=1e-2)
            return Part(
                term=part.term, adversaries=(given,), modules=part.modules, observe=part.observe
            )

    run("onehot", Listening(weight=0.0))
    assert sum(seen[-3:]) < 0.9 * sum(seen[:3])
    free = run("onehot", Watcher(weight=0.0)).network
    pressed = run("onehot", Watcher(weight=3.0)).network
    assert model_digest(free) != model_digest(pressed)


class Stopped(Exception):
    """What a kill stands for."""


def test_adversaries_and_memories_go_on_to_the_same_bits(tmp_path: Path) -> None:
    text = "noise(0.2)+bottleneck(3)+freeze(1)"
    whole = run(text, Watcher(), patience=3)

    def stop(state: EpochState) -> None:
        if state.number == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run(text, Watcher(), patience=3, folder=tmp_path, on_epoch=stop)
    found = run(text, Watcher(), patience=3, folder=tmp_path)
    assert found.states == whole.states
    assert model_digest(found.network) == model_digest(whole.network)
    assert found.partition is not None
    assert whole.partition is not None
    z = whole.partition.features(images().probe.x[:4])
    sent = [h.partition.release(z, Rng(0).torch()) for h in (found, whole) if h.partition]
    assert torch.equal(*sent)


def test_the_source_stays_as_it_is() -> None:
    model = net().train()
    before = model_digest(model)
    run("noise(0.2)+bottleneck(2)", Watcher(), model=model)
    assert model_digest(model) == before
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


class Wrong(Component):
    """A structure that does not lead back."""

    name = "wrong"
    reference = "none"

    def structure(self, setting: Setting) -> Structure:
        shape = setting.shape(self)
        return Structure(device=Narrow(shape, 2), cloud=nn.Identity())

    def prepare(self, setting: Setting) -> Part:
        return Part()

    def __str__(self) -> str:
        return self.name


class Diverging(Watcher):
    """An adversary whose loss is no number."""

    def prepare(self, setting: Setting) -> Part:
        critic = nn.Linear(1, 1)
        loss = lambda batch: critic(batch.x[:1, 0, 0, :1]).sum() * torch.nan  # noqa: E731
        return Part(adversaries=(Adversary(network=critic, loss=loss),))


def test_bad_input() -> None:
    with pytest.raises(BadPlan, match=r"watcher acts on what crosses a cut"):
        run("onehot", Watcher(), cut=None)
    with pytest.raises(BadPlan, match=r"noise.* acts on what crosses"):
        run("noise(0.1)", cut=None)
    with pytest.raises(BadPlan, match="without noise it is infinite"):
        run("onehot", Unbounded())
    with pytest.raises(BadPlan, match="sigma must be positive"):
        run("noise(0)", Unbounded())
    with pytest.raises(BadPlan, match=r"noise.* and vib.* contradict each other"):
        run("noise(0.1)+vib(0.1)")
    with pytest.raises(BadPlan, match=r"smooth.* and onehot contradict"):
        run("smooth(0.1)+onehot")
    with pytest.raises(BadPlan, match="2 images are too few"):
        run("noise(0.1)", schedule=Schedule(epochs=1, batch=2))
    with pytest.raises(BadPlan, match="4 channels cross here"):
        run("bottleneck(4)")
    with pytest.raises(BadPlan, match="wrong turns"):
        run("onehot", Wrong())
    with pytest.raises(BadPlan, match="adversary of watcher diverged"):
        run("onehot", Diverging())
    with pytest.raises(BadPlan, match="from scratch draws new"):
        run("freeze(1)", start="scratch")
    with pytest.raises(UnknownName, match="nowhere"):
        run("noise(0.1)", cut="nowhere")


def test_noise_with_a_rate_is_trained_together() -> None:
    plain, priced = run("noise(0.3)"), run("noise(0.3)", Unbounded())
    rates = []
    for found in (plain, priced):
        assert found.partition is not None
        release = found.partition.release
        assert isinstance(release, ClippedGaussian)
        z = found.partition.features(images().probe.x).detach()
        rates.append(float((1 + z.var(0) / release.sigma**2).log().mean()))
    assert rates[1] < rates[0]


def test_the_example_of_the_docs_trains() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "add-a-defence.md"
    code = page.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    space: dict[str, Any] = {"__name__": "example"}
    exec(code, space)
    found = run("noise(0.1)", space["Decorrelate"](1.0))
    assert found.partition is not None
    assert any("adversary" in note for note in found.notes)
