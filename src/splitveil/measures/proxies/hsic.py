"""The Hilbert-Schmidt independence criterion of images and features: a proxy that ranks."""

from splitveil.estimators.dependence import gaussian_kernel
from splitveil.measures.checks import OtherFeatures
from splitveil.measures.proxies.dependence import LEAST, dependence
from splitveil.measures.proxies.pairs import shuffled_pairs
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets


def hsic(x: Targets, features: OtherFeatures, rng: Rng, *, most: int = 2000) -> Quantity:
    """Normalised HSIC(X, Z) / sqrt(HSIC(X, X) HSIC(Z, Z)) with Gaussian kernels, unbiased parts.

    The bandwidth of each kernel is the median distance, which makes it unmoved by rescaling; the
    kernel decides what it sees, and in high dimension distances concentrate and it sees little. 0
    in the mean for independent pairs, hence sometimes just below 0.

    Args:
        x: the images, any number of values each.
        features: what is sent of each, or their features.
        rng: stream of the choice of images.
        most: images looked at; time and memory grow with its square.

    Returns:
        Unit: share. Kind: proxy. Interval: grouped jackknife, 95 %.

    References:
        Gretton et al. 2005; Song et al. 2012 (unbiased).

    Raises:
        BadData: if counts differ, there are fewer than 40 images, or values are not finite.
    """
    first, second = shuffled_pairs(x, features, rng, least=LEAST, most=most)
    return dependence(
        gaussian_kernel(first), gaussian_kernel(second), "Gaussian kernels, median bandwidths"
    )
