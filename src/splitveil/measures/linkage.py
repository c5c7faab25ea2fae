"""Do two things that were sent show the same person? How well a score tells."""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float64
from scipy import stats
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.estimators.order_statistics import share_interval
from splitveil.measures.checks import finite
from splitveil.quantities import Kind, Quantity
from splitveil.shapes import PerImage

Same: TypeAlias = Bool[Tensor, " n2"]


def roc_curve(
    scores: PerImage, same: Same
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """False and true accept rates at every threshold, from (0, 0) to (1, 1).

    A pair is accepted where its score is at least the threshold; pairs of equal score are accepted
    together, so that the area below straight lines is the AUC with ties counted half.

    Args:
        scores: of pairs, higher for more alike.
        same: which pairs show the same person.

    Raises:
        BadData: if shapes differ, scores are not finite, or one kind of pair is missing.
    """
    genuine, impostor = _parted(scores, same)
    thresholds = np.unique(np.concatenate([genuine, impostor]))[::-1]
    accepted = [
        1 - np.searchsorted(np.sort(part), thresholds, side="left") / len(part)
        for part in (impostor, genuine)
    ]
    far, tar = (np.concatenate([[0.0], rates]) for rates in accepted)
    return far, tar


def verification(
    scores: PerImage, same: Same, *, rates: tuple[float, ...] = (0.1, 0.01)
) -> dict[str, Quantity]:
    """How well scores of pairs tell "the same person" from "two people".

    AUC = P(genuine score > impostor score) + ½ P(equal), with DeLong's variance (1988); its ends
    are never tighter than those of a share with as many trials as the rarer kind of pair has.
    TAR at FAR r is the share of genuine pairs accepted where at most r of the impostor pairs are;
    its ends take the threshold's own order-statistic interval and that of the share at half the
    error each, so they are conservative.

    Args:
        scores: of pairs, higher for more alike.
        same: which pairs show the same person.
        rates: the false accept rates r.

    Returns:
        "auc", "tar_at_far_<r>" and, for each, what a blind score gets: ½ and r, under "..._chance".
        Kind: measured; pairs count as independent draws, which pairs that share an image are not.

    Raises:
        BadData: as `roc_curve`, or if there are too few impostor pairs for a rate.
        BadPlan: if a rate is not in (0, 1).
    """
    if not rates or not all(0 < rate < 1 for rate in rates):
        raise BadPlan(f"false accept rates must lie in (0, 1), got {rates}")
    genuine, impostor = _parted(scores, same)
    if len(impostor) * min(rates) < 1:
        raise BadData(
            f"{len(impostor)} pairs of two people cannot show a false accept rate of {min(rates)}: "
            f"give at least {int(np.ceil(1 / min(rates)))}"
        )
    words = (
        "pairs are independent draws",
        f"{len(genuine)} pairs of one person, {len(impostor)} of two",
    )
    found = {"auc": _auc(genuine, impostor, words), "auc_chance": _blind(0.5)}
    for rate in rates:
        found[f"tar_at_far_{rate:g}"] = _tar(genuine, impostor, rate, words)
        found[f"tar_at_far_{rate:g}_chance"] = _blind(rate)
    return found


def _blind(value: float) -> Quantity:
    return Quantity.exact(value, unit="share", kind=Kind.THEOREM, assumptions=("a blind score",))


def _auc(
    genuine: Float64[np.ndarray, " g"], impostor: Float64[np.ndarray, " i"], words: tuple[str, ...]
) -> Quantity:
    above = _below(np.sort(impostor), genuine)
    under = 1 - _below(np.sort(genuine), impostor)
    value = float(above.mean())
    variance = sum(
        float(part.var(ddof=1)) / len(part) if len(part) > 1 else 0.25 for part in (above, under)
    )
    reach = float(stats.norm.ppf(0.975)) * variance**0.5
    low, high = max(0.0, value - reach), min(1.0, value + reach)
    if reach == 0:
        fewer = min(len(genuine), len(impostor))
        share = share_interval(value * fewer, fewer)
        low, high = share.low, share.high
    return _measured(value, low, high, len(genuine) + len(impostor), words)


def _below(
    ordered: Float64[np.ndarray, " m"], values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Share of `ordered` below each value, ties counted half."""
    left = np.searchsorted(ordered, values, side="left")
    right = np.searchsorted(ordered, values, side="right")
    shares: Float64[np.ndarray, " n"] = (left + right) / (2 * len(ordered))
    return shares


def _tar(
    genuine: Float64[np.ndarray, " g"],
    impostor: Float64[np.ndarray, " i"],
    rate: float,
    words: tuple[str, ...],
) -> Quantity:
    falling = np.sort(impostor)[::-1]
    n = len(falling)

    def accepted(allowed: int) -> float:
        """Share of genuine pairs above the impostor that follows the `allowed` highest ones."""
        return float((genuine > falling[allowed]).sum()) if allowed < n else float(len(genuine))

    hits = accepted(int(rate * n))
    # the threshold of the true rate lies between these order statistics at 97.5 %
    few, many = (int(stats.binom.ppf(tail, n, rate)) for tail in (0.0125, 0.9875))
    low = share_interval(accepted(few), len(genuine), level=0.975).low
    high = share_interval(accepted(min(many + 1, n)), len(genuine), level=0.975).high
    value = hits / len(genuine)
    return _measured(value, min(low, value), max(high, value), len(genuine), words)


def _measured(value: float, low: float, high: float, n: int, words: tuple[str, ...]) -> Quantity:
    return Quantity(
        value=value,
        low=low,
        high=high,
        unit="share",
        kind=Kind.MEASURED,
        n=n,
        assumptions=words,
    )


def _parted(
    scores: PerImage, same: Same
) -> tuple[Float64[np.ndarray, " g"], Float64[np.ndarray, " i"]]:
    if scores.shape != same.shape:
        raise BadData(f"{len(scores)} scores for {len(same)} pairs: give one each")
    finite(scores, "scores")
    kinds = torch.unique(same)
    if len(kinds) < 2:
        raise BadData("both pairs of one person and pairs of two people are needed")
    values = scores.detach().double().cpu()
    alike = same.cpu()
    genuine: Float64[np.ndarray, " g"] = values[alike].numpy()
    impostor: Float64[np.ndarray, " i"] = values[~alike].numpy()
    return genuine, impostor
