"""Defences side by side at equal utility.

| module | what it does |
|---|---|
| `span` | a defence with one setting as a range from weak to strong, `noise(0.05..2)` |
| `seek` | the strongest setting that keeps an accuracy, by few trainings |
| `arm` | one defended network: trained, split, attacked |
| `curve` | leakage against utility: areas with paired intervals |
| `run` | all defences at all cuts, resumed where they were stopped |
"""

from splitveil.audit.compare.curve import Curves, curves
from splitveil.audit.compare.run import ComparisonPlan, compare
from splitveil.audit.compare.seek import seek
from splitveil.audit.compare.span import Span

__all__ = ["ComparisonPlan", "Curves", "Span", "compare", "curves", "seek"]
