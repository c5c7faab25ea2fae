"""Freezing by name, count, share and stage; the counts of published experiments; statistics."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hardening import CLASSES, SCHEDULE, images, net
from published import ir, vgg16
from torch import nn

from splitveil.audit.compare.span import Span
from splitveil.defences import (
    Component,
    EpochState,
    Freeze,
    Hardened,
    Part,
    Setting,
    harden,
    parse_components,
    sweep_freezing,
)
from splitveil.errors import BadPlan
from splitveil.models.reference import ir as small_ir
from splitveil.models.reference import resnet, vgg, vit
from splitveil.nets.running_order import stages
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.training import Schedule

SHORT = Schedule(epochs=1, batch=16, learning_rate=1e-2)


def part_of(text: str, source: nn.Module, shape: tuple[int, int, int]) -> Part:
    (component,) = parse_components(text)
    assert str(parse_components(str(component))[0]) == str(component)
    place = next(source.parameters()).device
    x = torch.zeros(1, *shape, device=place)
    return component.prepare(Setting(source=source, classes=10, class_names=(), x=x))


def trained(part: Part, source: nn.Module) -> int:
    return sum(
        value.numel()
        for name, value in source.named_parameters()
        if value.requires_grad
        and not any(name == one or name.startswith(f"{one}.") for one in part.frozen)
    )


@pytest.mark.parametrize(
    ("make", "texts", "count"),
    [
        (vgg16, ("freeze(8)", "freeze(60%)", "freeze:features.26"), 13_855_208),
        (
            lambda: ir((3, 8, 36, 3)),
            ("freeze:body.46", "freeze(-1,of=stages)"),
            17_825_256,
        ),
        (lambda: ir((3, 4, 14, 3)), ("freeze:body.5",), 34_391_912),
    ],
    ids=["VGG16-BN", "IR-152", "IR-50"],
)
def test_published_splits_train_as_many_parameters(
    make: Callable[[], nn.Module], texts: tuple[str, ...], count: int
) -> None:
    with torch.device("meta"):
        source = make()
    for text in texts:
        part = part_of(text, source, (3, 64, 64))
        assert trained(part, source) == count, text
        assert f"of {sum(p.numel() for p in source.parameters()):,} parameters" in part.notes[0]


def test_the_index_named_is_frozen_too_and_so_is_the_stem() -> None:
    with torch.device("meta"):
        source = ir((3, 4, 14, 3))
    part = part_of("freeze:body.5", source, (3, 64, 64))
    assert any(name.startswith("stem") for name in part.frozen)
    assert any(name.startswith("body.5.") for name in part.frozen)
    assert not any(name.startswith("body.6.") for name in part.frozen)


@pytest.mark.parametrize(
    ("source", "first"),
    [
        (vgg(), ("conv1", "conv2", "conv3", "conv5", "conv7")),
        (resnet(), ("conv", "stage2", "stage3")),
        (small_ir(), ("conv", "stage2", "stage3", "stage4")),
    ],
    ids=["vgg", "resnet", "ir"],
)
def test_stages_begin_where_maps_change_size(source: nn.Module, first: tuple[str, ...]) -> None:
    found = stages(source, torch.zeros(1, 1, 32, 32))
    assert tuple(stage[0].partition(".")[0] for stage in found) == first
    names = [name for stage in found for name in stage]
    assert len(set(names)) == len(names)
    assert not any(name.startswith("classifier") for name in names)


def test_stages_are_counted_from_either_end() -> None:
    source = resnet()
    last = part_of("freeze(-1,of=stages)", source, (1, 32, 32))
    assert {name.partition(".")[0] for name in last.frozen if name.startswith("stage")} == {
        "stage1",
        "stage2",
    }
    body = part_of("freeze(100%,of=stages)", source, (1, 32, 32))
    assert trained(body, source) == sum(
        p.numel() for p in source.get_submodule("classifier").parameters()
    )
    late = part_of("freeze(2,span=from,of=stages)", source, (1, 32, 32))
    assert not any(name.startswith(("conv", "stage1", "stage2")) for name in late.frozen)
    one = part_of("freeze(2,span=only,of=stages)", source, (1, 32, 32))
    assert {name.partition(".")[0] for name in one.frozen} == {"stage2"}


@pytest.mark.parametrize("statistics", ["kept", "updated"])
def test_statistics_of_frozen_layers_move_only_where_asked(statistics: str) -> None:
    source = net()
    text = f"freeze(1,statistics={statistics})"
    found = harden(
        source,
        images(128),
        parse_components(text),
        schedule=SHORT,
        rng=Rng(0),
        watch=None,
    )
    before, after = source.state_dict(), found.network.state_dict()
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert torch.equal(before[name], after[name]), name
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(before[name], after[name]) == (statistics == "kept"), name
    assert not torch.equal(before["6.weight"], after["6.weight"])
    assert any("running means" in note for note in found.notes) == (statistics == "updated")
    assert any("parameters are trained" in note for note in found.notes)
    assert CLASSES == 4
    assert SCHEDULE.weight_decay > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("freeze(0)", "between 1 and 8"),
        ("freeze(9)", "between 1 and 8"),
        ("freeze(0%)", "between 1 and 8"),
        ("freeze(6,of=stages)", "between 1 and 5"),
    ],
)
def test_a_split_that_leaves_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadPlan, match=said):
        part_of(text, vgg(), (1, 32, 32))


def test_networks_without_maps_have_no_stages() -> None:
    with pytest.raises(BadPlan, match="no stages"):
        part_of("freeze(1,of=stages)", nn.Sequential(nn.Flatten(), nn.Linear(4, 4)), (1, 2, 2))
    assert len(stages(vit(), torch.zeros(1, 1, 32, 32))) <= 1


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("ramp(smooth(-0.05),0.5,0.75)", [0, 0, 0.5, 1, 1]),
        ("ramp(smooth(-0.05),0.5,0.75,reach=0.5)", [0, 0, 0.25, 1, 1]),
        ("ramp(smooth(-0.05),0.5,0.75,0)", [0, 0, 0, 1, 1]),
    ],
)
def test_the_schedule_of_negative_smoothing(text: str, weights: list[float]) -> None:
    (ramp,) = parse_components(text)
    assert str(parse_components(str(ramp))[0]) == str(ramp)
    found = [ramp.weight(at) for at in (0.0, 0.5, 0.625, 0.75, 1.0)]  # type: ignore[attr-defined]
    assert found == pytest.approx(weights)


def test_a_reach_beyond_one_is_refused() -> None:
    with pytest.raises(BadPlan, match="reach"):
        parse_components("ramp(smooth(0.1),0.5,0.75,1.5)")


def test_a_sweep_takes_the_most_within_the_drop_and_keeps_every_run() -> None:
    kept = {0: 0.95, 1: 0.94, 2: 0.85, 3: 0.91, 4: 0.7}

    def train(parts: Sequence[Component]) -> Hardened:
        frozen = [int(part.layers) for part in parts if isinstance(part, Freeze)]
        assert len(parts) == 1 + len(frozen)
        state = EpochState(
            number=0,
            loss=None,
            validation_loss=0.0,
            accuracy=Quantity.exact(kept[sum(frozen)], unit="share", kind=Kind.MEASURED),
            outputs={},
            cuts={},
        )
        return Hardened(
            network=nn.Identity(),
            components=tuple(parts),
            states=(state,),
            kept=0,
            cuts=(),
            notes=(),
        )

    settings = [Freeze(str(k)) for k in range(1, 5)]
    found = sweep_freezing(train, settings, drop=0.05)
    assert len(found.tried) == 4
    assert found.chosen is not None
    assert found.chosen[0] == Freeze("3")
    assert sweep_freezing(train, settings[3:], drop=0.05).chosen is None
    with pytest.raises(BadPlan, match="settings and a drop"):
        sweep_freezing(train, [], drop=0.05)


def test_a_range_of_layers_can_be_tuned_to_a_drop() -> None:
    span = Span.read("freeze(1..8)+smooth(0.1)")
    written = [span.at(place) for place in (0.0, 0.5, 1.0)]
    assert written == [f"freeze({k})+smooth(0.1)" for k in (1, 3, 8)]
    assert [parse_components(one)[0] for one in written] == [Freeze(k) for k in "138"]
