"""What a release can carry at most, whatever the images: upper bounds in nats."""

import math

from splitveil.errors import BadPlan
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release.base import Release


def payload_bound(release: Release, features: int, *, sends: int = 1) -> Quantity:
    """I(X; Z) <= H(Z) <= B ln 2 for an image sent in B bits.

    True of every encoder, and the only statement of its kind about deterministic ones. It is not a
    bound on the error: that needs the images' own entropy, which nobody knows.

    Args:
        release: what is done to the features.
        features: how many values are sent for each image.
        sends: how many times each image is sent.

    Returns:
        Unit: nat per image, total over its values. Kind: theorem, upper.

    Example:
        >>> from splitveil.release import Identity
        >>> print(payload_bound(Identity(), 10))
        221.8 nat per image

    Raises:
        BadPlan: if there are no features or sends.
    """
    _check(features, sends)
    return _upper(sends * release.bits(features) * math.log(2), "the payload is all that is sent")


def capacity_bound(release: Release, features: int, *, sends: int = 1) -> Quantity:
    """The smaller of the payload bound and what the release's own noise lets through.

    For clipped Gaussian noise (f / 2) log(1 + B² / (f s²)): no input in a ball of radius B carries
    more through f channels with noise s. Unit: nat per image, total. Kind: theorem, upper.

    Raises:
        BadPlan: if there are no features or sends.
    """
    _check(features, sends)
    nats = sends * min(release.capacity(features), release.bits(features) * math.log(2))
    return _upper(nats, "the noise is fresh and its law is the stated one")


def _check(features: int, sends: int) -> None:
    if features < 1 or sends < 1:
        raise BadPlan(f"features and sends must be at least 1, got {features} and {sends}")


def _upper(nats: float, assumption: str) -> Quantity:
    return Quantity.exact(
        nats,
        unit="nat per image",
        kind=Kind.THEOREM,
        direction=Direction.UPPER,
        assumptions=(assumption,),
    )
