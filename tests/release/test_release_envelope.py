"""The density that dominates a release, wherever it says there is one."""

import math

import pytest
import torch

from splitveil.release import (
    ClippedGaussian,
    DitheredFeatures,
    Lattice,
    Release,
    parse_release,
)
from splitveil.rng import Rng


def _features(n: int = 300, f: int = 5) -> torch.Tensor:
    return 3 * torch.randn(n, f, generator=Rng(1).torch(), dtype=torch.float64)


@pytest.mark.parametrize(
    "release",
    [
        ClippedGaussian(torch.zeros(5, dtype=torch.float64), 2.0, 0.5),
        ClippedGaussian(torch.ones(5, dtype=torch.float64), 9.0, 4.0),
        DitheredFeatures(Lattice(low=-2.0, step=0.7, bits=3)),
        parse_release("half+gaussian(sigma=0.5)").fit(_features()),
    ],
    ids=repr,
)
def test_no_log_ratio_exceeds_the_ceiling(release: Release) -> None:
    z = _features()
    envelope = release.envelope(5)
    assert envelope is not None
    for draw in range(20):
        sent = release(z, Rng(draw).torch())
        own = release.log_prob(sent, z)
        assert own is not None
        assert float((own - envelope.log_density(sent)).max()) <= envelope.ceiling * (1 + 1e-6)


def test_the_ceiling_of_gaussian_noise_is_reached() -> None:
    """At |sent - c| = |z - c| t² / (t² - s²) on the edge: here B = 3, f = 1, s = 1, t² = 10."""
    release = ClippedGaussian(torch.zeros(1, dtype=torch.float64), 3.0, 1.0)
    z = torch.tensor([[3.0]], dtype=torch.float64)
    envelope = release.envelope(1)
    assert envelope is not None
    sent = z * 10 / 9
    ratio = release.log_prob(sent, z) - envelope.log_density(sent)
    assert float(ratio) == pytest.approx(envelope.ceiling, rel=1e-12)
    assert envelope.ceiling == pytest.approx(0.5 * (math.log(10) + 1))


def test_envelopes_are_densities() -> None:
    grid = torch.linspace(-60, 60, 100_001, dtype=torch.float64)[:, None]
    gaussian = ClippedGaussian(torch.zeros(1, dtype=torch.float64), 3.0, 1.0).envelope(1)
    assert gaussian is not None
    mass = torch.trapezoid(gaussian.log_density(grid).exp(), grid[:, 0])
    assert float(mass) == pytest.approx(1, abs=1e-9)
    lattice = Lattice(low=-2.0, step=0.5, bits=3)
    uniform = DitheredFeatures(lattice).envelope(1)
    assert float(uniform.log_density(grid[:1]).exp()) * 8 * 0.5 == pytest.approx(1)
    assert uniform.ceiling == pytest.approx(3 * math.log(2))


@pytest.mark.parametrize("written", ["none", "half", "quantise(bits=2)"])
def test_a_release_without_a_density_has_no_envelope(written: str) -> None:
    assert parse_release(written).fit(_features()).envelope(5) is None


def test_unconfined_noise_has_no_envelope() -> None:
    assert ClippedGaussian(torch.zeros(5), math.inf, 1.0).envelope(5) is None
