"""Components of a defence, and the one training that puts them together.

| component | what it does |
|---|---|
| `OneHot`, `Smoothed`, `Coarse`, `Distilled`, `Ramp` | label distributions; one a training |
| `Imbalance` | some classes count less |
| `LogitDecay` | a price on large logits |
| `Freeze` | layers that stay as they are |
| `Bottleneck` | fewer channels across a cut |
| `Noise` | clipped Gaussian noise across a cut |
"""

from splitveil.defences.base import (
    Adversary,
    Batch,
    Component,
    Part,
    Setting,
    Structure,
    TrainedRelease,
)
from splitveil.defences.bottleneck import Bottleneck
from splitveil.defences.freeze import Freeze
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
from splitveil.defences.noise import Noise
from splitveil.defences.parse import parse_components
from splitveil.defences.watch import EpochState

__all__ = [
    "Adversary",
    "Batch",
    "Bottleneck",
    "Coarse",
    "Component",
    "Distilled",
    "EpochState",
    "Freeze",
    "Hardened",
    "Imbalance",
    "LabelDistribution",
    "LogitDecay",
    "Noise",
    "OneHot",
    "Part",
    "Ramp",
    "Setting",
    "Smoothed",
    "Structure",
    "TrainedRelease",
    "harden",
    "parse_components",
]
