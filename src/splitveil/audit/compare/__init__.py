"""Defences side by side at equal utility.

| module | what it does |
|---|---|
| `span` | a defence with one setting as a range from weak to strong, `noise(0.05..2)` |
| `seek` | the strongest setting that keeps an accuracy, by few trainings |
| `arm` | one defended network: trained, split, attacked |
| `curve` | leakage against utility: areas with paired intervals |
| `ready` | what was hardened elsewhere, from a folder or a factory |
| `rows` | the summary: points at drops of accuracy, areas, leads |
| `clock` | what all runs of a comparison have cost |
| `plan` | what is asked for, and the attacks by default |
| `run` | all defences at all cuts, resumed where they were stopped |
"""

from splitveil.audit.compare.curve import Curves, curves
from splitveil.audit.compare.plan import ComparisonPlan
from splitveil.audit.compare.run import compare
from splitveil.audit.compare.seek import seek
from splitveil.audit.compare.span import Span

__all__ = ["ComparisonPlan", "Curves", "Span", "compare", "curves", "seek"]
