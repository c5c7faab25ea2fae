"""Optimisers of many separate problems: against scipy, alone and in company."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from splitveil.attacks.memory import out_of_memory
from splitveil.attacks.optimise import BatchedAdam, BatchedLBFGS, Box, Ending, Optimiser
from splitveil.attacks.optimise.chunks import in_chunks, measured_chunk
from splitveil.attacks.optimise.minimise import Function, Minimum
from splitveil.errors import BadPlan, BudgetExceeded

OPEN = Box(-torch.inf, torch.inf)
UNIT = Box(0.0, 1.0)
TIGHT = BatchedLBFGS(steps=500, gradient=1e-9, gain=0.0)


def quadratics(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor, Function]:
    """Half xᵀ A_i x - b_iᵀ x with condition numbers that grow with i."""
    g = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(n, d, d, generator=g, dtype=torch.float64)).Q
    powers = torch.linspace(0, 1, d, dtype=torch.float64) * torch.linspace(0.5, 3, n)[:, None]
    a = basis * (10**powers)[:, None] @ basis.transpose(1, 2)
    b = torch.randn(n, d, generator=g, dtype=torch.float64)

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        turned = torch.einsum("bij,bj->bi", a[rows], x)
        return (x * (0.5 * turned - b[rows])).sum(1), turned - b[rows]

    return a, b, function


def rosenbrock(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """One valley a row, narrower the higher its number."""
    width = 10.0 * (1 + rows.to(x.dtype))
    gap = x[:, 1] - x[:, 0].square()
    slope = torch.stack([-4 * width * gap * x[:, 0] - 2 * (1 - x[:, 0]), 2 * width * gap], 1)
    return width * gap.square() + (1 - x[:, 0]).square(), slope


def test_quadratics_reach_their_minimum() -> None:
    a, b, function = quadratics(6, 12)
    found = TIGHT.minimise(function, torch.zeros(6, 12, dtype=torch.float64), OPEN)
    torch.testing.assert_close(found.x, torch.linalg.solve(a, b), atol=1e-6, rtol=1e-6)
    assert (found.ending != Ending.DIVERGED).all()


@pytest.mark.parametrize("optimiser", [TIGHT, BatchedAdam(steps=4000, patience=1.0, gain=0.0)])
def test_in_a_box_they_find_what_scipy_finds(optimiser: Optimiser) -> None:
    a, b, function = quadratics(5, 8)
    found = optimiser.minimise(function, torch.full((5, 8), 0.5, dtype=torch.float64), UNIT)
    at_bound = 0
    for i in range(5):
        best = minimize(
            lambda x, i=i: (
                x @ (0.5 * a[i].numpy() @ x - b[i].numpy()),
                a[i].numpy() @ x - b[i].numpy(),
            ),
            np.full(8, 0.5),
            jac=True,
            bounds=[(0, 1)] * 8,
            options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
        )
        torch.testing.assert_close(found.x[i], torch.from_numpy(best.x), atol=2e-4, rtol=1e-4)
        at_bound += int(((found.x[i] == 0) | (found.x[i] == 1)).sum())
    assert at_bound > 0


def test_curved_valleys_of_different_width() -> None:
    start = torch.tensor([[-1.2, 1.0]], dtype=torch.float64).repeat(8, 1)
    found = TIGHT.minimise(rosenbrock, start, OPEN)
    torch.testing.assert_close(found.x, torch.ones(8, 2, dtype=torch.float64), atol=1e-5, rtol=0)
    assert len(found.steps.unique()) > 2, "rows stop each by itself"


def shifted(function: Function, by: int, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    return function(x, rows + by)


@pytest.mark.parametrize("optimiser", [BatchedLBFGS(), BatchedAdam()])
def test_companions_do_not_change_an_answer(optimiser: Optimiser) -> None:
    """Bit for bit: every operation here is one row's own."""

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = rosenbrock(x, rows)
        return torch.where(rows == 3, torch.nan, value), slope

    start = torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = optimiser.minimise(function, start, OPEN)
    for i in range(9):
        alone = optimiser.minimise(partial(shifted, function, i), start[i : i + 1], OPEN)
        assert torch.equal(alone.x[0], whole.x[i])
        assert alone.steps[0] == whole.steps[i]
        assert alone.ending[0] == whole.ending[i]


@pytest.mark.parametrize("optimiser", [BatchedLBFGS(steps=40), BatchedAdam(steps=200)])
def test_a_row_that_has_ended_is_not_looked_at_again(optimiser: Optimiser) -> None:
    seen: list[Tensor] = []

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(rows.clone())
        far = torch.where(rows == 0, 0.0, x[:, 0])  # row 0 is flat: there from the start
        return far.square() + 1e-3 * far.pow(4), torch.where(
            rows == 0, 0.0, 2 * far + 4e-3 * far.pow(3)
        )[:, None]

    found = optimiser.minimise(function, torch.full((2, 1), 3.0, dtype=torch.float64), OPEN)
    assert found.x[0, 0] == 3
    assert found.ending[0] == Ending.CONVERGED
    last = max(i for i, rows in enumerate(seen) if 0 in rows)
    assert last < len(seen) - 1
    assert all(0 not in rows for rows in seen[last + 1 :])


@pytest.mark.parametrize("optimiser", [BatchedLBFGS(), BatchedAdam(rate=0.5)])
def test_where_values_end_the_best_before_is_kept(optimiser: Optimiser) -> None:
    """Beyond x = 2 there is nothing; the way down leads there."""

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(x[:, 0] > 2, torch.nan, -x[:, 0]), -torch.ones_like(x)

    found = optimiser.minimise(function, torch.zeros(1, 1, dtype=torch.float64), OPEN)
    assert 1 < float(found.x) <= 2
    assert float(found.value) == -float(found.x)
    assert int(found.ending) != Ending.STEPS


@pytest.mark.parametrize("optimiser", [BatchedLBFGS(steps=30), BatchedAdam(steps=30)])
def test_marks_are_what_fewer_steps_pass_through(optimiser: Optimiser) -> None:
    _, _, function = quadratics(3, 6)
    start = torch.zeros(3, 6, dtype=torch.float64)
    found = optimiser.minimise(function, start, OPEN, marks=(5, 10, 99))
    values = [function(found.marks[m], torch.arange(3))[0] for m in (5, 10, 99)]
    assert (values[0] > values[1]).all()
    assert torch.equal(found.marks[99], found.x)


def test_the_best_of_adam_is_never_worse_than_its_start() -> None:
    start = torch.ones(2, 2, dtype=torch.float64)
    found = BatchedAdam(rate=1.0, steps=20).minimise(rosenbrock, start, OPEN)
    assert (found.value <= rosenbrock(start, torch.arange(2))[0]).all()


def test_chunks_give_what_the_whole_gives() -> None:
    _, _, function = quadratics(7, 6)
    start = torch.zeros(7, 6, dtype=torch.float64)
    whole = BatchedLBFGS().minimise(function, start, OPEN)

    def work(index: Tensor) -> Minimum:
        return BatchedLBFGS().minimise(lambda x, rows: function(x, index[rows]), start[index], OPEN)

    for chunk in (1, 3, 50):
        found, used = in_chunks(work, 7, chunk, start.device)
        torch.testing.assert_close(found.x, whole.x)
        assert used == chunk


def failing(above: int, calls: list[int]) -> Callable[[Tensor], Minimum]:
    def work(index: Tensor) -> Minimum:
        calls.append(len(index))
        if len(index) > above:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
        x = index.double()[:, None]
        return Minimum(x, x[:, 0], index, index, {})

    return work


def test_where_memory_runs_out_chunks_are_halved() -> None:
    calls: list[int] = []
    found, chunk = in_chunks(failing(3, calls), 20, 16, torch.device("cpu"))
    assert torch.equal(found.x[:, 0], torch.arange(20.0, dtype=torch.float64))
    assert chunk == 2
    assert calls[:4] == [16, 8, 4, 2]
    with pytest.raises(BudgetExceeded, match="one image"):
        in_chunks(failing(0, []), 20, 16, torch.device("cpu"))


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    assert out_of_memory(torch.OutOfMemoryError("x"))
    assert not out_of_memory(RuntimeError("shapes differ"))
    with pytest.raises(ZeroDivisionError):
        in_chunks(lambda index: 1 // 0, 4, 2, torch.device("cpu"))  # type: ignore[arg-type,return-value]


def test_the_chunk_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that makes 64 rows the cheapest, and memory that ends at 256."""
    sizes: list[int] = []
    cost = {16: 8.0, 64: 10.0, 256: 100.0}

    def function(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        if len(x) > 256:
            raise MemoryError
        sizes.append(len(x))
        return x[:, 0], x

    def clock() -> float:
        return sum(cost[size] for size in sizes)

    monkeypatch.setattr("splitveil.attacks.optimise.chunks.time.process_time", clock)
    assert measured_chunk(function, torch.zeros(2000, 1)) == 64
    assert measured_chunk(function, torch.zeros(5, 1)) == 5


def test_refusals() -> None:
    for bad in ({"steps": 0}, {"history": 0}, {"gain": -1.0}):
        with pytest.raises(BadPlan):
            BatchedLBFGS(**bad)
    for bad in ({"steps": 0}, {"rate": 0.0}, {"patience": 2.0}):
        with pytest.raises(BadPlan):
            BatchedAdam(**bad)
