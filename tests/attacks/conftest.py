import pytest
import torch
from attack_problems import Builder, Problem, blobs, partition_of
from torch import Tensor, nn

from splitveil.rng import Rng


@pytest.fixture(scope="session")
def image_problem() -> Problem:
    """Two-channel 8x8 images through a strided convolution and ReLU to (12, 4, 4)."""
    with Rng(0, ("head",)).as_global():
        head = nn.Sequential(nn.Conv2d(2, 12, 3, 2, 1), nn.ReLU(), nn.Flatten())
    (x, y), (x_test, y_test) = blobs(300, 8, 1), blobs(200, 8, 2)
    return Problem(partition_of(head, (12, 4, 4)), x, y, x_test, y_test)


@pytest.fixture
def linear_problem() -> Builder:
    """x ~ N(m, S), z = Ax + sigma e, with the exact least error per value, (tr P) / d."""

    def build(n: int, d: int, f: int, sigma: float, seed: int = 0) -> tuple[Problem, float]:
        g = torch.Generator().manual_seed(seed)
        root = torch.randn(d, d, generator=g, dtype=torch.float64) / d**0.5
        a = torch.randn(f, d, generator=g, dtype=torch.float64) / d**0.5
        s = root @ root.T
        noise = sigma**2 * torch.eye(f, dtype=torch.float64)
        gain = torch.linalg.solve(a @ s @ a.T + noise, a @ s)
        exact = float((torch.trace(s) - torch.trace(s @ a.T @ gain)) / d)
        head = nn.Linear(d, f, bias=False)
        head.weight.data = a.float()

        def draw(count: int) -> Tensor:
            return (torch.randn(count, d, generator=g, dtype=torch.float64) @ root.T + 1).float()

        zeros = torch.zeros(n, dtype=torch.int64)
        test = draw(20_000)
        nothing = torch.zeros(len(test), dtype=torch.int64)
        partition = partition_of(head, (f,), sigma=sigma)
        return Problem(partition, draw(n), zeros, test, nothing), exact

    return build
