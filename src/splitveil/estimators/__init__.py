"""Pure numerics: no models, no partitions, numbers in and numbers out."""

from splitveil.estimators.bootstrap import Interval, mean_interval, ratio_interval
from splitveil.estimators.concentration import bernstein_upper
from splitveil.estimators.geometry import ClassGeometry, Geometry
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
from splitveil.estimators.moments import (
    Cells,
    ClassMoments,
    groups_within,
    joint_moments,
    stream_order,
)
from splitveil.estimators.multiplicity import holm
from splitveil.estimators.order_statistics import quantile_interval, share_interval
from splitveil.estimators.reservoir import Reservoir
from splitveil.estimators.scatter import Moments
from splitveil.estimators.sketch import CountSketch
from splitveil.estimators.squared_gradients import SquaredGradients, squared_gradients
from splitveil.estimators.water_filling import WaterFilling, water_filling
from splitveil.estimators.whitening import Whitening

__all__ = [
    "Cells",
    "ClassGeometry",
    "ClassMoments",
    "CountSketch",
    "Geometry",
    "Interval",
    "MixtureEntropy",
    "Moments",
    "Reservoir",
    "Spectrum",
    "SquaredGradients",
    "WaterFilling",
    "Whitening",
    "bernstein_upper",
    "groups_within",
    "hierarchical_interval",
    "holm",
    "joint_moments",
    "ladder_spectrum",
    "leave_one_out",
    "mean_interval",
    "mixture_entropy",
    "oas_spectrum",
    "quantile_interval",
    "ratio_interval",
    "sample_spectrum",
    "share_interval",
    "squared_gradients",
    "stream_order",
    "top_directions",
    "trace_information",
    "water_filling",
]
