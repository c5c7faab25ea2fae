"""Hardening: what it learns, what it leaves alone, how it stops, and how it goes on."""

from pathlib import Path

import pytest
import torch
from hardening import CLASSES, SCHEDULE, images, net
from torch import nn

from splitveil.data import LabelledImages, TrainingImages
from splitveil.defences import (
    Component,
    EpochState,
    Hardened,
    OneHot,
    Part,
    Setting,
    Smoothed,
    harden,
    parse_components,
)
from splitveil.errors import AuditError, BadData, BadModel, BadPlan, UnknownName
from splitveil.models.weights import model_digest
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched
from splitveil.training import Schedule


def run(text: str = "smooth(0.3)", **changes: object) -> Hardened:
    settings: dict[str, object] = {"schedule": SCHEDULE, "rng": Rng(0), **changes}
    model = settings.pop("model", None) or net()
    data = settings.pop("data", None) or images()
    return harden(model, data, parse_components(text), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def watched() -> Hardened:
    return run(watch=(), patience=None, schedule=Schedule(epochs=8, batch=32, learning_rate=1e-2))


def test_it_learns_and_watches_every_epoch(watched: Hardened) -> None:
    assert [state.number for state in watched.states] == list(range(9))
    assert watched.states[0].loss is None
    assert watched.accuracy.low > watched.states[0].accuracy.high
    assert watched.kept == 8
    names = {cut["id"] for cut in watched.cuts}
    assert all(set(state.cuts) == names for state in watched.states)
    assert [cut["name"] for cut in watched.cuts][-1] == "logits"
    assert not watched.network.training


def test_smoothing_brings_the_outputs_to_its_targets(watched: Hardened) -> None:
    last = watched.states[-1].outputs
    limit = 1 - 0.7**2 - 0.3**2 / (CLASSES - 1)
    assert last["trace_hessian"].value == pytest.approx(limit, abs=0.1)
    assert 0.5 < last["p_true"].value < 0.75
    assert all(state.outputs["contraction"].value >= 0 for state in watched.states)


def test_the_contraction_at_the_outputs_is_the_pull_before_the_last_layer() -> None:
    from splitveil.partition import trace

    network, probe = run(watch=None).network, images().probe
    assert probe.y is not None
    traced = trace(network, probe.x[:2])
    cut = traced.menu()[-1]
    partition = traced.split(cut)
    z = partition.head(probe.x).detach().requires_grad_()
    loss = nn.functional.cross_entropy(partition.tail(z), probe.y, reduction="sum")
    (pull,) = torch.autograd.grad(loss, z)
    rates = []
    for c in range(CLASSES):
        rows = probe.y == c
        centred = (z[rows] - z[rows].mean(0)).double()
        rates.append(float((centred.detach() * pull[rows].double()).sum(1).mean()))
    found = run(watch=[cut.name]).states[-1].outputs["contraction"]
    assert found.value == pytest.approx(sum(rates) / CLASSES, rel=1e-4)


def test_the_source_and_the_global_state_stay_as_they_are() -> None:
    model = net().train()
    before = model_digest(model)
    with nothing_touched(*model.state_dict().values()):
        found = run(model=model, watch=())
    assert model_digest(model) == before
    assert model.training
    assert model_digest(found.network) != before


def test_same_seed_same_bits_and_watching_changes_nothing() -> None:
    first, again = run(), run(watch=())
    assert model_digest(first.network) == model_digest(again.network)
    assert model_digest(run(rng=Rng(1)).network) != model_digest(first.network)


def test_no_stop_keeps_the_last_epoch_and_a_stop_the_best() -> None:
    steep = Schedule(epochs=12, batch=32, learning_rate=0.3)
    whole = run("onehot", schedule=steep, patience=None)
    assert whole.kept == 12
    stopped = run("onehot", schedule=steep, patience=2)
    losses = [state.validation_loss for state in stopped.states[1:]]
    assert stopped.kept == 1 + losses.index(min(losses))
    if len(losses) < 12:
        assert len(losses) == stopped.kept + 2
    assert losses == [state.validation_loss for state in whole.states[1 : len(losses) + 1]]


def test_training_and_probe_images_do_not_decide_when_to_stop() -> None:
    data = images()
    other = TrainingImages(
        name="other probe",
        train=data.train,
        validation=data.validation,
        probe=data.train,
        class_names=data.class_names,
    )
    assert model_digest(run(data=other, watch=()).network) == model_digest(run().network)


class Stopped(Exception):
    """What a kill stands for."""


@pytest.mark.parametrize("patience", [None, 10])
def test_a_run_stopped_at_any_epoch_goes_on_to_the_same_bits(
    tmp_path: Path, patience: int | None
) -> None:
    whole = run(patience=patience, watch=())
    for at in (1, 3) if patience else (2,):
        folder = tmp_path / str(at)

        def stop(state: EpochState, at: int = at) -> None:
            if state.number == at + 1:
                raise Stopped

        with pytest.raises(Stopped):
            run(patience=patience, watch=(), folder=folder, on_epoch=stop)
        told: list[int] = []
        found = run(
            patience=patience,
            watch=(),
            folder=folder,
            on_epoch=lambda state, told=told: told.append(state.number),
        )
        assert told == list(range(at + 1, 5))
        assert model_digest(found.network) == model_digest(whole.network)
        assert found.states == whole.states
        assert found.kept == whole.kept


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = run(folder=tmp_path)
    told: list[EpochState] = []
    again = run(folder=tmp_path, on_epoch=told.append)
    assert told == []
    assert model_digest(again.network) == model_digest(first.network)
    assert again.states == first.states


@pytest.mark.parametrize(
    "changes",
    [{"text": "smooth(0.2)"}, {"rng": Rng(1)}, {"patience": 3}, {"start": "scratch"}],
)
def test_a_folder_holds_one_training(tmp_path: Path, changes: dict[str, object]) -> None:
    run(folder=tmp_path)
    with pytest.raises(BadPlan, match="other settings"):
        run(folder=tmp_path, **changes)  # type: ignore[arg-type]


def test_a_damaged_checkpoint_is_said(tmp_path: Path) -> None:
    run(folder=tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadPlan, match="damaged"):
        run(folder=tmp_path)


def test_scratch_forgets_the_source() -> None:
    shifted = net()
    with torch.no_grad():
        for parameter in shifted.parameters():
            parameter.add_(1)
    one = run(start="scratch")
    other = run(start="scratch", model=shifted)
    assert model_digest(one.network) == model_digest(other.network)


def test_scratch_needs_a_rule_for_every_weight() -> None:
    model = net()
    model.register_parameter("token", nn.Parameter(torch.zeros(1)))
    with pytest.raises(BadModel, match="'token' has no rule"):
        run(start="scratch", model=model)


def test_a_leftover_image_does_not_break_batch_statistics() -> None:
    data = images()
    one_more = TrainingImages(
        name="97",
        train=data.train.take(torch.arange(97)),
        validation=data.validation,
        probe=data.probe,
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    assert len(run(model=model, data=one_more).states) == 5


def test_a_component_of_ones_own_joins_the_training() -> None:
    class Shrink(Component):
        name = "shrink"
        reference = "none"

        def prepare(self, setting: Setting) -> Part:
            assert setting.classes == CLASSES
            return Part(term=lambda batch: 100 * batch.logits.square().mean())

        def __str__(self) -> str:
            return self.name

    plain = harden(net(), images(), [OneHot()], schedule=SCHEDULE, rng=Rng(0), watch=())
    both = harden(net(), images(), [OneHot(), Shrink()], schedule=SCHEDULE, rng=Rng(0), watch=())
    norms = [h.states[-1].cuts["logits"]["norm"].value for h in (plain, both)]
    assert norms[1] < 0.1 * norms[0]


def test_coarse_labels_are_judged_by_group() -> None:
    found = run("coarse(ant,bee|cat,dog)", patience=None, watch=None)
    assert found.accuracy.value > 0.8
    assert any("group" in note for note in found.notes)


def relabelled(data: TrainingImages, label: int) -> TrainingImages:
    y = torch.full((len(data.train),), label)
    train = LabelledImages(data.train.x, y, data.train.ids)
    return TrainingImages(name="x", train=train, validation=data.validation, probe=data.probe)


def unlabelled() -> TrainingImages:
    data = images()
    train = LabelledImages(data.train.x, None, data.train.ids)
    return TrainingImages(name="x", train=train, validation=data.validation, probe=data.probe)


def frozen() -> nn.Module:
    return net().requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"data": relabelled(images(), 4)}, BadData, "4 outputs"),
        ({"model": frozen()}, BadModel, "all are frozen"),
        ({"patience": 0}, BadPlan, "patience"),
        ({"watch": ["nowhere"]}, UnknownName, "nowhere"),
        ({"schedule": Schedule(epochs=1, learning_rate=1e30, clip=1e18)}, BadPlan, "diverged"),
    ],
)
def test_bad_input(changes: dict[str, object], error: type[AuditError], says: str) -> None:
    with pytest.raises(error, match=says):
        run(**changes)  # type: ignore[arg-type]


def test_no_components_and_no_labels() -> None:
    with pytest.raises(BadPlan, match="at least one component"):
        harden(net(), images(), [], schedule=SCHEDULE, rng=Rng(0))
    with pytest.raises(BadData, match="needs labels"):
        harden(net(), unlabelled(), [Smoothed(0.3)], schedule=SCHEDULE, rng=Rng(0))


def test_a_collapsed_network_and_one_class_are_watched_without_nan() -> None:
    dead = net()
    with torch.no_grad():
        for parameter in dead.parameters():
            parameter.zero_()
    data = images()
    assert data.probe.y is not None
    probe = data.probe.take(torch.nonzero(data.probe.y == 2).flatten())
    alone = TrainingImages(name="x", train=data.train, validation=data.validation, probe=probe)
    for model, given in ((dead, data), (net(), alone)):
        first = run(model=model, data=given, watch=()).states[0]
        found = [*first.outputs.values(), *(q for c in first.cuts.values() for q in c.values())]
        assert all(q.low <= q.value <= q.high for q in found)
        assert all("nc1" not in c for c in first.cuts.values())
    assert first.cuts["logits"]["radius"].value > 0
