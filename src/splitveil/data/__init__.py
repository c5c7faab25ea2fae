"""Sources of images, splits, and the pixel range."""

from splitveil.data.division import SplitSizes
from splitveil.data.duplicates import DuplicatePair, DuplicateReport, find_duplicates
from splitveil.data.load import load_data
from splitveil.data.stream import ImageStream, open_stream
from splitveil.data.training import TrainingImages, load_training
from splitveil.data.types import LabelledImages, Splits

__all__ = [
    "DuplicatePair",
    "DuplicateReport",
    "ImageStream",
    "LabelledImages",
    "SplitSizes",
    "Splits",
    "TrainingImages",
    "find_duplicates",
    "load_data",
    "load_training",
    "open_stream",
]
