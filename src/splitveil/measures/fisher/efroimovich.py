"""Efroimovich's inequality: entropy left in the image, from Fisher information."""

import math

from torch import Tensor

from splitveil.errors import BadPlan
from splitveil.measures.fisher.information import ROWS_FOR_EACH_DIMENSION, BayesianInformation
from splitveil.quantities import Quantity


def efroimovich(information: BayesianInformation) -> Quantity:
    """Entropy power exp(2 h(X|Z) / d) / (2 pi e) >= det(M)^(-1/d), hence the error as well.

    M = E_X J_X + J_P (see `bayesian_information`). Between the trace and the matrix form of
    `van_trees`; the rigorous link from Fisher information to conditional entropy. Equal to the
    entropy power where image and features are jointly Gaussian. It holds for the declared source
    alone.

    Returns:
        Unit: mse per value. Kind: model, lower.

    References:
        Efroimovich 1979.

    Raises:
        BadPlan: with fewer than 30 d gradient rows.
    """
    d = len(information.matrix)
    if not information.enough:
        raise BadPlan(
            f"the determinant needs {ROWS_FOR_EACH_DIMENSION * d} gradient rows, got "
            f"{information.rows}: give more images or probes, or use van_trees_trace"
        )

    def form(matrix: Tensor) -> float:
        return math.exp(-float(matrix.logdet()) / d)

    slopes = information.shares * form(information.matrix) / d
    return information.quantity(form, slopes, "determinant form")
