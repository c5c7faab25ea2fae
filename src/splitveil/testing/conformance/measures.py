"""What every measure promises, to be inherited by the tests of a new one."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from splitveil.errors import AuditError
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched, permuted


@dataclass(frozen=True, kw_only=True)
class MeasureCase:
    """A measure with inputs to try it on.

    `measure` takes tensors that share their first axis, and a stream. `inputs` makes such tensors
    for n images. `ideal` makes them for a perfect outcome, whose value is `best`. `least` is the
    smallest n it accepts; `ordered` is True where the order of images may change the answer.
    `variants` name other ways to call it on the same inputs that must answer or refuse: without
    noise, without labels, with far more features than images.
    """

    measure: Callable[[tuple[Tensor, ...], Rng], Quantity]
    inputs: Callable[[int, Rng], tuple[Tensor, ...]]
    unit: str
    ideal: Callable[[int, Rng], tuple[Tensor, ...]] | None = None
    best: float = math.nan
    least: int = 1
    ordered: bool = False
    variants: Mapping[str, Callable[[tuple[Tensor, ...], Rng], Quantity]] = field(
        default_factory=dict
    )


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

    def test_never_a_silent_nan(self, case: MeasureCase) -> None:
        inputs = case.inputs(60, Rng(1))
        sound = case.measure(inputs, Rng(2))
        for place, tensor in enumerate(inputs):
            if not tensor.is_floating_point():
                continue
            broken = tensor.clone()
            broken.view(-1)[0] = math.nan
            try:
                quantity = case.measure((*inputs[:place], broken, *inputs[place + 1 :]), Rng(2))
            except AuditError as error:
                _one_line(error)
            else:
                unused = quantity == sound
                assert unused, f"NaN in input {place} went through as {quantity}"

    def test_answers_or_refuses_odd_inputs(self, case: MeasureCase) -> None:
        inputs = case.inputs(60, Rng(1))
        odd = {
            "infinite": _floats(inputs, lambda t: torch.full_like(t, math.inf)),
            "constant": _floats(inputs, torch.ones_like),
            "zero": _floats(inputs, torch.zeros_like),
            "huge": _floats(inputs, lambda t: 1e30 * t),
            "one class": _labels(inputs, torch.zeros_like),
            "classes of one": _labels(inputs, lambda t: torch.arange(len(t))),
            "one image": tuple(t[:1] for t in inputs),
            "no image": tuple(t[:0] for t in inputs),
        }
        for name, given in odd.items():
            self._answers_or_refuses(case.measure, given, name)

    def test_variants_answer_or_refuse(self, case: MeasureCase) -> None:
        for name, measure in case.variants.items():
            self._answers_or_refuses(measure, case.inputs(60, Rng(1)), name)

    def _answers_or_refuses(
        self,
        measure: Callable[[tuple[Tensor, ...], Rng], Quantity],
        inputs: tuple[Tensor, ...],
        name: str,
    ) -> None:
        try:
            quantity = measure(inputs, Rng(2))
        except AuditError as error:
            _one_line(error)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
        else:
            assert isinstance(quantity, Quantity), f"{name}: expected a Quantity or a refusal"


def _one_line(error: AuditError) -> None:
    text = str(error)
    assert text, "a refusal must say what to do"
    assert "\n" not in text, f"a refusal is one line: {text}"


def _floats(inputs: tuple[Tensor, ...], change: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    return tuple(change(t) if t.is_floating_point() else t for t in inputs)


def _labels(inputs: tuple[Tensor, ...], change: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    return tuple(t if t.is_floating_point() else change(t) for t in inputs)
