"""Where searches begin, one way a file."""

from splitveil.class_inversion.starts.base import Begun, Start
from splitveil.class_inversion.starts.draws import Draws
from splitveil.class_inversion.starts.label_search import LabelSearch
from splitveil.class_inversion.starts.origin import Origin
from splitveil.class_inversion.starts.top_score import TopScore

__all__ = ["Begun", "Draws", "LabelSearch", "Origin", "Start", "TopScore"]
