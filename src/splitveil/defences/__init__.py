"""Components of a defence, and the one training that puts them together.

| component | what it does |
|---|---|
| `OneHot`, `Smoothed`, `Coarse`, `Distilled`, `Ramp` | label distributions; one a training |
| `Imbalance` | some classes count less |
| `LogitDecay` | a price on large logits |
| `Freeze` | layers that stay as they are |
| `Bottleneck` | fewer channels across a cut |
| `Noise`, `Released` | clipped Gaussian noise, or any release, across a cut |
| `PrincipalChannels`, `LowPass`, `Tokens` | fewer channels, frequencies or tokens |
| `Sparse`, `ChannelDropping` | codes or channels chosen for each image |
| `Shredder` | noise tensors learnt for the network |
| `VariationalBottleneck` | a bottleneck of noise priced in nats |
| `Lipschitz` | a price on the slope of features |
| `NoPeek`, `HilbertSchmidt` | a price on dependence between images and features |
| `Adversarial`, `ResSFL`, `MaxEntropy` | a price on what a decoder learns |
| `ConditionalEntropy`, `PublishedConditionalEntropy` | a price on what noise lets through |
"""

from splitveil.defences.adversary import Adversarial
from splitveil.defences.base import (
    Adversary,
    Batch,
    Calibration,
    Component,
    Fitted,
    Part,
    Setting,
    Statement,
    Structure,
    TrainedRelease,
)
from splitveil.defences.bottleneck import Bottleneck
from splitveil.defences.conditional_entropy import ConditionalEntropy
from splitveil.defences.conditional_entropy_published import PublishedConditionalEntropy
from splitveil.defences.disco import ChannelDropping
from splitveil.defences.freeze import Freeze
from splitveil.defences.harden import Hardened, harden
from splitveil.defences.hsic import HilbertSchmidt
from splitveil.defences.imbalance import Imbalance
from splitveil.defences.labels import (
    Coarse,
    Distilled,
    LabelDistribution,
    OneHot,
    Ramp,
    Smoothed,
)
from splitveil.defences.lipschitz import Lipschitz
from splitveil.defences.logit_decay import LogitDecay
from splitveil.defences.maxent import MaxEntropy
from splitveil.defences.noise import Noise
from splitveil.defences.nopeek import NoPeek
from splitveil.defences.parse import parse_components
from splitveil.defences.projection import LowPass, PrincipalChannels
from splitveil.defences.released import Released
from splitveil.defences.ressfl import ResSFL
from splitveil.defences.shredder import Shredder
from splitveil.defences.sparse import Sparse
from splitveil.defences.tokens import Tokens
from splitveil.defences.vib import VariationalBottleneck
from splitveil.defences.watch import EpochState

__all__ = [
    "Adversarial",
    "Adversary",
    "Batch",
    "Bottleneck",
    "Calibration",
    "ChannelDropping",
    "Coarse",
    "Component",
    "ConditionalEntropy",
    "Distilled",
    "EpochState",
    "Fitted",
    "Freeze",
    "Hardened",
    "HilbertSchmidt",
    "Imbalance",
    "LabelDistribution",
    "Lipschitz",
    "LogitDecay",
    "LowPass",
    "MaxEntropy",
    "NoPeek",
    "Noise",
    "OneHot",
    "Part",
    "PrincipalChannels",
    "PublishedConditionalEntropy",
    "Ramp",
    "Released",
    "ResSFL",
    "Setting",
    "Shredder",
    "Smoothed",
    "Sparse",
    "Statement",
    "Structure",
    "Tokens",
    "TrainedRelease",
    "VariationalBottleneck",
    "harden",
    "parse_components",
]
