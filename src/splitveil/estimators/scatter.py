"""Scatter of features within and between classes, as figures with jackknife intervals."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.bootstrap import Interval
from splitveil.numerics import LogJackknife, log_jackknife, log_ratio

RATIOS = (0.3, 0.1, 0.03, 0.01)
"""Noise of the reference observation, in shares of the features' root mean square spread."""


@dataclass(frozen=True)
class Moments:
    """Scatter of n feature vectors of D values around their class means and of these means.

    With N_c images of mean mu_c in class c, M2_c = sum |z - mu_c|² and mu the mean of all:
    `class_radii` R_c² = M2_c / N_c (0 for a class of one image, NaN for an empty one);
    `radius` is its unweighted mean over classes of two images or more; `within` S_W = sum M2_c / N;
    `between` S_B = sum N_c |mu_c - mu|² / N; `total` S_T = S_W + S_B. The `unbiased` twins divide
    by N_c - 1 and N - K, and take the share of S_W out of S_B. Squared feature units, summed over
    features. `leak(e)` = H(Y) + sum pi_c (D / 2) ln(1 + R_c² / (e² S_T)) is the trace form of the
    information kept under noise of e times the root mean square spread, in nats per image.
    `replicates` hold each quantity without each group in turn, NaN where it does not exist then;
    `labelled` is False where all images were taken together for want of labels.
    """

    features: int
    counts: tuple[int, ...]
    labelled: bool
    class_radii: tuple[float, ...]
    unbiased_class_radii: tuple[float, ...]
    values: dict[str, float]
    replicates: dict[str, tuple[float, ...]]

    @property
    def n(self) -> int:
        """Images seen."""
        return sum(self.counts)

    @property
    def classes(self) -> int:
        """Classes with at least one image."""
        return sum(count > 0 for count in self.counts)

    def interval(self, name: str, *, level: float = 0.95) -> Interval:
        """Delete-group jackknife interval, on the log scale.

        log theta ± t_(G-1) sqrt((G - 1) / G sum (log theta_(g) - mean)²). Without at least two
        groups, or where a replicate is 0 or infinite, it is [0, inf].
        """
        value = self.values[name]
        replicates = [r for r in self.replicates[name] if not math.isnan(r)]
        if value == 0 and not any(replicates):
            return Interval(value, 0.0, 0.0 if replicates else math.inf)
        found = log_jackknife(value, replicates)
        factor = math.inf if found is None else found.factor(level)
        if math.isinf(factor):
            return Interval(value, 0.0, math.inf)
        return Interval(value, value / factor, value * factor)

    def log_ratio(self, name: str, later: "Moments") -> LogJackknife | None:
        """log(this / later) of a quantity at two cuts that saw the same images, paired by group.

        Positive where it falls from this cut to the later one; None where either is 0.

        Raises:
            BadData: if the two did not see as many images of each class.
        """
        if self.counts != later.counts:
            raise BadData("cuts are compared on the same images: their class counts differ")
        return log_ratio(
            self.values[name], self.replicates[name], later.values[name], later.replicates[name]
        )


def summary(
    count: Int64[Tensor, " k"], scatter: Float64[Tensor, " k"], between: float, features: int
) -> dict[str, float]:
    """Every scalar of `Moments` from counts, scatters and S_B; NaN where undefined."""
    n, present = int(count.sum()), count > 0
    several = count > 1
    k = int(present.sum())
    within = float(scatter.sum()) / n
    total = within + between
    within_unbiased = within * n / (n - k) if n > k else math.nan
    return {
        "radius": float((scatter[several] / count[several]).mean()),
        "radius_unbiased": float((scatter[several] / (count[several] - 1)).mean()),
        "within": within,
        "within_unbiased": within_unbiased,
        "between": between,
        "between_unbiased": max(0.0, between - (k - 1) / n * within_unbiased),
        "total": total,
        "v": within / features,
        "rho": within / total if total > 0 and k > 1 else math.nan,
        "nc1": within / between if between > 0 and k > 1 else math.nan,
        **{
            f"leak({ratio})": _leak(count[present], scatter[present], total, features, ratio)
            for ratio in RATIOS
        },
    }


def _leak(count: Tensor, scatter: Tensor, total: float, features: int, ratio: float) -> float:
    """H(Y) + sum pi_c (D / 2) ln(1 + R_c² / (ratio² S_T)), in nats."""
    if total <= 0:
        return math.nan
    share = count.double() / count.sum()
    rate = features / 2 * torch.log1p(scatter / count / (ratio**2 * total))
    return float((share * (rate - share.log())).sum())
