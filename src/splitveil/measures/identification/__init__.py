"""How often an attacker can land near an image or name it: no density of images is needed."""

from splitveil.measures.identification.bayes import bayes_identification
from splitveil.measures.identification.fano import fano_success, kl_inverse
from splitveil.measures.identification.gaussian_dp import gaussian_dp_success
from splitveil.measures.identification.least_error import success_error
from splitveil.measures.identification.local_dp import local_dp_success
from splitveil.measures.identification.pair_ball import pair_ball

__all__ = [
    "bayes_identification",
    "fano_success",
    "gaussian_dp_success",
    "kl_inverse",
    "local_dp_success",
    "pair_ball",
    "success_error",
]
