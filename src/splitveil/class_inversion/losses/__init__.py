"""Identity losses and prior losses, one a file."""

from splitveil.class_inversion.losses.base import Answer, IdentityLoss, PriorLoss
from splitveil.class_inversion.losses.critic import Realness
from splitveil.class_inversion.losses.cross_entropy import CrossEntropy
from splitveil.class_inversion.losses.gained import Gained
from splitveil.class_inversion.losses.logit import Logit
from splitveil.class_inversion.losses.max_margin import MaxMargin
from splitveil.class_inversion.losses.poincare import Poincare
from splitveil.class_inversion.losses.real_class import RealClass

__all__ = [
    "Answer",
    "CrossEntropy",
    "Gained",
    "IdentityLoss",
    "Logit",
    "MaxMargin",
    "Poincare",
    "PriorLoss",
    "RealClass",
    "Realness",
]
