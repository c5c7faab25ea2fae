"""Channels inside the device's half are chosen by the task, held at zero and taken out."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from hardening import CLASSES, images
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from splitveil.defences import (
    Batch,
    Component,
    EpochState,
    Hardened,
    Part,
    Prune,
    Setting,
    harden,
    parse_components,
)
from splitveil.defences.channels import prunable_channels
from splitveil.defences.pipeline import Pipeline, assemble
from splitveil.defences.prune import Channels
from splitveil.errors import BadModel, BadPlan
from splitveil.models import load_model
from splitveil.models.grafts import apply_grafts
from splitveil.models.reshaped import narrow
from splitveil.partition import measure_costs, trace
from splitveil.rng import Rng
from splitveil.testing.conformance.defences import DefenceConformance
from splitveil.training import Schedule


def deep(classes: int = CLASSES, size: int = 36) -> nn.Module:
    """Two convolutions before the cut, so that the first can lose channels."""
    with Rng(1).as_global():
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(1, 6, 3, padding=1),
            norm=nn.BatchNorm2d(6),
            relu=nn.PReLU(6),
            conv2=nn.Conv2d(6, 4, 3, padding=1),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            classifier=nn.Linear(size, classes),
        )
    return nn.Sequential(layers).eval()


def run(text: str, epochs: int = 4, *more: Component, **changes: Any) -> Hardened:
    settings: dict[str, Any] = {"cut": "pool", "rng": Rng(0), "watch": None} | changes
    return harden(
        deep(),
        images(128),
        [*parse_components(text), *more],
        schedule=Schedule(epochs=epochs, batch=32, learning_rate=1e-2),
        **settings,
    )


class TestPrune(DefenceConformance):
    def network(self) -> nn.Module:
        return deep(3, 144)

    @pytest.fixture
    def component(self) -> Component:
        return Prune(0.4)


def cost(network: nn.Module, cut: str = "pool") -> tuple[int, int]:
    x = torch.zeros(2, 1, 6, 6)
    traced = trace(network, x)
    (found,) = measure_costs(traced, [traced.cut(cut)], x[:1], repeats=6, seconds=0.0)
    return found.edge_parameters, found.edge_flops


def test_the_half_that_ships_is_smaller_as_was_said() -> None:
    found = run("prune(0.5)")
    layer = found.network.get_submodule("conv1")
    assert isinstance(layer, nn.Conv2d)
    assert (layer.out_channels, layer.weight.shape[0]) == (3, 3)
    before, after = cost(deep()), cost(found.network)
    # 9 + 1 of conv1, 2 of the norm, 1 of the activation, 4 x 9 of conv2 a channel
    assert before[0] - after[0] == 3 * (10 + 2 + 1 + 36)
    (note,) = found.notes
    assert f"from {before[0]} to {after[0]} parameters" in note
    assert f"from {before[1]:,} to {after[1]:,} operations" in note
    assert "conv1 6 to 3" in note
    assert "conv2 (crosses the cut)" in note
    again = deep()
    apply_grafts(again, found.grafts)
    again.load_state_dict(found.network.state_dict())
    x = images(128).probe.x
    assert torch.equal(again(x), found.network(x))


class Spy(Component):
    """Keeps the pipeline's weights after every step."""

    name, reference = "spy", "none"

    def __init__(self) -> None:
        self.seen: list[tuple[float, Tensor]] = []
        self.pipeline: list[Pipeline] = []

    def __repr__(self) -> str:
        return "Spy()"

    def prepare(self, setting: Setting) -> Part:
        def note(batch: Batch) -> None:
            (pipeline,) = self.pipeline
            weights = dict(pipeline.own("named_parameters"))
            self.seen.append((batch.progress, weights["conv1.weight"].detach().clone()))

        return Part(observe=note)

    def __str__(self) -> str:
        return "spy"


def test_what_went_stays_away_and_ships_equal_in_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the stated epoch on the same channels are zero; masked and narrowed answer alike."""
    spy = Spy()
    attach = Channels.attach

    def listening(self: Channels, pipeline: nn.Module, epochs: int) -> None:
        assert isinstance(pipeline, Pipeline)
        spy.pipeline.append(pipeline)
        attach(self, pipeline, epochs)

    monkeypatch.setattr(Channels, "attach", listening)
    answers: list[Tensor] = []
    x = images(128).probe.x

    def masked(state: EpochState) -> None:
        if spy.pipeline:
            pipeline = spy.pipeline[0]
            answers.append(pipeline.answer(pipeline.encode(x)).detach())

    found = run("prune(0.5,at=0.5)", 4, spy, on_epoch=masked)
    gone = [{c for c in range(6) if not bool(w[c].any())} for _, w in spy.seen]
    early = [here for here, (progress, _) in zip(gone, spy.seen, strict=True) if progress < 0.5]
    late = [here for here, (progress, _) in zip(gone, spy.seen, strict=True) if progress >= 0.5]
    assert set(map(len, early)) == {0}
    assert set(map(len, late)) == {3}
    assert len(set(map(frozenset, late))) == 1
    # survivors go on with their optimiser's moments
    moves = [float((b[1] - a[1]).abs().sum()) for a, b in zip(spy.seen, spy.seen[1:], strict=False)]
    assert min(moves) > 0
    torch.testing.assert_close(found.network(x), answers[-1])


def test_importance_is_the_slope_of_the_task_loss_in_each_channel() -> None:
    data = images(128).train
    setting = Setting(
        source=deep(), classes=CLASSES, class_names=(), x=data.x, y=data.y, rng=Rng(0)
    )
    # a strong term that is no task must not count
    components = parse_components("prune(0.5)+nopeek(50)")
    pipeline, objective = assemble(deep(), components, setting, "pool")
    assert objective.reduction is not None
    channels = objective.reduction.attach.__self__  # type: ignore[attr-defined]
    found = channels.importance(pipeline)[0]
    network = deep().double()
    steps = torch.zeros(6, len(data), dtype=torch.float64)
    with torch.no_grad():
        assert data.y is not None
        for c in range(6):
            for sign in (1, -1):
                gain = torch.ones(6, dtype=torch.float64)
                gain[c] += sign * 1e-5
                layers = list(network.children())
                out = nn.Sequential(*layers[:3])(data.x.double()) * gain[:, None, None]
                out = nn.Sequential(*layers[3:])(out)
                steps[c] += sign * cross_entropy(out, data.y, reduction="none") / 2e-5
    torch.testing.assert_close(found, steps.square().mean(1), rtol=1e-3, atol=1e-9)


def test_the_least_important_go() -> None:
    """A channel that nothing reads is the first to go."""
    source = deep()
    with torch.no_grad():
        dict(source.named_parameters())["conv2.weight"][:, 4] = 0
    data = images(128).train
    setting = Setting(source=source, classes=CLASSES, class_names=(), x=data.x, y=data.y)
    pipeline, objective = assemble(source, parse_components("prune(0.2)"), setting, "pool")
    assert objective.reduction is not None
    channels = objective.reduction.attach.__self__  # type: ignore[attr-defined]
    assert int(channels.importance(pipeline)[0].argmin()) == 4
    assert float(channels.importance(pipeline)[0][4]) == 0


def test_what_is_added_to_a_skip_or_sent_stays() -> None:
    network = load_model("resnet").network
    traced = trace(network, torch.rand(2, 1, 32, 32))
    found, kept = prunable_channels(traced, traced.cut("stage1.block2"))
    blocks = ["network.stage1.block1", "network.stage1.block2"]
    assert [one.conv for one in found] == [f"{block}.conv1" for block in blocks]
    assert [one.readers for one in found] == [(f"{block}.conv2",) for block in blocks]
    assert [one.layers for one in found] == [(f"{block}.norm1",) for block in blocks]
    assert set(kept) == {"network.conv", *(f"{block}.conv2" for block in blocks)}
    assert "add" in kept["network.conv"]


@pytest.mark.parametrize(
    ("text", "changes", "says"),
    [
        ("prune(0)", {}, r"ratio must be in \(0, 1\)"),
        ("prune(1)", {}, r"ratio must be in \(0, 1\)"),
        ("prune(0.5,at=1)", {}, "at in"),
        ("prune(0.95)", {}, "conv1 has 6 channels and none would stay"),
        ("prune(0.05)", {}, "no channel of any layer would go"),
        ("prune(0.5)", {"cut": "conv1"}, r"no convolution before conv1 .*conv1 crosses the cut"),
        ("prune(0.5)", {"cut": None}, "acts on what crosses a cut"),
        ("prune(0.5)+freeze(1)", {}, "conv1 is to be frozen and to lose channels"),
        ("prune(0.5)+prune(0.3)", {}, "contradict each other: both set what is taken out"),
    ],
)
def test_bad_input(text: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadPlan, match=says):
        run(text, **changes)


def test_layers_that_cannot_be_narrowed_are_said() -> None:
    with pytest.raises(BadModel, match="no channels can be taken"):
        narrow(deep(), "classifier", outputs=torch.arange(2))
    with pytest.raises(BadModel, match="fewer channels"):
        narrow(deep(), "conv1", outputs=torch.arange(9))
    with pytest.raises(BadModel, match="no layer 'nowhere'"):
        narrow(deep(), "nowhere", outputs=torch.arange(2))


def test_it_joins_an_adversary_slopes_a_bottleneck_and_a_trace() -> None:
    found = run("prune(0.5)+bottleneck(2)+noise(0.1)+adversary(1)+lipschitz(0.1)", 2, watch=())
    assert found.partition is not None
    x = images(128).probe.x
    with torch.no_grad():
        z = found.partition.features(x)
        assert z.shape == (32, 2 * 9)
        assert torch.equal(found.partition.predict(z), found.network(x))
    again = deep()
    apply_grafts(again, found.grafts)
    again.load_state_dict(found.network.state_dict())
    assert torch.equal(again(x), found.network(x))
