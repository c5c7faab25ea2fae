"""What a search knows beside the features: priors, the release's likelihood, coarser pixels."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from splitveil.attacks.classes import Classes
from splitveil.attacks.optimise.coarse_to_fine import Scale, lift, scales
from splitveil.attacks.optimise.fidelity import (
    Density,
    Gaussian,
    Interval,
    Standardised,
    channel_scale,
    fidelity_of,
    log_share,
)
from splitveil.attacks.optimise.gaussian_prior import GaussianPrior
from splitveil.attacks.optimise.total_variation import total_variation
from splitveil.partition.layout import Layout, Part
from splitveil.release import (
    Chain,
    DitheredQuantiser,
    GaussianNoise,
    HalfPrecision,
    Identity,
    Release,
    UniformQuantiser,
)
from splitveil.rng import Rng

FLAT = Layout((Part("z", (6,)),))
ONE = torch.tensor([0, 1])


def features(n: int = 50) -> Tensor:
    return torch.randn(n, 6, generator=Rng(0).torch())


class Laplace(Release):
    def __call__(self, z: Tensor, generator: torch.Generator) -> Tensor:
        return z

    def bits(self, features: int) -> float:
        return 32.0 * features

    @property
    def has_density(self) -> bool:
        return True

    def log_prob(self, sent: Tensor, z: Tensor) -> Tensor:
        return -(sent - z).abs().double().sum(1) / 0.3


def test_total_variation_of_an_edge_and_a_dot() -> None:
    edge = torch.zeros(1, 1, 4, 5)
    edge[..., 2:] = 0.5
    assert float(total_variation(edge, smoothing=0.0)) == pytest.approx(4 * 0.5 / 20)
    dot = torch.zeros(1, 2, 3, 3)
    dot[0, 0, 1, 1] = 1.0
    # to the dot from above and from the left, and away from it both ways at once
    assert float(total_variation(dot, smoothing=0.0)) == pytest.approx((2 + math.sqrt(2)) / 18)
    flat = torch.full((2, 3, 4, 4), 0.3, requires_grad=True)
    (slope,) = torch.autograd.grad(total_variation(flat).sum(), flat)
    assert total_variation(flat).abs().max() < 1e-6
    assert torch.equal(slope, torch.zeros_like(slope))


@pytest.mark.parametrize(("n", "d"), [(200, 6), (9, 30)])
def test_the_gaussian_prior_is_that_of_the_shrunk_covariance(n: int, d: int) -> None:
    """Ledoit and Wolf's estimate from its definition, inverted as it stands; tall and wide."""
    g = torch.Generator().manual_seed(n)
    x = torch.randn(n, d, generator=g) * torch.linspace(0.2, 2, d)
    y = torch.arange(n) % 2
    classes = Classes.of(y)
    rows = classes.rows(y, n)
    prior = GaussianPrior.fit(x, rows, classes)
    centred = (x - prior.means[rows]).double().numpy()
    sample = centred.T @ centred / n
    mean = np.trace(sample) / d
    apart = ((sample - mean * np.eye(d)) ** 2).sum() / d
    noise = sum(((np.outer(r, r) - sample) ** 2).sum() for r in centred) / n**2 / d
    share = min(noise / apart, 1.0)
    shrunk = share * mean * np.eye(d) + (1 - share) * sample
    fresh = torch.randn(5, d, generator=g)
    offset = (fresh - prior.means[0]).double().numpy()
    expected = 0.5 * np.einsum("bi,ij,bj->b", offset, np.linalg.inv(shrunk), offset)
    found = prior(fresh, torch.zeros(5, dtype=torch.int64))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_the_prior_of_targets_that_do_not_vary_is_finite() -> None:
    nobody = Classes.of(None)
    prior = GaussianPrior.fit(torch.ones(4, 3), nobody.rows(None, 4), nobody)
    assert prior(torch.zeros(1, 3), nobody.rows(None, 1)).isfinite().all()


def test_gaussian_noise_is_the_release_s_own_density() -> None:
    z = features()
    release = GaussianNoise(sigma=0.5, clip=0.8).fit(z)
    sends = torch.stack([release(z[:2], Rng(i).torch()) for i in range(3)], 1)
    found = fidelity_of(release, sends, z, FLAT)
    assert isinstance(found, Gaussian)
    a, b = z[:2] * 3, z[4:6]  # beyond the clip and within
    joint = [-sum(release.log_prob(sends[:, i], each) for i in range(3)) / 6 for each in (a, b)]
    torch.testing.assert_close(
        (found(a, ONE) - found(b, ONE)).double(), joint[0] - joint[1], atol=1e-5, rtol=1e-5
    )
    probe = a.clone().requires_grad_()
    (slope,) = torch.autograd.grad(found(probe, ONE).sum(), probe)
    assert slope.isfinite().all()
    # moving along the radius beyond the clip changes nothing
    assert ((a - release.centre) * slope).sum(1).abs().max() < 1e-4


def test_rounded_noise_is_the_probability_of_the_cell() -> None:
    z = features()
    noisy, rounded = GaussianNoise(sigma=0.4, clip=1.0), UniformQuantiser(bits=3, clip=1.0)
    release = Chain((noisy, rounded)).fit(z)
    sends = release(z[:2], Rng(3).torch())[:, None]
    found = fidelity_of(release, sends, z, FLAT)
    assert isinstance(found, Interval)
    lattice, sigma = release.stages[1].lattice, release.stages[0].sigma  # type: ignore[attr-defined]
    centre = z[:2].double().numpy()
    sent = sends[:, 0].double().numpy()
    low = np.where(sent < lattice.low + 1e-6, -np.inf, sent - lattice.step / 2)
    high = np.where(sent > lattice.high - 1e-6, np.inf, sent + lattice.step / 2)
    share = stats.norm.cdf((high - centre) / sigma) - stats.norm.cdf((low - centre) / sigma)
    np.testing.assert_allclose(found(z[:2], ONE).numpy(), -np.log(share).mean(1), rtol=1e-4)


@pytest.mark.parametrize("recipe", [UniformQuantiser(bits=4), DitheredQuantiser(bits=4)], ids=str)
def test_rounding_alone_wants_the_cell_and_nothing_within_it(recipe: Any) -> None:
    z = features()
    release = recipe.fit(z)
    sent = release(z, Rng(1).torch())
    found = fidelity_of(release, sent[:, None], z, FLAT)
    assert isinstance(found, Interval)
    images = torch.arange(len(z))
    inside = found(z, images)
    assert inside.max() < math.log(2) + 0.1, "half of the weight lies within even at a cell's edge"
    assert (found(z + 2 * release.lattice.step, images) > inside + 1).all()
    far = (100 * z).requires_grad_()
    (slope,) = torch.autograd.grad(found(far, images).sum(), far)
    assert slope.isfinite().all()


def test_values_sent_as_an_end_of_the_range_may_lie_beyond_it() -> None:
    z = features()
    release = UniformQuantiser(bits=4, clip=0.5).fit(z)
    far = torch.full((2, 6), 50.0)
    found = fidelity_of(release, release(far, Rng(0).torch())[:, None], z, FLAT)
    assert found(far, ONE).max() < 1e-6
    assert found(-far, ONE).min() > 100


def test_other_densities_are_taken_as_they_are() -> None:
    z = features()
    found = fidelity_of(Laplace(), z[:2, None] + 1, z, FLAT)
    assert isinstance(found, Density)
    torch.testing.assert_close(found(z[:2], ONE), torch.full((2,), 1 / 0.3, dtype=torch.float64))


@pytest.mark.parametrize("release", [None, Identity(), HalfPrecision()], ids=str)
def test_without_known_noise_features_count_in_standard_deviations(release: Any) -> None:
    z = features() * torch.tensor([1.0, 1, 1, 1, 1, 100])
    found = fidelity_of(release, z[:2, None], z, FLAT)
    assert isinstance(found, Standardised)
    assert not found.nats
    moved = z[:2] + z.std(0, correction=0)
    torch.testing.assert_close(found(moved, ONE), torch.full((2,), 0.5), atol=1e-5, rtol=1e-4)


def test_channels_share_a_scale_and_silent_ones_do_not_decide() -> None:
    layout = Layout((Part("map", (2, 3, 3)), Part("tokens", (4, 3)), Part("vector", (2,))))
    z = torch.randn(400, 18 + 12 + 2, generator=Rng(0).torch())
    z[:, :9] *= 5
    z[:, 9:18] = 0
    scale = channel_scale(z, layout)
    torch.testing.assert_close(scale[:9], torch.full((9,), 5.0), atol=0.2, rtol=0)
    assert (scale[9:18] == scale[9]).all()
    assert 0 < scale[9] < 0.1
    tokens = scale[18:30].reshape(4, 3)
    assert torch.equal(tokens, tokens[:1].expand(4, 3))
    assert scale[30] != scale[31]


def test_the_share_of_a_far_tail_does_not_cancel() -> None:
    a = torch.tensor([-1.0, 8.0, -30.0, 3.0], dtype=torch.float64)
    b = torch.tensor([2.0, 9.0, -29.0, math.inf], dtype=torch.float64)
    upper = stats.norm.sf(a.numpy()) - stats.norm.sf(b.numpy())
    lower = stats.norm.cdf(b.numpy()) - stats.norm.cdf(a.numpy())
    expected = np.log(np.where(a.numpy() > 0, upper, lower))
    found = log_share(a.clamp(-1e4, 1e4), b.clamp(-1e4, 1e4))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 21)])
def test_coarser_pixels(shape: tuple[int, ...]) -> None:
    found = scales(shape, (2, 4, 3))
    assert found[-1] == Scale(shape, 1)
    assert [each.factor for each in found] == sorted((e.factor for e in found), reverse=True)
    x = torch.rand(2, math.prod(shape), generator=Rng(0).torch())
    for scale in found:
        u = scale.down(x)
        assert u.shape[1] == math.prod(scale.coarse)
        up = scale.up(u)
        assert up.shape == (2, *shape)
        assert float(up.min()) >= 0
        assert float(up.max()) <= 1
        flat = torch.full_like(x, 0.3)
        torch.testing.assert_close(scale.up(scale.down(flat)).flatten(1), flat)
        assert lift(u, scale, found[-1]).shape == x.shape


def test_targets_that_are_no_images_have_one_scale() -> None:
    assert scales((7,), (2, 4)) == (Scale((7,), 1),)
    assert scales((1, 4, 4), (2, 4)) == (Scale((1, 4, 4), 1),)
