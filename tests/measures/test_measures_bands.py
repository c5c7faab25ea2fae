"""Bands sum to the error, and each holds what belongs to it."""

import math

import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.bands import Bands, CosineBands, PrincipalBands, band_errors, band_mse
from splitveil.measures.reconstruction import mse, mse_per_image
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Rng(seed, ("noise",)).torch(), dtype=torch.float64)


def _pair(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 2, 8, 12, generator=rng.child("x").torch())
    return x + 0.1 * torch.randn(x.shape, generator=rng.child("noise").torch()), x


def _equal(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return (_pair(n, rng)[1].clone(), _pair(n, rng)[1])


def _principal(*shape: int, n: int = 40) -> PrincipalBands:
    return PrincipalBands.fit(_noise(n, *shape), edges=(2, 8, 16))


def _case(bands: Bands, band: str) -> MeasureCase:
    return MeasureCase(
        measure=lambda i, rng: band_mse(i[0], i[1], bands, rng)[band],
        inputs=_pair,
        unit="mse per value",
        ideal=_equal,
        best=0.0,
    )


class TestBandMse(MeasureConformance):
    @pytest.fixture(params=["cosine", "principal"])
    def case(self, request: pytest.FixtureRequest) -> MeasureCase:
        if request.param == "cosine":
            return _case(CosineBands(), "0.25-0.5")
        return _case(_principal(2, 8, 12), "9-16")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 10), (1, 1, 5), (2, 32, 32)])
@pytest.mark.parametrize("kind", ["cosine", "principal"])
def test_bands_sum_to_the_error_of_every_image(kind: str, shape: tuple[int, ...]) -> None:
    bands: Bands = CosineBands() if kind == "cosine" else _principal(*shape)
    x, y = _noise(6, *shape, seed=1), _noise(6, *shape, seed=2)
    errors = band_errors(x, y, bands)
    whole = mse_per_image(x, y)
    assert torch.allclose(torch.stack(list(errors.values())).sum(0), whole, rtol=1e-13, atol=0)
    means = band_mse(x, y, bands, Rng(0)).values()
    assert math.fsum(q.value for q in means) == pytest.approx(mse(x, y, Rng(0)).value, rel=1e-13)


def test_a_shift_of_brightness_is_in_the_mean() -> None:
    x = _noise(3, 2, 9, 6)
    errors = band_errors(x + torch.tensor([0.1, -0.2]).reshape(2, 1, 1), x, CosineBands())
    assert torch.allclose(errors.pop("mean"), torch.full((3,), 0.025, dtype=torch.float64))
    assert float(torch.stack(list(errors.values())).max()) < 1e-20


@pytest.mark.parametrize(
    ("u", "v", "band"),
    [
        (1, 0, "0-0.125"),
        (2, 1, "0-0.125"),
        (0, 3, "0.125-0.25"),
        (5, 8, "0.25-0.5"),
        (15, 0, "0.5-1"),
    ],
)
def test_a_wave_is_in_the_band_of_its_finer_side(u: int, v: int, band: str) -> None:
    places = torch.arange(16, dtype=torch.float64) + 0.5
    wave = torch.outer(torch.cos(math.pi * u * places / 16), torch.cos(math.pi * v * places / 16))
    errors = band_errors(wave[None, None], torch.zeros(1, 1, 16, 16), CosineBands())
    assert float(errors[band]) == pytest.approx(float(wave.square().mean()))
    assert max(float(e) for name, e in errors.items() if name != band) < 1e-20


def test_principal_bands_follow_the_auxiliary_images() -> None:
    """Data on three axes of deviation 5, 3 and 1: errors along them, and off them."""
    axes = torch.linalg.qr(_noise(12, 12)).Q
    auxiliary = _noise(200, 3) * torch.tensor([5.0, 3.0, 1.0]) @ axes[:, :3].T + 7
    bands = PrincipalBands.fit(auxiliary, edges=(1, 2, 5))
    assert bands.edges == (1, 2, 3)
    zero = torch.zeros(1, 12, dtype=torch.float64)
    off = band_errors(axes[:, 5][None], zero, bands)
    assert float(off["rest"]) == pytest.approx(1 / 12)
    assert sum(float(off[name]) for name in ("1-1", "2-2", "3-3")) < 1e-20
    widest = torch.linalg.svd(auxiliary - auxiliary.mean(0)).Vh[:1]
    assert float(band_errors(widest, zero, bands)["1-1"]) == pytest.approx(1 / 12)


def test_more_values_than_images_or_fewer_give_the_same_bands() -> None:
    """The eigenproblem is solved on the smaller side; a zero column changes which it is."""
    auxiliary, error = _noise(12, 10), _noise(4, 10, seed=3)
    pad = torch.zeros(12, 6, dtype=torch.float64)
    narrow = PrincipalBands.fit(auxiliary, edges=(2, 5))
    wide = PrincipalBands.fit(torch.cat([auxiliary, pad], 1), edges=(2, 5))
    first = narrow.split(error)
    second = wide.split(torch.cat([error, pad[:4]], 1))
    for name in first:
        assert torch.allclose(first[name], second[name], rtol=1e-9)


def test_white_noise_fills_bands_by_their_number_of_values() -> None:
    """Each of 400 x 256 coefficients has variance 1; the mean has 1 of 256, 0.5-1 has 192 less."""
    errors = band_errors(_noise(400, 1, 16, 16), torch.zeros(400, 1, 16, 16), CosineBands())
    for name, count in {"mean": 1, "0-0.125": 8, "0.125-0.25": 16, "0.25-0.5": 56}.items():
        share, error = count / 256, math.sqrt(2 * count / 400) / 256
        assert float(errors[name].mean()) == pytest.approx(share, abs=4 * error), name


def test_bad_bands_are_refused() -> None:
    x = _noise(4, 6)
    with pytest.raises(BadData, match="use principal bands"):
        band_errors(x, x, CosineBands())
    with pytest.raises(BadPlan, match="rising"):
        CosineBands(edges=(0.5, 0.2))
    with pytest.raises(BadPlan, match="rising"):
        PrincipalBands.fit(x, edges=())
    with pytest.raises(BadData, match="at least 2"):
        PrincipalBands.fit(x[:1])
    with pytest.raises(BadData, match="all equal"):
        PrincipalBands.fit(torch.ones(4, 6))
    with pytest.raises(BadData, match="NaN"):
        PrincipalBands.fit(x * math.nan)
    with pytest.raises(BadData, match="fitted on targets of 6"):
        band_errors(_noise(4, 7), _noise(4, 7), PrincipalBands.fit(x))
    with pytest.raises(BadData, match="one reconstruction"):
        band_errors(x, x[:3], PrincipalBands.fit(x))


def test_fewer_images_than_edges_end_the_bands_there() -> None:
    bands = PrincipalBands.fit(_noise(5, 3, 4, 4))
    assert bands.edges == (4,)
    assert list(bands.split(_noise(2, 3, 4, 4))) == ["1-4", "rest"]
