"""What large tensors take: go on with half where memory gives out, hold nothing twice."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from splitveil.errors import BudgetExceeded

_Found = TypeVar("_Found")
_SIGNS = ("not enough memory", "out of memory", "allocate memory")


def halving(work: Callable[[int], _Found], size: int) -> _Found:
    """`work(size)`, or with half as many at a time each time memory gives out.

    Raises:
        BudgetExceeded: if one at a time is still too many.
    """
    while True:
        try:
            return work(size)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
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


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the host or on an accelerator."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
