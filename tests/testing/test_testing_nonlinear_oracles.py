"""Invertible nets, random ReLUs, quantisers and galleries against second methods."""

import math

import pytest
import torch
from scipy import integrate, stats

from splitveil.errors import BadInput
from splitveil.measures import payload_bound
from splitveil.rng import Rng
from splitveil.testing.oracles import (
    Bijection,
    FiniteAlphabet,
    FiniteGallery,
    InvertibleNet,
    LinearGaussian,
    LloydMax,
    RandomReLU,
    RecodedRelease,
    harmless_recodings,
    of_other_images,
    with_a_value_appended,
)

F64 = torch.float64


def _normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=Rng(seed, ("tests",)).torch(), dtype=F64)


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_bijection_is_undone_and_its_slope_is_the_jacobian(scale: float) -> None:
    net = Bijection(torch.linalg.qr(_normal(3, 4, 4)).Q, 0.3, scale)
    z = _normal(6, 4, seed=1)
    sent = net(z)
    torch.testing.assert_close(net.inverse(sent), z, rtol=1e-12, atol=1e-12)
    for row, slope in zip(z, net.log_slope(sent), strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: net(v[None])[0], row)
        assert float(slope) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]))


def test_a_recoded_density_integrates_to_one() -> None:
    """In one dimension, on either side of the kink, and the envelope keeps its ceiling."""
    problem = InvertibleNet(
        LinearGaussian.random(1, 1, Rng(3)), Bijection(-torch.ones(1, 1, 1, dtype=F64), 0.2, 3.0)
    )
    release = problem.release()
    grid = torch.linspace(-80, 80, 160_001, dtype=F64)[:, None]
    density = release.log_prob(grid, torch.full_like(grid, 0.4))
    assert density is not None
    mass = integrate.trapezoid(density.exp().numpy(), grid[:, 0].numpy())
    assert mass == pytest.approx(1, abs=1e-3)  # the density jumps at the kink
    pairs = release.pairwise_log_prob(grid[:5], grid[7:9])
    assert pairs is not None
    one = release.log_prob(grid[:5], grid[8:9].expand(5, 1))
    assert one is not None
    torch.testing.assert_close(pairs[:, 1], one)


@pytest.mark.parametrize("seed", range(5))
def test_an_invertible_net_keeps_the_least_error(seed: int) -> None:
    problem = InvertibleNet.random(3, 4, Rng(seed), sigma=0.5)
    observation, x = problem.observe(20_000, Rng(seed))
    errors = (problem.posterior_mean(observation.z[:, 0]) - x).square().mean(1)
    standard = float(errors.std()) / math.sqrt(len(errors))
    assert abs(float(errors.mean()) - problem.mmse) < 5 * standard
    assert problem.information == problem.source.information


def test_without_noise_an_invertible_net_hides_nothing() -> None:
    problem = InvertibleNet.random(4, 4, Rng(1), sigma=0.0)
    observation, x = problem.observe(50, Rng(2))
    assert float((problem.posterior_mean(observation.z[:, 0]) - x).abs().max()) < 1e-6
    assert not problem.release().has_density
    assert problem.mmse == pytest.approx(0, abs=1e-9)


def _fold_mmse(weight: float, sigma: float) -> tuple[float, float]:
    """One input, one unit: least error and information by quadrature over z."""
    x = torch.linspace(-8, 8, 4001, dtype=F64)
    z = torch.linspace(-8 * sigma, 8 * (weight + sigma), 4001, dtype=F64)
    clean = (weight * x).clamp_min(0)
    noise = torch.distributions.Normal(clean, sigma).log_prob(z[:, None]).exp()
    joint = noise * torch.distributions.Normal(0.0, 1.0).log_prob(x).exp() * float(x[1] - x[0])
    p = joint.sum(1)
    mean = joint @ x / p
    spread = joint @ x.square() / p - mean.square()
    entropy = -integrate.trapezoid(torch.xlogy(p, p).numpy(), z.numpy())
    told = entropy - 0.5 * math.log(2 * math.pi * math.e * sigma**2)
    return float(integrate.trapezoid((p * spread).numpy(), z.numpy())), float(told)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_particles_hold_the_least_error_and_information_between_them(sigma: float) -> None:
    problem = RandomReLU(torch.tensor([[1.3]], dtype=F64), sigma)
    mmse, information = _fold_mmse(1.3, sigma)
    below, above = problem.error_between(Rng(1), sends=1000)
    assert below.low <= mmse <= above.high
    assert below.high - below.low < 0.05
    assert above.low <= below.value <= above.high, "no gap beyond the noise of single errors"
    told, most = problem.information_between(Rng(1), sends=1000)
    assert told.low <= information <= most.high
    assert most.value - told.value < 0.02
    assert problem.van_trees <= mmse


def test_few_particles_open_the_gap() -> None:
    problem = RandomReLU.random(4, 12, Rng(2), sigma=0.5)
    few, many = (problem.error_between(Rng(3), particles=n) for n in (30, 8000))
    assert few[0].value < many[0].low <= many[1].high < few[1].value
    assert problem.van_trees < many[1].high
    with pytest.raises(BadInput, match="1 to 6"):
        RandomReLU.random(7, 8, Rng(0))


@pytest.mark.parametrize(("levels", "mmse"), [(2, 1 - 2 / math.pi), (4, 0.1175), (8, 0.03455)])
def test_gaussian_quantisers_are_the_best_ones(levels: int, mmse: float) -> None:
    """Two levels: +-sqrt(2 / pi). More: no levels nearby do better, by quadrature."""
    problem = LloydMax(1, levels)
    assert problem.mmse == pytest.approx(mmse, abs=6e-5)
    x = torch.linspace(-9, 9, 200_001, dtype=F64)
    p = torch.distributions.Normal(0.0, 1.0).log_prob(x).exp()

    def error(centres: torch.Tensor) -> float:
        gap = (x[:, None] - centres).abs().amin(1)
        return float(integrate.trapezoid((p * gap.square()).numpy(), x.numpy()))

    assert error(problem.levels) == pytest.approx(problem.mmse, abs=1e-7)
    for seed in range(10):
        moved = problem.levels + 0.05 * _normal(levels, seed=seed)
        assert error(moved) > problem.mmse
    assert payload_bound(problem.release(), 1).value >= problem.information
    sent = problem.release()(_normal(9, 1), Rng(0).torch())
    assert torch.isin(sent, problem.levels).all()


def test_many_inputs_for_one_symbol() -> None:
    folded = FiniteAlphabet.folded(4, 3)
    assert folded.mmse == pytest.approx(16 * (9 - 1) / 12)
    assert folded.information == pytest.approx(math.log(4))
    pooled = LinearGaussian.pooling(3, 4)
    assert pooled.mmse == pytest.approx(0.75, rel=1e-12)
    assert pooled.entropy_bound == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_gallery_is_named_as_often_as_its_posterior_says(seed: int) -> None:
    problem = FiniteGallery.random(2 + seed, 2, Rng(seed), sigma=0.4)
    x, chosen = problem.draw(40_000, Rng(seed))
    z = problem.release()(x @ problem.matrix.T, Rng(9).torch())
    scores = problem.release().pairwise_log_prob(z, problem.features)
    named = float((scores.argmax(1) == chosen).double().mean())
    assert named == pytest.approx(problem.identification, abs=0.01)
    answer = scores.softmax(1) @ problem.points
    mmse, information = problem.exact()
    assert float((answer - x).square().mean()) == pytest.approx(mmse, rel=0.05, abs=0.005)
    assert 0 <= information <= math.log(len(problem.points)) + 1e-9
    with pytest.raises(BadInput, match="one feature"):
        _ = FiniteGallery.random(3, 2, Rng(0), features=2).identification


def test_two_points_are_told_apart_as_a_test_tells_them() -> None:
    points = torch.tensor([[0.0], [3.0]], dtype=F64)
    problem = FiniteGallery(points, torch.ones(1, 1, dtype=F64), 2.0)
    assert problem.identification == pytest.approx(stats.norm.cdf(0.75))
    same = FiniteGallery(points * 0, torch.ones(1, 1, dtype=F64), 2.0)
    assert same.identification == pytest.approx(0.5)


def test_recodings_do_what_their_names_say() -> None:
    z = _normal(50, 4)
    found = harmless_recodings(4, Rng(0))
    assert len(found) == 7
    for name, recode in found.items():
        sent = recode(z)
        assert torch.equal(sent, recode(z))
        assert len(sent) == 50
        design = torch.cat([sent, torch.ones(50, 1, dtype=F64)], 1)
        left = z - design @ torch.linalg.lstsq(design, z, driver="gelsd").solution
        assert (float(left.abs().max()) < 1e-9) is (name != "bent")
    assert with_a_value_appended(z, _normal(50, 2, 2)).shape == (50, 5)
    other = of_other_images(z, Rng(0))
    assert torch.equal(other.sort(0).values, z.sort(0).values)
    assert not torch.equal(other, z)


def test_bad_problems_are_refused() -> None:
    with pytest.raises(BadInput, match="orthogonal"):
        Bijection(_normal(1, 3, 3))
    with pytest.raises(BadInput, match="positive"):
        Bijection(torch.eye(3, dtype=F64)[None], 0.0)
    with pytest.raises(BadInput, match="levels"):
        LloydMax(1, 1)
    with pytest.raises(BadInput, match="2 points"):
        FiniteGallery(_normal(1, 1), _normal(1, 1), 1.0)
    assert (
        RecodedRelease(
            LinearGaussian.random(2, 2, Rng(0)).release(), Bijection.random(2, Rng(0))
        ).envelope(2)
        is None
    )
