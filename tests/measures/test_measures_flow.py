"""A flow as marginal: a density whatever its weights, valid bounds, tighter on a curved latent."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.measures import FlowTraining, variational_bound
from splitveil.measures.information.flow import FlowMarginal
from splitveil.nets.coupling import CouplingFlow
from splitveil.release import ClippedGaussian
from splitveil.rng import Rng

F64 = torch.float64
_QUICK = FlowTraining(epochs=4, layers=2, width=8)


def _banana(n: int, seed: int, bend: float) -> tuple[Tensor, Tensor]:
    """One normal value on a parabola."""
    t = torch.randn(n, generator=Rng(seed, ("banana",)).torch(), dtype=F64)
    return t, _curve(t, bend)


def _curve(t: Tensor, bend: float) -> Tensor:
    return torch.stack([3 * t, bend * (t.square() - 1)], 1)


def _information(sigma: float, bend: float) -> tuple[float, float]:
    """I(T; Z): quadrature over t within, draws of z without; mean and its error."""
    t, f = _banana(1500, 9, bend)
    noise = torch.randn(f.shape, generator=Rng(8).torch(), dtype=F64)
    z = f + sigma * noise
    grid = torch.linspace(-6, 6, 1201, dtype=F64)
    weights = torch.distributions.Normal(0.0, 1.0).log_prob(grid) + math.log(0.01)
    scores = -torch.cdist(z, _curve(grid, bend)).square() / (2 * sigma**2)
    own = -0.5 * noise.square().sum(1)
    rate = own - (scores + weights).logsumexp(1)
    return float(rate.mean()), float(rate.std()) / math.sqrt(len(t))


def test_a_flow_integrates_to_one_whatever_its_weights() -> None:
    with Rng(3).as_global():
        flow = CouplingFlow(torch.tensor([0.3, -1.0]), torch.tensor([1.0, 2.0]), layers=4, width=8)
        for parameter in flow.parameters():
            parameter.data.normal_(0, 0.4)
    axis = torch.linspace(-40, 40, 501, dtype=F64)
    points = torch.cartesian_prod(axis, axis)
    mass = FlowMarginal(flow.double()).log_density(points).exp().sum() * 0.16**2
    assert float(mass) == pytest.approx(1, abs=0.01)


def test_an_untrained_flow_is_its_diagonal_gaussian() -> None:
    with Rng(3).as_global():
        flow = CouplingFlow(torch.zeros(3), torch.tensor([1.0, 2.0, 0.5]), layers=4, width=8)
    z = torch.randn(5, 3, generator=Rng(1).torch())
    law = torch.distributions.Normal(torch.zeros(3), torch.tensor([1.0, 2.0, 0.5]))
    torch.testing.assert_close(flow(z), law.log_prob(z).sum(1))


@pytest.mark.parametrize("problems", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_bounds_with_a_flow_rarely_fall_below_the_information(problems: int) -> None:
    """Curves of every bend, few images."""
    bends = {bend: _information(1.0, bend) for bend in (0.0, 1.0, 4.0)}
    missed = 0
    for seed in range(problems):
        bend = list(bends)[seed % 3]
        truth, error = bends[bend]
        _, f = _banana(200, seed, bend)
        release = ClippedGaussian(torch.zeros(2, dtype=F64), 60.0, 1.0)
        bound = variational_bound(f, release, Rng(seed), flow=_QUICK)
        missed += bound.value < truth - 3 * error
    assert missed <= stats.binom.ppf(0.999, problems, 0.05)


def test_a_flow_follows_a_curved_latent() -> None:
    truth, error = _information(0.5, 4.0)
    _, f = _banana(4000, 1, 4.0)
    release = ClippedGaussian(torch.zeros(2, dtype=F64), 60.0, 0.5)
    plain = variational_bound(f, release, Rng(2))
    bent = variational_bound(f, release, Rng(2), flow=FlowTraining(epochs=15, width=16))
    assert truth - 3 * error < bent.value < plain.value - 0.4
    assert any("flow of 6 couplings" in note for note in bent.assumptions)
    one = variational_bound(f[:, :1], ClippedGaussian(torch.zeros(1, dtype=F64), 60.0, 0.5), Rng(2))
    same = variational_bound(
        f[:, :1], ClippedGaussian(torch.zeros(1, dtype=F64), 60.0, 0.5), Rng(2), flow=_QUICK
    )
    assert one == same  # couplings need two values


def test_bad_flows_are_refused() -> None:
    with pytest.raises(BadPlan, match="a flow needs"):
        FlowTraining(epochs=0)
    with pytest.raises(BadPlan, match="at least 2 values"):
        CouplingFlow(torch.zeros(1), torch.ones(1), layers=1, width=1)
