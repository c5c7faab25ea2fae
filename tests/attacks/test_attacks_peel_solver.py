"""Gauss-Newton, fixed point and continuation of PEEL on problems with known solutions."""

from dataclasses import replace

import pytest
import torch
from peel_nets import images, plain, seeded, stem
from torch import Tensor

from splitveil.attacks.peel.blocks import find_stages, joined
from splitveil.attacks.peel.chain import Retries, contracts, peel_stage, warm_start
from splitveil.attacks.peel.fixed_point import mix
from splitveil.attacks.peel.gauss_newton import Effort, Outcome, Solution, solve
from splitveil.attacks.peel.graph import read_head
from splitveil.attacks.peel.prefix import Continuation, solve_prefix
from splitveil.attacks.peel.problem import Problem, pose
from splitveil.rng import Rng

GREY = 0.5


def identity_problem(n: int = 4, strength: float = 1.0) -> tuple[Problem, Tensor]:
    """One block with an identity skip, its branch `strength` times as strong as drawn."""
    net = seeded(lambda: [plain(6, 6)]).double()
    net[0].one[2].weight.data *= strength  # type: ignore[index,union-attr]
    x = torch.randn(n, 6, 7, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        y = net(x)
    head = read_head(net.float(), (6, 7, 7))
    (stage,) = find_stages(head)
    return pose(head, stage, [y]), x


def image_problem(n: int = 3) -> tuple[Problem, Tensor]:
    """A stem with ReLU: one-sided rows, the box, more rows than unknowns."""
    net = seeded(lambda: stem(12)).double()
    x = images(n).double()
    x[:, :, :3] = 0.0
    with torch.no_grad():
        y = net(x)
    head = read_head(net.float(), (3, 8, 8))
    return pose(head, joined(head, find_stages(head)), [y], low=0.0, high=1.0), x


def test_gauss_newton_is_exact_beyond_float32() -> None:
    problem, x = identity_problem()
    found = solve(problem, warm_start(problem), Effort(tolerance=1e-10))
    assert found.outcome.tolist() == [Outcome.CONVERGED] * 4
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-8)
    assert float(problem.misfit(found.x).max()) <= 1e-10


def test_box_and_one_sided_rows() -> None:
    problem, x = image_problem()
    grey = torch.full_like(x, GREY)
    found = solve(problem, grey, Effort(tolerance=1e-9))
    torch.testing.assert_close(found.x, x, rtol=0, atol=1e-6)
    assert float(found.x.min()) >= 0
    assert float(found.x.max()) <= 1


def test_finished_images_keep_their_bits() -> None:
    problem, x = identity_problem()
    start = warm_start(problem).clone()
    start[1] = x[1]
    done = solve(problem, start, Effort(outer=1, tolerance=1e-8))
    assert done.outcome[1] == Outcome.CONVERGED
    assert done.steps[1] == 0
    later = solve(problem, start, Effort(outer=20, tolerance=1e-8))
    assert torch.equal(later.x[1], x[1]), "untouched, bit for bit"
    assert int(later.steps[0]) > 1


def test_companions_do_not_matter() -> None:
    problem, _ = identity_problem()
    start = warm_start(problem)
    whole = solve(problem, start, Effort())
    spoiled = start.clone()
    spoiled[0] = torch.nan
    spoiled[3] = 100.0
    mixed = solve(problem, spoiled, Effort())
    assert mixed.outcome[0] == Outcome.DIVERGED
    torch.testing.assert_close(mixed.x[1:3], whole.x[1:3], rtol=0, atol=1e-6)
    alone = solve(problem.take(torch.tensor([2])), start[2:3], Effort())
    torch.testing.assert_close(alone.x[0], whole.x[2], rtol=0, atol=1e-6)


def test_the_fixed_point_beats_plain_iteration() -> None:
    problem, x = identity_problem(strength=1.0)
    assert contracts(problem)
    start = warm_start(problem)
    found = mix(problem, start, iterations=40, tolerance=1e-6)
    assert float(problem.misfit(found).max()) < 1e-5
    torch.testing.assert_close(found.double(), x, rtol=0, atol=1e-3)
    plainly = start.float()
    for _ in range(15):
        plainly = plainly - problem.residual(plainly)[0]
    mixed = mix(problem, start, iterations=16, tolerance=0.0)
    assert bool((problem.misfit(mixed) < problem.misfit(plainly)).all())


def test_the_fixed_point_gives_up_where_nothing_contracts() -> None:
    problem, _ = identity_problem(strength=200.0)
    found = mix(problem, warm_start(problem), iterations=40, tolerance=1e-6)
    assert torch.isfinite(found).all()
    start = problem.misfit(warm_start(problem))
    assert bool((problem.misfit(found) <= start * 1.0001).all()), "the best met is kept"


def test_gain_scales_the_branch_alone() -> None:
    problem, x = identity_problem()
    straight = replace(problem, gain=0.0)
    torch.testing.assert_close(straight.residual(x)[0], x - problem.known[0].goal)
    half = replace(problem, gain=0.5).residual(x)[0]
    torch.testing.assert_close(half, (straight.residual(x)[0] + problem.residual(x)[0]) / 2)
    v = torch.randn_like(x)
    both = [replace(problem, gain=g).linearise(x).push(v)[0] for g in (0.0, 1.0, 0.5)]
    torch.testing.assert_close(both[0], v)
    torch.testing.assert_close(both[2], (both[0] + both[1]) / 2)


def test_retries_keep_the_best_and_count_their_work() -> None:
    problem, _ = identity_problem(strength=12.0)
    effort = Effort(outer=3, inner=6)
    once = peel_stage(problem, effort, Retries(homotopy=False, restarts=0), Rng(0))
    more = peel_stage(problem, effort, Retries(homotopy=True, restarts=2), Rng(0))
    assert bool((more.misfit <= once.misfit).all())
    assert bool((more.products >= once.products).all())
    assert bool((more.misfit < once.misfit).any() | (once.misfit < 1e-4).all())


def test_the_better_of_two_searches() -> None:
    def solution(*misfits: float) -> Solution:
        n = len(misfits)
        whole = torch.ones(n, dtype=torch.int64)
        return Solution(torch.tensor(misfits)[:, None], torch.tensor(misfits), whole, whole, whole)

    merged = solution(1.0, 2.0, 3.0).better_of(solution(0.5, 9.0), torch.tensor([1, 2]))
    assert merged.misfit.tolist() == [1.0, 0.5, 3.0]
    assert merged.x.flatten().tolist() == [1.0, 0.5, 3.0]
    assert merged.steps.tolist() == [1, 2, 2]


@pytest.mark.slow
def test_prefix_through_a_stride_from_grey_and_restarts() -> None:
    net = seeded(lambda: [*stem(12), plain(12, 48, 2)]).double()
    x = images(2).double()
    with torch.no_grad():
        y = net(x)
    head = read_head(net.float(), (3, 8, 8))
    problem = pose(head, joined(head, find_stages(head)), [y], low=0.0, high=1.0)
    few = Continuation(weights=(0.01,), steps=2, last=2, starts=1)
    short = solve_prefix(problem, Effort(), few, Rng(0))
    found = solve_prefix(problem, Effort(), Continuation(), Rng(0))
    assert bool((found.misfit <= short.misfit + 1e-12).all())
    solved = found.misfit < 1e-5
    assert bool(solved.any())
    assert float((found.x - x)[solved].square().mean()) < 1e-6, "enough equations: the image"


@pytest.mark.parametrize("gain", [0.3, 1.0])
def test_a_projection_starts_from_its_skip(gain: float) -> None:
    net = seeded(lambda: [plain(6, 9)])
    head = read_head(net, (6, 5, 5))
    (stage,) = find_stages(head)
    y = torch.randn(2, 9, 5, 5, generator=torch.Generator().manual_seed(0))
    problem = replace(pose(head, stage, [y]), gain=gain)
    start = warm_start(problem)
    weight, bias = (value.double() for value in net[0].two.parameters())  # type: ignore[union-attr]
    skip = weight[:, :, 0, 0]
    rows = (y.double() - bias[:, None, None]).permute(0, 2, 3, 1)
    least = torch.linalg.lstsq(skip, rows.flatten(0, 2).T).solution.T.detach()
    torch.testing.assert_close(start.permute(0, 2, 3, 1).flatten(0, 2), least, rtol=1e-3, atol=1e-4)
