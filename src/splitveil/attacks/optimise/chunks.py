"""How many problems to work on together: by measurement, and fewer where memory runs out."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from splitveil.attacks.memory import out_of_memory
from splitveil.attacks.optimise.minimise import Function, Minimum
from splitveil.errors import BudgetExceeded

SIZES = (16, 64, 256, 1024)
_BEST_OF = 2


def measured_chunk(function: Function, start: Tensor, sizes: Sequence[int] = SIZES) -> int:
    """The chunk size with the least time a row, from first steps at each size.

    Sizes beyond the number of rows are cut to it; a size that does not fit into memory ends the
    trials. Processor time, since other work may run beside; the least of two trials.
    """
    few = sorted({min(size, len(start)) for size in sizes if size > 0})
    if len(few) < 2:
        return max(1, few[0] if few else 1)
    rows = torch.arange(len(start), device=start.device)
    best, chunk = float("inf"), few[0]
    for size in few:
        try:
            costs = [_seconds(function, start[:size], rows[:size]) for _ in range(_BEST_OF)]
        except Exception as error:
            if not out_of_memory(error):
                raise
            break
        if min(costs) / size < best:
            best, chunk = min(costs) / size, size
    return chunk


def _seconds(function: Function, x: Tensor, rows: Tensor) -> float:
    clock = time.process_time if x.device.type == "cpu" else time.perf_counter
    begin = clock()
    function(x, rows)[0].cpu()  # waits for an accelerator
    return clock() - begin


def in_chunks(
    work: Callable[[Tensor], Minimum], rows: int, chunk: int, device: torch.device
) -> tuple[Minimum, int]:
    """Run `work` on the problems of each chunk; halve the chunk where memory runs out.

    Returns the joined result and the chunk size that fitted.

    Raises:
        BudgetExceeded: if a single problem does not fit.
    """
    parts: list[Minimum] = []
    begin = 0
    while begin < rows or not parts:
        index = torch.arange(begin, min(rows, begin + chunk), device=device)
        try:
            parts.append(work(index))
        except Exception as error:
            if not out_of_memory(error):
                raise
            if len(index) <= 1:
                raise BudgetExceeded(
                    f"one image does not fit into memory ({error}): choose an earlier cut, a "
                    "smaller image or a machine with more memory"
                ) from error
            chunk = (len(index) + 1) // 2
            continue
        begin += len(index)
        if not rows:
            break
    return Minimum.join(parts), chunk
