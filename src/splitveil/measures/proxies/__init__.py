"""Numbers that rank and prove nothing: dependence, and estimates of information by critics."""

from splitveil.measures.proxies.club import club
from splitveil.measures.proxies.critic import CriticTraining
from splitveil.measures.proxies.distance_correlation import distance_correlation
from splitveil.measures.proxies.hsic import hsic
from splitveil.measures.proxies.info_nce import info_nce
from splitveil.measures.proxies.ladder import Calibrated, Rung, calibrated, calibration_ladder
from splitveil.measures.proxies.mine import mine
from splitveil.measures.proxies.nwj import nwj

__all__ = [
    "Calibrated",
    "CriticTraining",
    "Rung",
    "calibrated",
    "calibration_ladder",
    "club",
    "distance_correlation",
    "hsic",
    "info_nce",
    "mine",
    "nwj",
]
