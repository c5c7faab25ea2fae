"""Small numerics on plain numbers, for rooms that start without torch."""

from splitveil.numerics.jackknife import LogJackknife, log_jackknife, log_ratio
from splitveil.numerics.order_statistics import Quantile, quantile_between

__all__ = ["LogJackknife", "Quantile", "log_jackknife", "log_ratio", "quantile_between"]
