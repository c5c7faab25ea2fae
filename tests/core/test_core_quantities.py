"""Quantities keep their promises and survive JSON."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitveil.errors import BadInput
from splitveil.quantities import Direction, Kind, Quantity

_NUMBERS = st.floats(allow_nan=False)


def _quantity(
    numbers: tuple[float, float, float],
    kind: Kind = Kind.MEASURED,
    direction: Direction = Direction.ESTIMATE,
    n: int = 3,
) -> Quantity:
    low, value, high = sorted(numbers)
    return Quantity(
        value=value,
        low=low,
        high=high,
        unit="dB",
        kind=kind,
        n=n,
        direction=direction,
        assumptions=("one", "two"),
    )


@given(
    st.tuples(_NUMBERS, _NUMBERS, _NUMBERS),
    st.sampled_from(Kind),
    st.sampled_from(Direction),
    st.integers(0, 10**9),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_survives_strict_json(
    numbers: tuple[float, float, float], kind: Kind, direction: Direction, n: int
) -> None:
    quantity = _quantity(numbers, kind, direction, n)
    text = json.dumps(quantity.to_json(), allow_nan=False)
    assert Quantity.from_json(json.loads(text)) == quantity


@given(st.tuples(_NUMBERS, _NUMBERS, _NUMBERS))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_refuses_a_value_outside_its_interval(numbers: tuple[float, float, float]) -> None:
    low, value, high = sorted(numbers)
    if value < high:
        with pytest.raises(BadInput, match="does not contain"):
            Quantity(value=high, low=low, high=value, unit="", kind=Kind.PROXY, n=1)


@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_refuses_nan(field: str) -> None:
    data = _quantity((0.0, 1.0, 2.0)).to_json() | {field: math.nan}
    with pytest.raises(BadInput, match="NaN"):
        Quantity.from_json(data)


def test_refuses_a_negative_count() -> None:
    with pytest.raises(BadInput, match="negative"):
        _quantity((0.0, 0.0, 0.0), n=-1)


@pytest.mark.parametrize(
    "change",
    [{"kind": "guess"}, {"value": "much"}, {"extra": 1}, {"low": None}, {"assumptions": 3}],
    ids=str,
)
def test_refuses_what_is_not_a_quantity(change: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Quantity.from_json(_quantity((0.0, 1.0, 2.0)).to_json() | change)


def test_refuses_a_missing_field() -> None:
    data = _quantity((0.0, 1.0, 2.0)).to_json()
    del data["unit"]
    with pytest.raises(BadInput):
        Quantity.from_json(data)


def test_only_directed_theorems_are_bounds() -> None:
    for kind in Kind:
        for direction in Direction:
            expected = kind in (Kind.THEOREM, Kind.CONFIDENCE) and direction != Direction.ESTIMATE
            assert _quantity((0.0, 0.0, 0.0), kind, direction).is_bound is expected


def test_exact_number_is_its_own_interval() -> None:
    quantity = Quantity.exact(2.5, unit="nat", kind=Kind.THEOREM)
    assert (quantity.low, quantity.high, quantity.level) == (2.5, 2.5, 1.0)
    assert str(quantity) == "2.5 nat"


def test_prints_with_its_interval_and_unit() -> None:
    assert str(_quantity((0.38, 0.41, 0.44))) == "0.41 [0.38, 0.44] dB"
