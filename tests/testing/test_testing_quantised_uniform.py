"""The quantised uniform: closed forms against draws and against the payload bound."""

import math

import pytest
import torch

from splitveil.errors import BadInput
from splitveil.measures import payload_bound
from splitveil.rng import Rng
from splitveil.testing.oracles import QuantisedUniform


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_closed_forms_follow_draws(bits: int) -> None:
    problem = QuantisedUniform(3, bits)
    observation, x = problem.observe(20_000, Rng(1), dtype=torch.float64)
    z = observation.z[:, 0]
    errors = (problem.posterior_mean(z) - x).square().mean(1)
    standard = float(errors.std()) / math.sqrt(len(errors))
    assert abs(float(errors.mean()) - problem.mmse) < 5 * standard
    assert len(z.unique()) == 2**bits
    assert float((z - x).abs().max()) <= problem.cell / 2 + 1e-12


@pytest.mark.parametrize("bits", [1, 4])
def test_payload_bound_holds_with_equality(bits: int) -> None:
    problem = QuantisedUniform(5, bits)
    assert payload_bound(problem.release(), 5).value == pytest.approx(problem.information)
    assert problem.entropy == pytest.approx(-problem.information)
    assert 0 < problem.entropy_bound < problem.mmse
    assert problem.entropy_bound == pytest.approx(
        math.exp(2 * problem.entropy / 5) / (2 * math.pi * math.e)
    )


def test_attackers_see_what_crosses() -> None:
    knowledge = QuantisedUniform(2, 2).knowledge(10, Rng(1))
    assert torch.equal(
        knowledge.oracle(knowledge.auxiliary.x, Rng(0)).unique(),
        torch.tensor([0.125, 0.375, 0.625, 0.875]),
    )


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(BadInput, match="bits"):
        QuantisedUniform(1, 9)
