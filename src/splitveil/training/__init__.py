"""The training loop."""

from splitveil.training.loop import Epoch, Schedule, Trace, fit

__all__ = ["Epoch", "Schedule", "Trace", "fit"]
