"""Components of a defence, and the one training that puts them together.

| component | what it does |
|---|---|
| `OneHot`, `Smoothed`, `Coarse`, `Distilled`, `Ramp` | label distributions; one a training |
| `Imbalance` | some classes count less |
| `LogitDecay` | a price on large logits |
"""

from splitveil.defences.base import Batch, Component, Part, Setting
from splitveil.defences.harden import Hardened, harden
from splitveil.defences.imbalance import Imbalance
from splitveil.defences.labels import (
    Coarse,
    Distilled,
    LabelDistribution,
    OneHot,
    Ramp,
    Smoothed,
)
from splitveil.defences.logit_decay import LogitDecay
from splitveil.defences.parse import parse_components
from splitveil.defences.watch import EpochState

__all__ = [
    "Batch",
    "Coarse",
    "Component",
    "Distilled",
    "EpochState",
    "Hardened",
    "Imbalance",
    "LabelDistribution",
    "LogitDecay",
    "OneHot",
    "Part",
    "Ramp",
    "Setting",
    "Smoothed",
    "harden",
    "parse_components",
]
