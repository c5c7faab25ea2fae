"""Which images are reported, one choice a file."""

from splitveil.class_inversion.selections.base import Selection
from splitveil.class_inversion.selections.every import Every
from splitveil.class_inversion.selections.most_confident import MostConfident

__all__ = ["Every", "MostConfident", "Selection"]
