"""Jacobian products, rows and conjugate gradients of PEEL against second methods."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from peel_nets import Block, bottleneck, conv, images, ir_unit, plain, seeded, stem
from torch import Tensor, nn

from splitveil.attacks.peel.blocks import Skip, find_stages, joined
from splitveil.attacks.peel.conjugate_gradients import least_squares
from splitveil.attacks.peel.graph import HeadGraph, read_head
from splitveil.attacks.peel.linear import evaluate, linearise
from splitveil.attacks.peel.problem import Problem, pose
from splitveil.attacks.peel.rows import Known
from splitveil.attacks.peel.sensitivity import extremes, sensitivity
from splitveil.attacks.peel.total_variation import variation_rows


class Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True)) - 0.1 * x.flip(-1)


LAYERS: dict[str, tuple[Callable[[], Sequence[nn.Module]], tuple[int, ...]]] = {
    "stride 2, odd size": (lambda: [conv(3, 5, stride=2), conv(5, 4, 5, 2)], (3, 9, 7)),
    "groups": (lambda: [conv(4, 8, groups=4)], (4, 6, 6)),
    "dilation": (lambda: [nn.Conv2d(3, 4, 3, padding=2, dilation=2)], (3, 9, 9)),
    "no padding, uneven stride": (lambda: [nn.Conv2d(3, 4, (3, 2), (2, 1))], (3, 9, 8)),
    "same padding, reflection": (
        lambda: [nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect")],
        (3, 6, 6),
    ),
    "activations": (
        lambda: [nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(3, 0.3), nn.SiLU()],
        (3, 6, 6),
    ),
    "max-pool": (lambda: [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2)], (3, 9, 9)),
    "pools and matrix": (
        lambda: [nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5)],
        (3, 8, 8),
    ),
    "transposed, norms": (
        lambda: [nn.ConvTranspose2d(3, 4, 3, 2, 1), nn.GroupNorm(2, 4), nn.BatchNorm2d(4)],
        (3, 5, 5),
    ),
    "other operations": (lambda: [Gate()], (3, 6, 6)),
    "several blocks": (
        lambda: [*stem(), plain(6, 6), bottleneck(6, 2), ir_unit(6, 6, 2), plain(6, 8, 2)],
        (3, 13, 11),
    ),
}


def whole(
    make: Callable[[], Sequence[nn.Module]], shape: tuple[int, ...]
) -> tuple[nn.Module, HeadGraph]:
    net = seeded(make)
    return net, read_head(net, shape)


@pytest.mark.parametrize("kind", LAYERS, ids=str)
def test_products_are_adjoint_and_the_derivative(kind: str) -> None:
    make, shape = LAYERS[kind]
    net, head = whole(make, shape)
    target = head.crossing
    steps = head.steps(head.source, target)
    x = 4 * images(3, shape).double() - 2
    linear = linearise(head, steps, head.source, target, x)
    g = torch.Generator().manual_seed(3)
    v = torch.randn(x.shape, generator=g, dtype=torch.float64)
    u = torch.randn(linear.values[0].shape, generator=g, dtype=torch.float64)
    pushed, pulled = linear.push(v)[0], linear.pull([u])
    left, right = (pushed * u).sum(), (pulled * v).sum()
    assert abs(left - right) <= 1e-6 * abs(left), "<Jv, u> = <v, J^T u>"

    def f(point: Tensor) -> Tensor:
        return evaluate(head, steps, head.source, target, point)[0]

    h = 1e-7
    slope = (f(x + h * v) - f(x - h * v)) / (2 * h)
    torch.testing.assert_close(pushed, slope, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(linear.values[0].float(), net(x.float()), rtol=1e-4, atol=1e-4)
    single = linearise(head, steps, head.source, target, x.float())
    a, b = (single.push(v.float())[0] * u).sum(), (single.pull([u.float()]) * v).sum()
    assert abs(a - b) <= 1e-5 * (pushed.norm() * u.norm()), "in float32 too"


def test_folding_equals_evaluation() -> None:
    net, head = whole(lambda: [*stem(), ir_unit(6, 6), bottleneck(6)], (3, 8, 8))
    kinds = {type(part) for part in head.double.modules()}
    assert nn.BatchNorm2d not in kinds, "nothing left to fold"
    x = images(4).double()
    (y,) = evaluate(head, head.steps(head.source, head.crossing), head.source, head.crossing, x)
    with torch.no_grad():
        torch.testing.assert_close(y, net.double()(x), rtol=1e-10, atol=1e-10)


def problems() -> dict[str, tuple[Problem, Tensor]]:
    """Problems whose solution is known."""
    nets: dict[str, Callable[[], Sequence[nn.Module]]] = {
        "nothing after the sum": lambda: [*stem(), plain(6, 6)],
        "ReLU after the sum": lambda: [*stem(), bottleneck(6)],
        "PReLU after the sum": lambda: [*stem(), plain(6, 6, post=nn.PReLU(6))],
        "stem with max-pool": lambda: [*stem(), nn.MaxPool2d(3, 2, 1)],
        "stem with max-pool, holes": lambda: [*stem(), nn.MaxPool2d(2, 3)],
    }
    found = {}
    for name, make in nets.items():
        net, head = whole(make, (3, 9, 9))
        stages = find_stages(head)
        x = images(3, (3, 9, 9)).double()
        with torch.no_grad():
            y = net.double()(x)
        problem = pose(head, joined(head, stages), [y], low=0.0, high=1.0)
        found[name] = (problem, x)
    return found


PROBLEMS = problems()


@pytest.mark.parametrize("name", PROBLEMS, ids=str)
def test_rows_vanish_at_the_truth_and_only_there(name: str) -> None:
    problem, x = PROBLEMS[name]
    assert float(problem.misfit(x).max()) < 1e-9, "feasible at the truth"
    assert float(problem.misfit(1 - x).min()) > 1e-2, "and not everywhere"


@pytest.mark.parametrize("name", PROBLEMS, ids=str)
def test_rows_have_the_right_derivative(name: str) -> None:
    problem, x = PROBLEMS[name]
    problem = replace(problem, variation=0.3)
    g = torch.Generator().manual_seed(5)
    at = torch.rand(x.shape, generator=g, dtype=torch.float64)
    v = torch.randn(x.shape, generator=g, dtype=torch.float64)
    linear = problem.linearise(at)
    u = [torch.randn(r.shape, generator=g, dtype=torch.float64) for r in linear.values]
    pushed = linear.push(v)
    left = sum((a * b).sum() for a, b in zip(pushed, u, strict=True))
    right = (linear.pull(u) * v).sum()
    assert abs(left - right) <= 1e-8 * abs(right)
    h = 1e-7
    for push, up, down in zip(
        pushed, problem.residual(at + h * v), problem.residual(at - h * v), strict=True
    ):
        torch.testing.assert_close(push, (up - down) / (2 * h), rtol=1e-4, atol=1e-4)


def test_limits_of_a_pool_are_those_of_its_windows() -> None:
    problem, _ = PROBLEMS["stem with max-pool"]
    known: Known = problem.known[0]
    assert known.limit is not None
    for i, j in ((0, 0), (3, 4), (8, 8)):
        rows = [w for w in range(5) if 2 * w - 1 <= i <= 2 * w + 1]
        columns = [w for w in range(5) if 2 * w - 1 <= j <= 2 * w + 1]
        least = known.goal[:, :, rows][..., columns].amin((2, 3))
        torch.testing.assert_close(known.limit[:, :, i, j], least)


class _Matrix:
    """A dense operator, one matrix an image."""

    def __init__(self, a: Tensor) -> None:
        self.a = a

    def push(self, v: Tensor) -> tuple[Tensor, ...]:
        return (torch.einsum("nrc,nc->nr", self.a, v),)

    def pull(self, u: Sequence[Tensor]) -> Tensor:
        return torch.einsum("nrc,nr->nc", self.a, u[0])


def test_conjugate_gradients_solve_damped_least_squares() -> None:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(4, 12, 7, generator=g, dtype=torch.float64)
    r = torch.randn(4, 12, generator=g, dtype=torch.float64)
    damping = torch.tensor([0.0, 0.1, 1.0, 10.0], dtype=torch.float64)
    loose = torch.full((4,), 1e-12, dtype=torch.float64)
    step = least_squares(_Matrix(a), [r], damping, iterations=60, tolerance=loose)
    eye = torch.eye(7, dtype=torch.float64)
    normal = a.mT @ a + damping[:, None, None] * eye
    exact = -torch.linalg.solve(normal, torch.einsum("nrc,nr->nc", a, r))
    torch.testing.assert_close(step.d, exact, rtol=1e-8, atol=1e-9)
    moved = (torch.einsum("nrc,nc->nr", a, exact) + r).square().sum(1)
    torch.testing.assert_close(step.promised, r.square().sum(1) - moved)


def test_an_image_with_a_loose_goal_stops_and_others_go_on() -> None:
    g = torch.Generator().manual_seed(1)
    a, r = torch.randn(2, 9, 6, generator=g), torch.randn(2, 9, generator=g)
    both = torch.tensor([0.9, 1e-6])
    step = least_squares(_Matrix(a), [r], torch.zeros(2), iterations=30, tolerance=both)
    short = least_squares(
        _Matrix(a),
        [r],
        torch.zeros(2),
        iterations=int(step.iterations[0]),
        tolerance=torch.full((2,), 1e-6),
    )
    assert step.iterations[0] < step.iterations[1]
    assert torch.equal(step.d[0], short.d[0]), "finished early, untouched afterwards"
    free = torch.ones(2, 6)
    free[:, 2] = 0
    held = least_squares(
        _Matrix(a), [r], torch.zeros(2), iterations=30, tolerance=both * 0 + 1e-6, free=free
    )
    assert not held.d[:, 2].any()


def test_singular_values_and_amplification_against_dense() -> None:
    problem, x = PROBLEMS["nothing after the sum"]
    one = problem.take(torch.tensor([0]))
    linear = one.linearise(x[:1].float())
    eye = torch.eye(x[0].numel()).reshape(-1, 3, 9, 9)
    columns = [torch.cat([r.flatten() for r in linear.push(e[None])]) for e in eye]
    dense = torch.stack(columns, 1).double()
    values = torch.linalg.svdvals(dense)
    low, high = extremes(linear, x[:1].float())
    assert high == pytest.approx(float(values[0]), rel=1e-3)
    assert float(values[-1]) * 0.999 <= low <= float(values.median())
    (_, _), found = sensitivity(one, x[:1])
    exact = float(values.pow(-2).mean())
    assert found == pytest.approx(exact, rel=0.5), "one Hutchinson probe"


def test_variation_rows_square_to_smoothed_variation() -> None:
    x = images(2).double()
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    total = sum(row.square().flatten(1).sum(1) for row in variation_rows(x, weight).values)
    d = [x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]]
    smooth: Any = sum((torch.sqrt(v**2 + 1e-4) - 1e-2).flatten(1).sum(1) for v in d)
    torch.testing.assert_close(total, 2 * weight * smooth)


def test_blocks_are_found_by_their_sums() -> None:
    net, head = whole(
        lambda: [
            *stem(),
            nn.MaxPool2d(2),
            plain(6, 6),
            bottleneck(6),
            ir_unit(6, 6),
            ir_unit(6, 6, 2),
            plain(6, 8, 2),
            nn.BatchNorm2d(8),
            nn.Dropout(),
            nn.Flatten(),
        ],
        (3, 16, 16),
    )
    stages = find_stages(head)
    assert [s.skip for s in stages] == [
        Skip.NONE,
        *[Skip.IDENTITY] * 3,
        *[Skip.PROJECTION] * 2,
        Skip.NONE,
    ]
    assert [s.nonnegative for s in stages] == [False, True, False, True, False, False, False]
    assert stages[2].ends[0].post is not None, "the ReLU after the sum belongs to the block"
    assert stages[0].ends[0].pool is not None
    assert isinstance(net, nn.Sequential)
    twin = seeded(lambda: [*stem(), Block(nn.Identity(), conv(6, 6), nn.Identity())])
    (_, block) = find_stages(read_head(twin, (3, 8, 8)))
    assert block.skip is Skip.IDENTITY, "whichever side of the sum it stands on"
