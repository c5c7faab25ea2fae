"""Pure numerics: no models, no partitions, numbers in and numbers out."""

from splitveil.estimators.bootstrap import Interval, mean_interval, ratio_interval
from splitveil.estimators.concentration import bernstein_upper
from splitveil.estimators.hierarchical import hierarchical_interval
from splitveil.estimators.leave_one_out import leave_one_out
from splitveil.estimators.log_det import (
    Spectrum,
    ladder_spectrum,
    oas_spectrum,
    sample_spectrum,
    top_directions,
    trace_information,
)
from splitveil.estimators.mixture_entropy import MixtureEntropy, mixture_entropy
from splitveil.estimators.moments import ClassMoments, Moments, groups_within
from splitveil.estimators.multiplicity import holm
from splitveil.estimators.order_statistics import quantile_interval, share_interval
from splitveil.estimators.water_filling import WaterFilling, water_filling

__all__ = [
    "ClassMoments",
    "Interval",
    "MixtureEntropy",
    "Moments",
    "Spectrum",
    "WaterFilling",
    "bernstein_upper",
    "groups_within",
    "hierarchical_interval",
    "holm",
    "ladder_spectrum",
    "leave_one_out",
    "mean_interval",
    "mixture_entropy",
    "oas_spectrum",
    "quantile_interval",
    "ratio_interval",
    "sample_spectrum",
    "share_interval",
    "top_directions",
    "trace_information",
    "water_filling",
]
