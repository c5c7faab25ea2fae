"""Pure numerics: no models, no partitions, numbers in and numbers out."""

from splitveil.estimators.bootstrap import Interval, mean_interval, ratio_interval
from splitveil.estimators.hierarchical import hierarchical_interval
from splitveil.estimators.moments import ClassMoments, Moments, groups_within
from splitveil.estimators.multiplicity import holm
from splitveil.estimators.order_statistics import quantile_interval, share_interval

__all__ = [
    "ClassMoments",
    "Interval",
    "Moments",
    "groups_within",
    "hierarchical_interval",
    "holm",
    "mean_interval",
    "quantile_interval",
    "ratio_interval",
    "share_interval",
]
