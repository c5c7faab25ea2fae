"""The parts of a comparison at equal utility: ranges, the search along them, areas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.audit.compare import Span, curves, seek
from splitveil.audit.compare.plan import ATTACKS
from splitveil.audit.recipes import read_attack
from splitveil.defences import parse_components
from splitveil.defences.base import Setting
from splitveil.errors import BadData, BadPlan
from splitveil.nets.ends import Ends
from splitveil.nets.staged_inverter import StagedInverter
from splitveil.partition.layout import Layout, Part
from splitveil.rng import Rng


def test_a_range_is_spaced_geometrically() -> None:
    span = Span.read("noise(0.1..10)+onehot")
    assert [span.at(p) for p in (0.0, 0.5, 1.0)] == [
        "noise(0.1)+onehot",
        "noise(1)+onehot",
        "noise(10)+onehot",
    ]
    assert str(span) == "noise(0.1..10)+onehot"


def test_whole_ends_keep_whole_numbers_and_may_fall() -> None:
    span = Span.read("bottleneck(64..1)")
    assert [span.at(p) for p in (0.0, 0.5, 1.0)] == [
        "bottleneck(64)",
        "bottleneck(8)",
        "bottleneck(1)",
    ]
    assert Span.read("cem(rate=1..1e-2)").at(0.5) == "cem(rate=0.1)"


def test_a_defence_without_a_range_is_itself() -> None:
    span = Span.read(" freeze:stage2 ")
    assert not span.varies
    assert span.at(0.3) == str(span) == "freeze:stage2"
    assert Span.read("noise(2..2)").at(0.5) == "noise(2)"


@pytest.mark.parametrize("text", ["noise(0..1)", "noise(1..2)+nopeek(1..3)"])
def test_ranges_that_cannot_be_sought_are_refused(text: str) -> None:
    with pytest.raises(BadPlan):
        Span.read(text)


@settings(max_examples=40, deadline=None)
@given(
    edges=st.lists(st.floats(0.01, 0.99), min_size=4, max_size=4).map(sorted),
    trainings=st.integers(2, 30),
)
def test_what_is_found_holds_and_nothing_stronger_that_was_tried_does(
    edges: list[float], trainings: int
) -> None:
    """A falling staircase: level k holds up to edge k."""
    asked: dict[float, float] = {}

    def accuracy(place: float) -> float:
        asked[place] = 1 - sum(place > edge for edge in edges) / 4
        return asked[place]

    wanted = [1.0, 0.75, 0.5, 0.25]
    found = seek(accuracy, wanted, trainings=trainings)
    assert len(asked) <= trainings
    for level, place in found.items():
        assert place is not None
        assert asked[place] >= level
        assert all(kept < level for other, kept in asked.items() if other > place)
    if trainings == 30:
        for edge, level in zip(edges, wanted, strict=True):
            place = found[level]
            assert place is not None
            assert place <= edge
            assert edge - place < 0.08


def test_a_level_that_not_even_the_weak_end_keeps_has_no_setting() -> None:
    assert seek(lambda place: 0.8 - place, [0.9, 0.7], trainings=4)[0.9] is None


def test_settings_that_round_to_one_are_trained_once() -> None:
    asked: list[float] = []

    def accuracy(place: float) -> float:
        asked.append(place)
        return 1 - place

    found = seek(accuracy, [0.6], trainings=9, same=lambda place: round(3 * place))
    assert len(asked) == len({round(3 * place) for place in asked}) <= 4
    assert found[0.6] is not None


def test_one_training_asks_the_weak_end_alone() -> None:
    asked: list[float] = []
    found = seek(lambda p: asked.append(p) or 1.0, [0.5], trainings=1)  # type: ignore[func-returns-value]
    assert asked == [0.0]
    assert found == {0.5: 0.0}


def test_the_area_of_a_constant_factor_is_its_logarithm() -> None:
    errors = Rng(1).numpy().gamma(2.0, size=300)
    found = curves(
        {"double": [2 * errors] * 3, "none": [errors] * 3}, errors, [0.0, 1.0, 5.0], Rng(2)
    )
    assert found.area["double"].value == pytest.approx(math.log(2))
    assert found.area["double"].high - found.area["double"].low < 1e-12
    assert found.area["none"].value == pytest.approx(0)
    assert found.ahead["double"]["none"].value == pytest.approx(math.log(2))
    assert found.ahead["none"]["double"].value == pytest.approx(-math.log(2))


def test_the_area_is_the_integral_of_the_line_through_the_points() -> None:
    errors = np.ones(50)
    levels = [0.2, 0.5, 1.1, 1.4]
    found = curves(
        {"a": [errors * math.exp(g) for g in levels]}, errors, [0.0, 1.0, 2.0, 5.0], Rng(3)
    )
    expected = np.trapezoid(levels, [0, 1, 2, 5]) / 5
    assert found.area["a"].value == pytest.approx(expected)
    alone = curves({"a": [errors * math.exp(0.7)]}, errors, [2.0], Rng(3))
    assert alone.area["a"].value == pytest.approx(0.7)


def test_intervals_cover_the_truth_and_pairing_shortens_them() -> None:
    """Errors share a factor by image; the defence multiplies by 1.3 with noise of its own."""
    covered, shorter = 0, 0
    for trial in range(60):
        draws = Rng(trial).numpy()
        images = draws.gamma(1.0, size=200)
        own = images * 1.3 * draws.gamma(20.0, 1 / 20, size=200)
        other = images * 1.3 * draws.gamma(20.0, 1 / 20, size=200)
        found = curves({"own": [own], "other": [other]}, images, [0.0], Rng(trial).child("curves"))
        area = found.area["own"]
        covered += area.low <= math.log(1.3) <= area.high
        single = curves({"own": [own]}, np.ones(200), [0.0], Rng(trial).child("single")).area["own"]
        shorter += area.high - area.low < single.high - single.low
    assert covered >= 50  # 57 are expected, 1.7 the standard deviation
    assert shorter == 60


@pytest.mark.parametrize(
    ("errors", "drops"),
    [
        ([np.ones(4)], [0.0, 1.0]),
        ([np.ones(4), np.ones(4)], [1.0, 1.0]),
        ([np.ones(3)], [0.0]),
        ([np.zeros(4)], [0.0]),
        ([np.array([1, 1, 1, np.nan])], [0.0]),
    ],
)
def test_points_that_do_not_fit_are_refused(errors: list[np.ndarray], drops: list[float]) -> None:
    with pytest.raises(BadData):
        curves({"a": errors}, np.ones(4), drops, Rng(0))


def _build(network: nn.Module) -> tuple[type[nn.Module], ...]:
    """What tells architectures apart: the network's class, and the stages of a staged one."""
    kinds = {type(network)}
    if isinstance(network, StagedInverter):
        kinds |= {type(child) for child in network.stages}
    return tuple(sorted(kinds, key=lambda kind: kind.__name__))


def test_decoders_are_of_three_builds_none_of_which_a_defence_trains_against() -> None:
    shape, image = (4, 4, 4), (1, 16, 16)
    attacks = [read_attack(text)[1] for text in ATTACKS]
    decoders = [attack for attack in attacks if isinstance(attack, InverseNetwork)]
    ends = Ends(features=shape, target=image, guesses=2, classes=10)
    builds = {_build(decoder.network(ends)) for decoder in decoders}
    assert len(builds) == len(decoders) == 3
    draws = torch.Generator().manual_seed(0)
    setting = Setting(
        source=nn.Identity(),
        classes=10,
        class_names=(),
        x=torch.rand(12, *image, generator=draws),
        y=torch.arange(12) % 10,
        layout=Layout((Part("z", shape),)),
        encode=lambda x: x.flatten(1)[:, : math.prod(shape)],
    )
    adversaries = [
        adversary
        for text in ("adversary(1)", "disco(0.5)", "maxent(1)", "ressfl(1)")
        for component in parse_components(text)
        for adversary in component.prepare(setting).adversaries
    ]
    assert len(adversaries) == 4
    for adversary in adversaries:
        assert not {type(part) for part in adversary.network.modules()} & {
            kind for build in builds for kind in build
        }
