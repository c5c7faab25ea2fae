"""The suites for measures and releases catch what they claim to catch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity
from splitveil.release import Release, ReleaseRecipe
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance
from splitveil.testing.conformance.releases import ReleaseConformance


def _quantity(value: float, **changes: object) -> Quantity:
    settings = {"unit": "dB", "kind": Kind.MEASURED, "n": 1, "assumptions": ("some",)}
    return Quantity(value=value, low=value, high=value, **{**settings, **changes})  # type: ignore[arg-type]


def _inputs(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return (torch.rand(n, generator=rng.torch()),)


def _in_place(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
    inputs[0].add_(1)
    return _quantity(0.0)


_BROKEN_MEASURES: dict[str, Callable[[tuple[Tensor, ...], Rng], Quantity]] = {
    "test_gives_a_finite_quantity_in_its_unit": lambda i, r: _quantity(0.0, unit="nat"),
    "test_states_what_it_assumes": lambda i, r: _quantity(0.0, assumptions=()),
    "test_same_stream_same_bits": lambda i, r: _quantity(float(torch.rand(1))),
    "test_order_of_images_does_not_matter": lambda i, r: _quantity(float(i[0][0])),
    "test_smallest_batch": lambda i, r: _quantity(float("inf")),
    "test_perfect_outcome": lambda i, r: _quantity(0.5),
    "test_touches_nothing": _in_place,
    "test_never_a_silent_nan": lambda i, r: _quantity(float(i[0].nan_to_num(5.0)[0])),
    "test_answers_or_refuses_odd_inputs": lambda i, r: _quantity(1 / len(i[0])),
}


@pytest.mark.parametrize("check", list(_BROKEN_MEASURES))
def test_broken_measure_is_caught(check: str) -> None:
    case = MeasureCase(
        measure=_BROKEN_MEASURES[check], inputs=_inputs, unit="dB", ideal=_inputs, best=1.0
    )
    with pytest.raises(AssertionError):
        getattr(MeasureConformance(), check)(case)


def test_variants_and_refusals_are_judged() -> None:
    def crash(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
        raise KeyError("labels")

    def ramble(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
        raise BadData("first line\nsecond line")

    def refuse(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
        raise BadData("give labels")

    suite = MeasureConformance()
    for variant, words in ((crash, "no labels: KeyError"), (ramble, "one line"), (refuse, "")):
        case = MeasureCase(
            measure=refuse, inputs=_inputs, unit="dB", variants={"no labels": variant}
        )
        if not words:
            suite.test_variants_answer_or_refuse(case)
            continue
        with pytest.raises(AssertionError, match=words):
            suite.test_variants_answer_or_refuse(case)


def test_drawing_from_the_global_generator_is_caught() -> None:
    case = MeasureCase(
        measure=lambda i, r: _quantity(0.0 * float(torch.rand(1))), inputs=_inputs, unit="dB"
    )
    with pytest.raises(AssertionError, match="global generator"):
        MeasureConformance().test_touches_nothing(case)


@dataclass(frozen=True)
class _Broken(Release, ReleaseRecipe):
    """Adds unit noise to one value and gets one thing wrong."""

    name: ClassVar[str] = "broken"
    fault: str

    def fit(self, z: Tensor) -> "_Broken":
        return self

    def __call__(self, z: Tensor, generator: torch.Generator) -> Tensor:
        if self.fault == "shape":
            return z[:, :-1]
        if self.fault == "overwrites":
            return z.mul_(2)
        source = None if self.fault == "global" else generator
        noise = torch.zeros_like(z) if self.fault == "silent" else _normal(z, source)
        return z + noise

    @property
    def has_density(self) -> bool:
        return self.fault != "denies"

    def log_prob(self, sent: Tensor, z: Tensor) -> Tensor:
        scale = 2.0 if self.fault == "density" else 1.0
        mass = 0.1 if self.fault == "mass" else 0.0
        normal = torch.distributions.Normal(z.double(), scale)
        return normal.log_prob(sent.double()).sum(1) + mass

    def bits(self, features: int) -> float:
        return 0.0 if self.fault == "bits" else 32.0 * features

    def __repr__(self) -> str:
        return "_Broken('other')" if self.fault == "repr" else f"_Broken({self.fault!r})"


def _normal(z: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(z.shape, generator=generator, dtype=z.dtype)


_FAULTS = {
    "shape": "test_keeps_shape_and_type",
    "global": "test_same_generator_same_bits",
    "silent": "test_a_density_needs_fresh_noise",
    "overwrites": "test_touches_nothing",
    "denies": "test_says_whether_it_has_a_density",
    "density": "test_density_matches_what_is_sent",
    "mass": "test_density_matches_what_is_sent",
    "bits": "test_counts_bits",
    "repr": "test_repr_rebuilds",
}


@pytest.mark.parametrize("fault", list(_FAULTS))
def test_broken_release_is_caught(fault: str) -> None:
    with pytest.raises(AssertionError):
        getattr(ReleaseConformance(), _FAULTS[fault])(_Broken(fault))


@pytest.mark.parametrize(
    "check", [name for name in dir(ReleaseConformance) if name.startswith("test_")]
)
def test_sound_release_passes(check: str) -> None:
    getattr(ReleaseConformance(), check)(_Broken("none"))
