"""Pure numerics: no models, no partitions, numbers in and numbers out."""

from splitveil.estimators.bootstrap import Interval, mean_interval, ratio_interval
from splitveil.estimators.moments import ClassMoments, Moments, groups_within

__all__ = [
    "ClassMoments",
    "Interval",
    "Moments",
    "groups_within",
    "mean_interval",
    "ratio_interval",
]
