"""Find every place a network can be cut, and cut it there."""

from splitveil.partition.cost import CutCost, measure_costs
from splitveil.partition.find import find_cuts, split
from splitveil.partition.graph import trace
from splitveil.partition.layout import Layout, Part
from splitveil.partition.traced import Traced
from splitveil.partition.types import Cut, CutKind, Partition

__all__ = [
    "Cut",
    "CutCost",
    "CutKind",
    "Layout",
    "Part",
    "Partition",
    "Traced",
    "find_cuts",
    "measure_costs",
    "split",
    "trace",
]
