"""What must not change while a method runs: global generators and the tensors it is given."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


@contextmanager
def nothing_touched(*tensors: Tensor) -> Iterator[None]:
    """Assert that the global generators and `tensors` come out of the block as they went in."""
    before = [tensor.clone() for tensor in tensors]
    state, legacy = torch.get_rng_state(), np.random.get_state(legacy=False)  # noqa: NPY002 - watched
    yield
    assert torch.equal(state, torch.get_rng_state()), "torch's global generator was used"
    after = np.random.get_state(legacy=False)  # noqa: NPY002 - watched, not used
    assert str(legacy) == str(after), "numpy's global generator was used"
    for index, (old, new) in enumerate(zip(before, tensors, strict=True)):
        assert torch.equal(old, new), f"input {index} was changed in place"


def permuted(tensors: Sequence[Tensor], order: Tensor) -> tuple[Tensor, ...]:
    """Every tensor with its first axis in `order`."""
    return tuple(tensor[order] for tensor in tensors)
