"""PEEL: from the features of a residual network, block by block, back to the image."""

from splitveil.attacks.peel.attack import Peel, Peeled, Peeler
from splitveil.attacks.peel.published import PublishedPeel
from splitveil.attacks.peel.report import Count, PeelReport, StageReport

__all__ = ["Count", "Peel", "PeelReport", "Peeled", "Peeler", "PublishedPeel", "StageReport"]
