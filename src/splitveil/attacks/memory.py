"""What large tensors take: go on with half where memory gives out, hold nothing twice."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from splitveil.errors import BudgetExceeded

_Found = TypeVar("_Found")


def halving(work: Callable[[int], _Found], size: int) -> _Found:
    """`work(size)`, or with half as many at a time each time memory gives out.

    Raises:
        BudgetExceeded: if one at a time is still too many.
    """
    while True:
        try:
            return work(size)
        except (MemoryError, RuntimeError) as error:
            if not _ran_out(error):
                raise
            if size <= 1:
                raise BudgetExceeded(
                    "not enough memory for one image at a time: choose a smaller network or a "
                    "cut that sends less"
                ) from error
        size = max(1, size // 2)


def piecewise(work: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """`work(rows)` done `size` rows at a time, each part written where it belongs.

    Joining the parts afterwards would hold the whole twice.
    """
    first = work(rows[:size])
    if len(rows) <= size:
        return first
    whole = first.new_empty(len(rows), *first.shape[1:])
    whole[:size] = first
    for start in range(size, len(rows), size):
        part = slice(start, start + size)
        whole[part] = work(rows[part])
    return whole


def _ran_out(error: Exception) -> bool:
    text = str(error)
    return (
        isinstance(error, MemoryError | torch.OutOfMemoryError)
        or "not enough memory" in text
        or "out of memory" in text
        or "allocate memory" in text
    )
