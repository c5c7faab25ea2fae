"""Conditional entropy maximisation plugged into a hardening."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hardening import CLASSES, images, net
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from splitveil.defences import (
    Batch,
    Component,
    ConditionalEntropy,
    Hardened,
    Part,
    PublishedConditionalEntropy,
    Setting,
    harden,
    parse_components,
)
from splitveil.defences.conditional_entropy import Control, Memory
from splitveil.errors import BadPlan
from splitveil.estimators.centroids import ClassClusters, fit_clusters
from splitveil.estimators.rates import class_rate, held_out_rate
from splitveil.models.weights import model_digest
from splitveil.partition import trace
from splitveil.quantities import Kind
from splitveil.release import ClippedGaussian
from splitveil.rng import Rng
from splitveil.training import Schedule

SHORT = Schedule(epochs=3, batch=32, learning_rate=1e-2)
LONG = Schedule(epochs=8, batch=32, learning_rate=1e-2)


def run(text: str, *more: Component, source: nn.Module | None = None, **changes: Any) -> Hardened:
    settings: dict[str, Any] = {"schedule": SHORT, "rng": Rng(0), "patience": None, "cut": "7"}
    settings |= changes
    return harden(source or net(), images(), [*parse_components(text), *more], **settings)


def clean(found: Hardened) -> tuple[Tensor, Tensor, Tensor, ClippedGaussian]:
    """Clipped features of training and probe images, labels of the latter, and the release."""
    assert found.partition is not None
    release = found.partition.release
    assert isinstance(release, ClippedGaussian)
    train, probe = (
        release.clip(found.partition.features(part.x)).detach()
        for part in (images().train, images().probe)
    )
    assert images().probe.y is not None
    return train, probe, images().probe.y, release  # type: ignore[return-value]


def rate(found: Hardened) -> float:
    """On images that were not trained on, by a mixture fitted to those that were."""
    train, probe, y, release = clean(found)
    labels = images().train.y
    assert labels is not None
    clusters = fit_clusters(train, labels, classes=CLASSES, clusters=5, generator=Rng(0).torch())
    return float(class_rate(probe, y, clusters, sigma=release.sigma).mean())


@pytest.mark.parametrize(
    ("text", "component"),
    [
        ("cem(rate=0.1)", ConditionalEntropy(rate=0.1)),
        ("cem(rate=0.1,pace=0.03)", ConditionalEntropy(rate=0.1, pace=0.03)),
        ("cem(weight=2)", ConditionalEntropy(weight=2.0)),
        ("cem(2,clusters=3)", ConditionalEntropy(weight=2.0, clusters=3)),
        ("cem(rate=0.1,covariance=diagonal)", ConditionalEntropy(rate=0.1, covariance="diagonal")),
        ("cem-published(16)", PublishedConditionalEntropy(16.0)),
        ("cem-published(8,clusters=15)", PublishedConditionalEntropy(8.0, clusters=15)),
    ],
)
def test_written_form_and_repr_rebuild(text: str, component: Component) -> None:
    assert parse_components(text) == (component,)
    assert parse_components(str(component)) == (component,)
    assert eval(repr(component)) == component


@pytest.fixture(scope="module")
def plain() -> Hardened:
    return run("noise(0.3)", schedule=LONG)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return run("onehot", cut=None, schedule=LONG, watch=None).network


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("noise(0.3)+cem(1)", 0.7),
        ("noise(0.3)+cem(1,covariance=diagonal)", 0.8),
        ("noise(0.3)+cem(rate=0.2)", 0.9),
        ("noise(0.3)+cem-published(0.1)", 0.95),
    ],
)
def test_one_word_lowers_what_is_told(
    plain: Hardened, trained: nn.Module, text: str, share: float
) -> None:
    # a target is for trained weights
    found = run(text, source=trained if "rate" in text else None, schedule=LONG)
    assert rate(found) < share * rate(plain)
    assert found.accuracy.value > 0.7
    # nothing is left of it at inference
    assert list(found.network.state_dict()) == list(plain.network.state_dict())
    if text == "noise(0.3)+cem(1)":
        assert rate(run("noise(0.3)+cem(10)", schedule=LONG)) < rate(found)


def test_what_is_told_can_be_stated_for_unseen_images() -> None:
    train, probe, y, release = clean(run("noise(0.3)+cem(1)"))
    labels = images().train.y
    assert labels is not None
    clusters = fit_clusters(train, labels, classes=CLASSES, clusters=2, generator=Rng(0).torch())
    found = held_out_rate(
        probe,
        clusters,
        sigma=release.sigma,
        radius=release.radius,
        centre=release.centre,
        y=y,
    )
    assert found.kind is Kind.CONFIDENCE
    assert found.value >= float(class_rate(probe, y, clusters, sigma=release.sigma).mean()) - 0.01


def memory(start: float) -> Memory:
    clusters = ClassClusters(
        centroids=torch.zeros(1, 1, 2), variances=torch.ones(1, 1, 1), shares=torch.ones(1, 1)
    )
    return Memory(clusters, 10.0, start)


def test_a_pace_is_plain_dual_ascent() -> None:
    control = Control.ascent(0.1)
    kept, price = memory(control.start), torch.tensor(0.1)
    for excess in (0.5, 3.0, -0.5, 0.03, *[-7.0] * 500):
        kept.answer(torch.tensor(excess), control)
        price = (price * (torch.tensor(excess).clamp(-1, 1) * 0.1).exp()).clamp(1e-4, 1e4)
        assert torch.equal(kept.price, price)
    assert price.item() == pytest.approx(1e-4)


def test_the_price_is_high_far_from_the_target_and_settles_near_it() -> None:
    control = Control(start=1.0, pace=0.2, lead=8.0, least=1e-2, most=1e2)
    kept = memory(control.start)

    def answered(*excesses: float) -> float:
        for excess in excesses:
            kept.answer(torch.tensor(excess), control)
        return float(kept.price)

    assert answered(0.25) == pytest.approx(math.exp(0.25 * 8.2), rel=1e-5)
    assert answered(0.0) == pytest.approx(math.exp(0.25 * 0.2), rel=1e-5)
    assert answered(3.0) == 100.0
    assert answered(*[-1.0] * 99) == pytest.approx(0.01)


def test_a_far_target_is_met_in_few_steps_and_held(
    trained: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []
    answer = Memory.answer

    def told(self: Memory, excess: Tensor, control: Control) -> None:
        answer(self, excess, control)
        seen.append((float(excess), float(self.level)))

    monkeypatch.setattr(Memory, "answer", told)

    def followed(text: str) -> Tensor:
        seen.clear()
        gently = Schedule(epochs=8, batch=32, learning_rate=5e-3)
        run(text, source=trained, schedule=gently, watch=None)
        return torch.tensor(seen)

    ours, slow = (followed(f"noise(0.3)+cem(rate=0.5{pace})") for pace in ("", ",pace=0.03"))
    assert len(ours) == 64
    assert ours[:8, 0].mean() > 0.2
    assert slow[-8:, 0].mean() > 0.1
    assert ours[-8:, 0].mean().abs() < 0.05
    # neither below it on the way, nor still looking for the price
    assert ours[:, 0].unflatten(0, (8, 8)).mean(1).min() > -0.05
    assert (ours[-1, 1] / ours[-16, 1]).log().abs() < 0.3


@pytest.mark.parametrize("text", ["noise(0.3)+cem(rate=0.2)", "noise(0.3)+cem-published(1)"])
def test_a_run_stopped_goes_on_to_the_same_bits(tmp_path: Path, text: str) -> None:
    class Killed(Exception):
        pass

    def kill(state: Any) -> None:
        if state.number == 2:
            raise Killed

    straight = run(text)
    with pytest.raises(Killed):
        run(text, folder=tmp_path, on_epoch=kill)
    resumed = run(text, folder=tmp_path)
    assert model_digest(straight.network) == model_digest(resumed.network)
    assert [s.loss for s in straight.states] == [s.loss for s in resumed.states]


def test_the_published_form_waits_an_epoch() -> None:
    one = Schedule(epochs=1, batch=32, learning_rate=1e-2)
    first = [run(t, schedule=one) for t in ("noise(0.3)", "noise(0.3)+cem-published(1)")]
    assert model_digest(first[0].network) == model_digest(first[1].network)
    second = [run(t) for t in ("noise(0.3)", "noise(0.3)+cem-published(1)")]
    assert model_digest(second[0].network) != model_digest(second[1].network)


class Asking(Component):
    """Asks for features in the middle of a step."""

    name = "asking"
    reference = "none"

    def __init__(self, asks: bool) -> None:
        self.asks = asks

    def __repr__(self) -> str:
        return "Asking()"

    def prepare(self, setting: Setting) -> Part:
        assert setting.encode is not None
        assert setting.x is not None
        encode, x = setting.encode, setting.x

        def term(batch: Batch) -> Tensor:
            if self.asks:
                encode(x[:4])
            return batch.features.new_zeros(())

        return Part(term=term)

    def __str__(self) -> str:
        return self.name


def test_asking_for_features_moves_nothing() -> None:
    asked, not_asked = (run("noise(0.3)", Asking(asks)) for asks in (True, False))
    assert model_digest(asked.network) == model_digest(not_asked.network)


class NoReadBack(TorchDispatchMode):
    """Fails where the host would wait for a value of the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not any(w in func.__name__ for w in ("_local_scalar", "nonzero", "unique"))
        return func(*args, **(kwargs or {}))


def setting_of(x: Tensor, y: Tensor, classes: int = CLASSES) -> Setting:
    """A setting at a cut where features are the images themselves."""
    source = net()
    cut = trace(source, x[:2]).menu()[0]
    return Setting(
        source=source,
        classes=classes,
        class_names=(),
        x=x,
        y=y,
        cut=cut,
        layout=cut.layout,
        encode=lambda images: images.flatten(1),
    )


def batch_of(x: Tensor, y: Tensor, progress: float = 0.5) -> Batch:
    return Batch(
        x=x,
        y=y,
        logits=torch.zeros(len(x), CLASSES),
        progress=progress,
        z=x.flatten(1).requires_grad_(),
        noise=torch.tensor(0.2),
    )


@pytest.mark.parametrize(
    "text", ["cem(1)", "cem(rate=0.1)", "cem(1,covariance=diagonal)", "cem-published(1)"]
)
def test_a_step_reads_nothing_back_and_misses_no_class(text: str) -> None:
    data = images().train
    assert data.y is not None
    (component,) = parse_components(text)
    # one class without a calibration image, another missing from the batch
    seen = data.y != 1
    part = component.prepare(setting_of(data.x[seen], data.y[seen]))
    rows = data.y != 2
    batch = batch_of(data.x[rows], data.y[rows])
    assert part.term is not None
    assert part.observe is not None
    part.term(batch)  # the published form fits its clusters here
    part.observe(batch.detached())
    with NoReadBack():  # type: ignore[no-untyped-call]
        term = part.term(batch)
        term.backward()
        part.observe(batch.detached())
    assert bool(torch.isfinite(term))
    assert batch.z is not None
    assert batch.z.grad is not None
    assert bool(torch.isfinite(batch.z.grad).all())
    if part.validation is not None:
        assert part.validation(batch).item() > 0


def test_what_makes_no_sense_is_said_before_training() -> None:
    for text, says in (
        ("onehot+cem(1)", "without noise it is infinite"),
        ("onehot+cem-published(1)", "without noise it is infinite"),
        ("noise(0.3)+cem", "one of them"),
        ("noise(0.3)+cem(weight=1,rate=1)", "one of them"),
        ("noise(0.3)+cem(rate=0)", "positive and finite"),
        ("noise(0.3)+cem(1,clusters=0)", "at least 1"),
        ("noise(0.3)+cem(1,pace=0.1)", "beside a target rate"),
        ("noise(0.3)+cem(rate=1,pace=0)", "a positive number"),
        ("noise(0.3)+cem(1,memory=1)", "above 1 row"),
        ("noise(0.3)+cem-published(0)", "must be positive"),
        ("noise(0.3)+cem(1,clusters=65)", "too few for 65 clusters"),
        ("noise(0.3)+cem-published(1,clusters=65)", "too few for 65 clusters"),
    ):
        with pytest.raises(BadPlan, match=says):
            run(text)
    with pytest.raises(BadPlan, match="acts on what crosses"):
        run("cem(1)", cut=None)
