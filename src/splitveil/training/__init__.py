"""The training loop, and where a run of it stands."""

from splitveil.training.checkpoint import Checkpoint
from splitveil.training.loop import Epoch, Schedule, Trace, fit

__all__ = ["Checkpoint", "Epoch", "Schedule", "Trace", "fit"]
