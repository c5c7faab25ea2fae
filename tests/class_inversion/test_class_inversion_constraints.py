"""Both ends of the box, and the nearest point of an L1 ball about a start."""

import pytest
import torch
from scipy.optimize import minimize

from splitveil.class_inversion import Box, L1Ball
from splitveil.errors import BadPlan
from splitveil.rng import Rng

Z = torch.randn(20, 6, generator=Rng(0).torch(), dtype=torch.float64)
START = torch.randn(20, 6, generator=Rng(1).torch(), dtype=torch.float64)


def test_both_ends_of_the_box_hold() -> None:
    z = torch.tensor([[-3.0, -0.2, 0.4, 2.0]])
    assert Box(-1.0, 0.5).project(z, z).tolist() == [
        [-1, pytest.approx(-0.2), pytest.approx(0.4), 0.5]
    ]


def test_the_ball_lies_about_the_start_not_about_zero() -> None:
    far = torch.full((1, 4), 100.0)
    assert torch.equal(L1Ball(1.0).project(far, far), far)
    moved = far + torch.tensor([[3.0, 0, 0, 0]])
    assert torch.equal(L1Ball(1.0).project(moved, far)[0], far[0] + torch.tensor([1.0, 0, 0, 0]))


@pytest.mark.parametrize("radius", [0.3, 1.0, 4.0])
def test_the_projection_onto_the_ball_is_the_nearest_point(radius: float) -> None:
    found = L1Ball(radius).project(Z, START)
    deviation = (found - START).abs().sum(1)
    assert (deviation <= radius + 1e-9).all()
    for row in range(5):
        v = (Z - START)[row].numpy()
        # a brute force over the positive and negative parts, whose sum is the norm
        answer = minimize(
            lambda p, v=v: float(((p[:6] - p[6:] - v) ** 2).sum()),
            x0=[0.0] * 12,
            bounds=[(0, None)] * 12,
            constraints={"type": "ineq", "fun": lambda p: radius - p.sum()},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-14},
        )
        expected = torch.from_numpy(answer.x[:6] - answer.x[6:])
        assert torch.allclose(found[row] - START[row], expected, atol=1e-4)


def test_what_is_inside_stays_bit_for_bit() -> None:
    near = START + 1e-3
    assert torch.equal(L1Ball(1.0).project(near, START), near)


def test_bad_sets_are_refused() -> None:
    with pytest.raises(BadPlan, match="low < high"):
        Box(1.0, 1.0)
    with pytest.raises(BadPlan, match="radius"):
        L1Ball(0.0)
