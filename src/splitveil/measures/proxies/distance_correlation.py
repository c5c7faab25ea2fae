"""Distance correlation of images and features: a proxy that ranks."""

from splitveil.estimators.dependence import distances
from splitveil.measures.checks import OtherFeatures
from splitveil.measures.proxies.dependence import LEAST, dependence
from splitveil.measures.proxies.pairs import shuffled_pairs
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets


def distance_correlation(
    x: Targets, features: OtherFeatures, rng: Rng, *, most: int = 2000
) -> Quantity:
    """Squared distance correlation dCor²(X, Z) in its bias-corrected form.

    (A . B) / sqrt((A . A)(B . B)) of U-centred Euclidean distance matrices: 0 in the mean for
    independent pairs, where the usual V-statistic is biased up and would call everything leaky;
    hence it may fall just below 0. Unmoved by rescaling, rotating, shifting or padding with
    constants; other recodings that change nothing that leaks do move it.

    Args:
        x: the images, any number of values each.
        features: what is sent of each, or their features.
        rng: stream of the choice of images.
        most: images looked at; time and memory grow with its square.

    Returns:
        Unit: share. Kind: proxy. Interval: grouped jackknife, 95 %.

    References:
        Székely, Rizzo and Bakirov 2007; Székely and Rizzo 2013 (bias-corrected).

    Raises:
        BadData: if counts differ, there are fewer than 40 images, or values are not finite.
    """
    first, second = shuffled_pairs(x, features, rng, least=LEAST, most=most)
    return dependence(distances(first), distances(second), "Euclidean distances")
