"""How like the originals an attack's pictures are, beyond the mean error."""

import math

from torch import Tensor

from splitveil import measures
from splitveil.errors import BadData
from splitveil.estimators import Whitening
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Labels, Targets

_BANDS = measures.CosineBands()
_WHITENED = 2000
_WIDEST = 4096
"""Values of an image beyond which the whitening would cost more than the attacks."""


def likeness_of(
    made: Targets, truth: Targets, labels: Labels | None, rng: Rng
) -> dict[str, Quantity]:
    """Figures of reconstructions beside the mean error; what cannot be had is left out.

    "psnr_of_mean" (dB), "r_squared" and "r_squared_in_class" (share of the variance recovered),
    "found" and "found_in_class" with "found_chance" and "found_in_class_chance" (share of
    reconstructions whose original is the nearest of all these images, or of its class), and
    "band <frequencies>" (mse per value that lies in a band, so that the bands sum to the mse).
    Kind: measured.
    """
    found = {"psnr_of_mean": measures.psnr_of_mean(made, truth, rng.child("psnr of mean"))}
    found |= _shares(made, truth, labels, rng)
    if truth.ndim == 4:
        bands = measures.band_mse(made.cpu(), truth.cpu(), _BANDS, rng.child("bands"))
        found |= {f"band {name}": quantity for name, quantity in bands.items()}
    return found


def _shares(made: Tensor, truth: Tensor, labels: Tensor | None, rng: Rng) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for suffix, classes in (("", None), ("_in_class", labels)):
        if suffix and classes is None:
            continue
        try:
            found[f"r_squared{suffix}"] = measures.r_squared(
                made, truth, rng.child("r squared", suffix), labels=classes
            )
            ranks = measures.retrieval(
                made, truth, rng.child("found", suffix), labels=classes, top=(1,)
            )
        except BadData:
            continue
        found[f"found{suffix}"] = ranks["top1"]
        found[f"found{suffix}_chance"] = ranks["top1_chance"]
    return found


def whitening_of(auxiliary: Targets) -> Whitening | None:
    """What risk is measured by: 99 % of the variance of at most 2,000 auxiliary targets.

    None where they have more than 4,096 values, or do not vary.
    """
    if auxiliary[0].numel() > _WIDEST:
        return None
    try:
        return Whitening.fit(auxiliary[:_WHITENED])
    except BadData:
        return None


def risk_of(
    made: Targets, truth: Targets, whitening: Whitening, code: int, rng: Rng
) -> dict[str, Quantity]:
    """Figures of reconstructions in whitened distance; what cannot be had is left out.

    "risk" (ratio), "log_risk" (nat), and "channel_used": the share of what a linear code of as many
    values as were sent would give. Kind: measured.
    """
    try:
        found = measures.risk(made, truth, whitening, rng, code=code)
    except BadData:
        return {}
    figures = {"risk": found.ratio, "log_risk": found.log_ratio}
    if found.code is not None:
        figures["channel_used"] = found.code.used
    return {name: one for name, one in figures.items() if math.isfinite(one.value)}
