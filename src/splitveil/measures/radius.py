"""Spread of features within classes: the golden-zone radius and its scale-free twins."""

import math

from splitveil.errors import BadData
from splitveil.estimators.scatter import RATIOS, Moments
from splitveil.quantities import Kind, Quantity

_NAMES = {
    "radius": ("radius", "feature unit²"),
    "radius_unbiased": ("radius_unbiased", "feature unit²"),
    "scatter_within": ("within", "feature unit²"),
    "scatter_between": ("between", "feature unit²"),
    "scatter_total": ("total", "feature unit²"),
    "v": ("v", "feature unit² per feature"),
    "rho": ("rho", "share"),
    "nc1": ("nc1", ""),
    **{f"leak({ratio})": (f"leak({ratio})", "nat") for ratio in RATIOS},
}
_SCALED = "rescaling the features changes it without changing what leaks"
_SCALE_FREE = "free of scale, but changed by other recodings that change nothing that leaks"
_UNLABELLED = "no labels: all images were taken together, which is not a class"


def radius(moments: Moments) -> dict[str, Quantity]:
    """Every within-class measure of one cut, all of them proxies: they rank, they prove nothing.

    `radius`, mean over classes of R_c² = sum |z - mu_c|² / N_c, and its unbiased twin (N_c - 1);
    `scatter_within` S_W, `scatter_between` S_B, `scatter_total` S_T = S_W + S_B, weighted by class
    size; `v` = S_W / D; `rho` = S_W / S_T; `nc1` = S_W / S_B; `leak(e)` = H(Y) + sum pi_c (D / 2)
    ln(1 + R_c² / (e² S_T)), nats per image under noise of e times the root mean square spread,
    nearly proportional to D. Intervals: delete-group jackknife.

    `rho` and `nc1` are left out with fewer than two classes or features that do not vary between
    classes; without labels only `scatter_total` is given, since one heap is not a class.

    References:
        Golden Partition Zone, arXiv 2506.15412 (R_c²); Papyan et al. 2020 (NC1).

    Raises:
        BadData: if no measure can be given.
    """
    names = _NAMES if moments.labelled else {"scatter_total": _NAMES["scatter_total"]}
    found = {
        name: _quantity(moments, key, unit)
        for name, (key, unit) in names.items()
        if not math.isnan(moments.values[key])
    }
    if not found:
        raise BadData("no within-class measure exists for these features")
    return found


def _quantity(moments: Moments, key: str, unit: str) -> Quantity:
    interval = moments.interval(key)
    ceiling = 1.0 if key == "rho" else math.inf
    groups = len(moments.replicates[key])
    notes = [_SCALED if unit.startswith("feature") else _SCALE_FREE]
    if not moments.labelled:
        notes.append(_UNLABELLED)
    singles = sum(count == 1 for count in moments.counts)
    if moments.labelled and singles:
        notes.append(f"{singles} classes with one image add nothing within")
    notes.append(f"jackknife over {groups} groups" if groups > 1 else "no interval: too few groups")
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=max(interval.value, min(ceiling, interval.high)),
        unit=unit,
        kind=Kind.PROXY,
        n=moments.n,
        assumptions=tuple(notes),
    )
