"""Small numerics on plain numbers, for rooms that start without torch."""

from splitveil.numerics.jackknife import LogJackknife, log_jackknife, log_ratio

__all__ = ["LogJackknife", "log_jackknife", "log_ratio"]
