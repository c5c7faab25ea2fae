"""Statistics of what a network answers, each larger where there is more to suspect.

One file a statistic; `catalogue` lists them, `Answers` what they look at.
"""

from splitveil.vetting.statistics.answers import Answers, LastLayer, centred
from splitveil.vetting.statistics.catalogue import Statistic, measure
from splitveil.vetting.statistics.kernel_probe import kernel_probe
from splitveil.vetting.statistics.linear_probe import linear_probe
from splitveil.vetting.statistics.residual_gradient import last_layer_gain, residual_gradient
from splitveil.vetting.statistics.saliency import saliency
from splitveil.vetting.statistics.spread import effective_rank, spread

__all__ = [
    "Answers",
    "LastLayer",
    "Statistic",
    "centred",
    "effective_rank",
    "kernel_probe",
    "last_layer_gain",
    "linear_probe",
    "measure",
    "residual_gradient",
    "saliency",
    "spread",
]
