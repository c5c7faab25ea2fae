"""Components of a defence, and the one training that puts them together.

| component | what it does |
|---|---|
| `OneHot`, `Smoothed`, `Coarse`, `Distilled`, `Ramp` | label distributions; one a training |
| `Imbalance` | some classes count less |
| `LogitDecay` | a price on large logits |
| `Freeze`, `sweep_freezing` | layers that stay as they are, and how many may |
| `Expert` | the device's half of a network hardened before |
| `Prune` | fewer channels inside the device's half |
| `Bottleneck` | fewer channels across a cut |
| `Noise`, `Released` | clipped Gaussian noise, or any release, across a cut |
| `Calibrated`, `UtilityNoise` | noise to a proved error, or to cost little |
| `Fisher`, `FisherShannon` | noise from slopes, by their trace or log-determinant |
| `PrincipalChannels`, `LowPass`, `Tokens` | fewer channels, frequencies or tokens |
| `Sparse`, `ChannelDropping` | codes or channels chosen for each image |
| `FixedNoise`, `Ensembler` | one noise tensor; several bodies and a secret choice of them |
| `Shredder` | noise tensors learnt for the network |
| `VariationalBottleneck` | a bottleneck of noise priced in nats |
| `Lipschitz` | a price on the slope of features |
| `NoPeek`, `HilbertSchmidt` | a price on dependence between images and features |
| `Adversarial`, `ResSFL`, `MaxEntropy` | a price on what a decoder learns |
| `ConditionalEntropy`, `PublishedConditionalEntropy` | a price on what noise lets through |
"""

from splitveil.defences.adversary import Adversarial
from splitveil.defences.alterations import Beginning, Reduction
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
from splitveil.defences.calibrated import Calibrated
from splitveil.defences.conditional_entropy import ConditionalEntropy
from splitveil.defences.conditional_entropy_published import PublishedConditionalEntropy
from splitveil.defences.disco import ChannelDropping
from splitveil.defences.ensembler import Ensembler, unselected
from splitveil.defences.expert import Expert
from splitveil.defences.fisher import Fisher
from splitveil.defences.fixed_noise import FixedNoise
from splitveil.defences.freeze import Freeze
from splitveil.defences.freeze_sweep import FreezeSweep, sweep_freezing
from splitveil.defences.fsinfo import FisherShannon
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
from splitveil.defences.prune import Prune
from splitveil.defences.released import Released
from splitveil.defences.ressfl import ResSFL
from splitveil.defences.shredder import Shredder
from splitveil.defences.sparse import Sparse
from splitveil.defences.tokens import Tokens
from splitveil.defences.utility_noise import UtilityNoise
from splitveil.defences.vib import VariationalBottleneck
from splitveil.defences.watch import EpochState

__all__ = [
    "Adversarial",
    "Adversary",
    "Batch",
    "Beginning",
    "Bottleneck",
    "Calibrated",
    "Calibration",
    "ChannelDropping",
    "Coarse",
    "Component",
    "ConditionalEntropy",
    "Distilled",
    "Ensembler",
    "EpochState",
    "Expert",
    "Fisher",
    "FisherShannon",
    "Fitted",
    "FixedNoise",
    "Freeze",
    "FreezeSweep",
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
    "Prune",
    "PublishedConditionalEntropy",
    "Ramp",
    "Reduction",
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
    "UtilityNoise",
    "VariationalBottleneck",
    "harden",
    "parse_components",
    "sweep_freezing",
    "unselected",
]
