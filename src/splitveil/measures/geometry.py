"""How classes lie at one cut, from sketched features."""

from splitveil.estimators.bootstrap import Interval
from splitveil.estimators.geometry import Geometry
from splitveil.quantities import Kind, Quantity


def class_geometry(geometry: Geometry) -> dict[str, Quantity]:
    """`centre_accuracy` and `effective_rank` of a cut, both proxies.

    `centre_accuracy`: share of images nearest to the mean of their own class, each left out of
    it. `effective_rank`: (tr C)² / |C|_F² of the covariance within classes, in dimensions. What
    cannot be had is left out. Misleads where features were sketched: accuracy is then biased low.
    """
    words: tuple[str, ...] = (f"{geometry.sampled} sampled images",)
    if geometry.sketched:
        words += ("distances of a random sketch: accuracy is biased low",)
    found = {
        "centre_accuracy": (geometry.centre_accuracy, "share"),
        "effective_rank": (geometry.effective_rank, "dimensions"),
    }
    return {
        name: _quantity(interval, unit, geometry.sampled, words)
        for name, (interval, unit) in found.items()
        if interval is not None
    }


def _quantity(interval: Interval, unit: str, n: int, words: tuple[str, ...]) -> Quantity:
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        kind=Kind.PROXY,
        n=n,
        assumptions=words,
    )
