"""What every measure promises, to be inherited by the tests of a new one."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched, permuted


@dataclass(frozen=True, kw_only=True)
class MeasureCase:
    """A measure with inputs to try it on.

    `measure` takes tensors that share their first axis, and a stream. `inputs` makes such tensors
    for n images. `ideal` makes them for a perfect outcome, whose value is `best`. `least` is the
    smallest n it accepts; `ordered` is True where the order of images may change the answer.
    """

    measure: Callable[[tuple[Tensor, ...], Rng], Quantity]
    inputs: Callable[[int, Rng], tuple[Tensor, ...]]
    unit: str
    ideal: Callable[[int, Rng], tuple[Tensor, ...]] | None = None
    best: float = math.nan
    least: int = 1
    ordered: bool = False


class MeasureConformance:
    """Subclass it and give one fixture, `case`, that returns a `MeasureCase`."""

    def _measured(self, case: MeasureCase, n: int = 60) -> Quantity:
        return case.measure(case.inputs(n, Rng(1)), Rng(2))

    def test_gives_a_finite_quantity_in_its_unit(self, case: MeasureCase) -> None:
        quantity = self._measured(case)
        assert isinstance(quantity, Quantity), f"expected a Quantity, got {type(quantity)}"
        assert math.isfinite(quantity.value), "a plain problem must give a finite value"
        assert quantity.unit == case.unit, f"expected unit '{case.unit}', got '{quantity.unit}'"
        assert quantity.n > 0, "it must say how many images it rests on"

    def test_interval_holds_the_value(self, case: MeasureCase) -> None:
        quantity = self._measured(case)
        assert quantity.low <= quantity.value <= quantity.high, "interval misses its value"
        assert 0 < quantity.level <= 1, "level is a probability"

    def test_states_what_it_assumes(self, case: MeasureCase) -> None:
        assert self._measured(case).assumptions, "a number without assumptions claims too much"

    def test_survives_json(self, case: MeasureCase) -> None:
        quantity = self._measured(case)
        text = json.dumps(quantity.to_json(), allow_nan=False)
        assert Quantity.from_json(json.loads(text)) == quantity, "JSON changed it"

    def test_same_stream_same_bits(self, case: MeasureCase) -> None:
        assert self._measured(case) == self._measured(case), "two equal calls differ"

    def test_order_of_images_does_not_matter(self, case: MeasureCase) -> None:
        inputs = case.inputs(60, Rng(1))
        turned = permuted(inputs, torch.arange(59, -1, -1))
        first, second = case.measure(inputs, Rng(2)), case.measure(turned, Rng(2))
        if case.ordered:
            assert second.low <= first.high, "orders disagree beyond their intervals"
            assert first.low <= second.high, "orders disagree beyond their intervals"
        else:
            assert first == second, "the order of images changed the answer"

    def test_smallest_batch(self, case: MeasureCase) -> None:
        quantity = self._measured(case, case.least)
        assert math.isfinite(quantity.value), f"{case.least} images must give a finite value"

    def test_perfect_outcome(self, case: MeasureCase) -> None:
        if case.ideal is None:
            return
        quantity = case.measure(case.ideal(60, Rng(1)), Rng(2))
        assert quantity.value == case.best, f"expected {case.best}, got {quantity.value}"

    def test_touches_nothing(self, case: MeasureCase) -> None:
        inputs = case.inputs(60, Rng(1))
        with nothing_touched(*inputs):
            case.measure(inputs, Rng(2))
