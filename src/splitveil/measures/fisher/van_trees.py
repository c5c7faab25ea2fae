"""The van Trees inequality: least error from Fisher information, for a declared source."""

import torch
from torch import Tensor

from splitveil.measures.fisher.information import ROWS_FOR_EACH_DIMENSION, BayesianInformation
from splitveil.quantities import Quantity


def van_trees(information: BayesianInformation) -> Quantity:
    """Least mean squared error of any attacker, biased or not: tr(M⁻¹) / d.

    M = E_X J_X + J_P (see `bayesian_information`). The inverse is convex, so few gradient rows
    would push it up: it is given for at least 30 d rows only, else the trace form stands in, and
    says so. Equal to the least error where image and features are jointly Gaussian.

    It holds for the declared source alone. 8-bit images, and images on a thin manifold, have no
    density with finite Fisher information, and for them it proves nothing.

    Returns:
        Unit: mse per value. Kind: model, lower.

    References:
        van Trees 1968; Gill and Levit 1995.
    """
    if not information.enough:
        return van_trees_trace(information)
    d = len(information.matrix)

    def form(matrix: Tensor) -> float:
        return float(torch.linalg.inv(matrix).trace()) / d

    return information.quantity(form, information.pulls / d, "matrix form")


def van_trees_trace(information: BayesianInformation) -> Quantity:
    """The trace form d / tr M <= tr(M⁻¹) / d of `van_trees`: no inverse, good with few rows.

    Far below the matrix form where the head looks at some directions only.

    Returns:
        Unit: mse per value. Kind: model, lower.
    """
    d = len(information.matrix)
    trace = float(information.matrix.trace())
    note = "trace form"
    if not information.enough:
        note += (
            f", as the matrix form needs {ROWS_FOR_EACH_DIMENSION * d} gradient rows and there "
            f"are {information.rows}"
        )
    return information.quantity(
        lambda matrix: d / float(matrix.trace()), information.traces * d / trace**2, note
    )
