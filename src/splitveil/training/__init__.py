"""The training loop, where a run of it stands, and views of images to train on."""

from splitveil.training.augmentation import Augmentation
from splitveil.training.checkpoint import Checkpoint
from splitveil.training.loop import Epoch, Schedule, Trace, fit

__all__ = ["Augmentation", "Checkpoint", "Epoch", "Schedule", "Trace", "fit"]
