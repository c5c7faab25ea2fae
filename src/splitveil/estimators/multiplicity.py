"""Many comparisons at once."""

import numpy as np
from jaxtyping import Float64


def holm(p_values: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """Adjusted p values of Holm 1979, in the order given.

    The i-th smallest of k becomes the largest of min(1, (k - j + 1) p_j) over j <= i. Rejecting
    those at most a keeps the chance of any false rejection at a, whatever the dependence between
    the tests.

    Example:
        >>> import numpy as np
        >>> print(holm(np.array([0.01, 0.04, 0.03])))
        [0.03 0.06 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    stepped = np.maximum.accumulate(np.minimum(1.0, factors * p_values[order]))
    adjusted: Float64[np.ndarray, " k"] = np.empty(len(p_values))
    adjusted[order] = stepped
    return adjusted
