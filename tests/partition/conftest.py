"""Images and exactness checks shared by the partition tests."""

import pytest
import torch
from torch import Tensor

from splitveil.rng import Rng


@pytest.fixture
def images() -> Tensor:
    """Seven 16x16 colour images: a batch size no trace has seen."""
    return torch.rand(7, 3, 16, 16, generator=Rng(3).torch())
