"""Rates: what features tell through noise, in nats per value, and losses that lower it."""

from splitveil.estimators.rates.cells import CellRates, cell_rates, retained_ratio
from splitveil.estimators.rates.held_out import held_out_rate
from splitveil.estimators.rates.moving import MovingClusters, follow
from splitveil.estimators.rates.published import published_cem, published_share
from splitveil.estimators.rates.soft import Deviation, class_rate

__all__ = [
    "CellRates",
    "Deviation",
    "MovingClusters",
    "cell_rates",
    "class_rate",
    "follow",
    "held_out_rate",
    "published_cem",
    "published_share",
    "retained_ratio",
]
