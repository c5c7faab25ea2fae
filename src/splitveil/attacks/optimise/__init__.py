"""Searching for the image behind a z: optimisers for many problems at once, and what they lower."""

from splitveil.attacks.optimise.batched_adam import BatchedAdam
from splitveil.attacks.optimise.batched_lbfgs import BatchedLBFGS
from splitveil.attacks.optimise.minimise import Box, Ending, Minimum, Optimiser

__all__ = ["BatchedAdam", "BatchedLBFGS", "Box", "Ending", "Minimum", "Optimiser"]
