import pytest
import torch

from splitveil.estimators.isometry import coordinates
from splitveil.rng import Rng


def apart(z: torch.Tensor) -> torch.Tensor:
    return torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")


@pytest.mark.parametrize(("n", "width"), [(5, 40), (40, 5), (12, 12)])
def test_distances_are_kept_in_few_dimensions(n: int, width: int) -> None:
    z = torch.randn(n, width, generator=Rng(0).torch(), dtype=torch.float64) + 100
    few = coordinates(z)
    assert few.shape[1] <= min(width, n)
    torch.testing.assert_close(apart(few), apart(z), atol=1e-9, rtol=1e-9)


def test_rows_that_are_all_alike_have_no_distance() -> None:
    few = coordinates(torch.ones(4, 9))
    assert float(apart(few).max()) == 0
