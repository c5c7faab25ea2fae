"""Named random streams: independent, free of order, and silent towards the global generators."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from splitveil.rng import Rng


def _draw(rng: Rng, n: int = 8) -> torch.Tensor:
    return torch.rand(n, generator=rng.torch(), dtype=torch.float64)


def test_same_name_same_numbers_whatever_was_drawn_before() -> None:
    rng = Rng(1)
    first = _draw(rng.child("a", 3))
    _draw(rng)
    _draw(rng.child("b"))
    assert torch.equal(first, _draw(Rng(1).child("a").child("3")))
    assert np.array_equal(rng.child("a").numpy().random(4), Rng(1, ("a",)).numpy().random(4))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.lists(st.text("ab/ ", max_size=3), max_size=3).map(tuple),
        ),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_different_names_give_different_numbers(names: list[tuple[int, tuple[str, ...]]]) -> None:
    draws = {tuple(_draw(Rng(seed, path)).tolist()) for seed, path in names}
    assert len(draws) == len(names)


def test_children_are_uncorrelated() -> None:
    """500 siblings, 64 values each: correlation with the next sibling within 5 standard errors."""
    rows = torch.stack([_draw(Rng(0).child("trial", i), 64) for i in range(500)]) - 0.5
    products = (rows[:-1] * rows[1:]).mean() * 12
    assert abs(float(products)) < 5 / math.sqrt(499 * 64)
    assert stats.kstest((rows + 0.5).flatten().numpy(), "uniform").pvalue > 1e-4


def test_global_generators_are_untouched() -> None:
    state, legacy = torch.get_rng_state(), str(np.random.get_state(legacy=False))  # noqa: NPY002
    _draw(Rng(5).child("x"))
    Rng(5).numpy().random(3)
    with Rng(5).as_global():
        torch.rand(3)
    assert torch.equal(state, torch.get_rng_state())
    assert legacy == str(np.random.get_state(legacy=False))  # noqa: NPY002


def test_global_code_repeats_inside_its_fork() -> None:
    draws = []
    for _ in range(2):
        with Rng(5, ("inner",)).as_global():
            draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1])


def test_global_state_returns_after_an_error() -> None:
    state = torch.get_rng_state()
    try:
        with Rng(5).as_global():
            torch.rand(3)
            raise RuntimeError("inside")
    except RuntimeError:
        pass
    assert torch.equal(state, torch.get_rng_state())


def test_entropy_streams_differ_and_say_so() -> None:
    first, second = Rng.from_entropy(), Rng.from_entropy()
    assert first.seed != second.seed
    assert first.child("a").from_system
    assert not Rng(1).child("a").from_system
