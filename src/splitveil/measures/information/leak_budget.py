"""How many bits of each input value features can tell through a stated observation noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from splitveil.errors import BadData, BadPlan
from splitveil.estimators import Moments
from splitveil.estimators.log_det import Spectrum, trace_information
from splitveil.quantities import Direction, Kind, Quantity

_NOISE = "the noise is stated for comparison: nothing in the release adds it"
_DIFFERENCE = "only differences between cuts under one noise mean something"
_LEAST_NOISES = 3


@dataclass(frozen=True, kw_only=True)
class LeakBudget:
    """The most that features tell of an input when seen through noise of deviation `noise`.

    `overall` from the total scatter, `by_class` from the scatter within classes and the entropy of
    the labels (None without labels); the truth for this source lies below the smaller. Unit: bit
    per input value.
    """

    noise: float
    overall: Quantity
    by_class: Quantity | None

    @property
    def least(self) -> Quantity:
        """The smaller of the two."""
        if self.by_class is None or self.overall.value <= self.by_class.value:
            return self.overall
        return self.by_class


def leak_budget(
    moments: Moments,
    noises: Sequence[float],
    *,
    values: int,
    scale: Literal["rms", "absolute"] = "rms",
) -> tuple[LeakBudget, ...]:
    """Leak budgets of one cut from its streaming moments, one for each observation noise.

        overall  = (D / 2) log(1 + S_T / (D s²)) / (n log 2)
        by_class = [H(Y) + sum p_c (D / 2) log(1 + R_c² / (D s²))] / (n log 2)

    They bound I(X; Z + s E) for the law of these features: the Gaussian has the most entropy, and
    an even spectrum the largest determinant. Both are loose where features are correlated; see
    `spectral_leak_budget` and `log_det_bound`. Which cut comes out ahead may depend on the noise,
    so at least three are asked for.

    Args:
        moments: of the clean features of the cut.
        noises: standard deviations s.
        values: number n of input values.
        scale: "rms" counts noise in root mean squares of the features about their mean, per value,
            which makes it free of their scale; "absolute" in feature units.

    Returns:
        One budget a noise. Unit: bit per input value. Kind: model, upper; the interval is that of
        the moments, by jackknife, with all class radii moved together, and of the labels' shares.
        Its upper end starts from scatters free of bias, as those of few images are too small.

    Raises:
        BadPlan: if there are fewer than three different noises, one is not positive, or there are
            no input values.
        BadData: if the features do not vary.
    """
    _check(noises, values)
    total = moments.interval("total")
    if not total.value > 0:
        raise BadData("features do not vary between images: they tell nothing at any noise")
    unit = math.sqrt(total.value / moments.features) if scale == "rms" else 1.0
    found = []
    for noise in noises:
        s = noise * unit
        overall = [
            trace_information(t, moments.features, s) if t < math.inf else math.inf
            for t in (total.value, total.low, total.high * moments.n / max(1, moments.n - 1))
        ]
        found.append(
            LeakBudget(
                noise=s,
                overall=_bits(overall, values, moments.n, ()),
                by_class=_by_class(moments, s, values) if moments.labelled else None,
            )
        )
    return tuple(found)


def spectral_leak_budget(
    overall: Spectrum,
    within: Sequence[Spectrum],
    counts: Sequence[int],
    noises: Sequence[float],
    *,
    values: int,
) -> tuple[LeakBudget, ...]:
    """Leak budgets from eigenvalues: ½ logdet(I + S / s²) in place of its trace form.

        overall  = ½ logdet(I + S_T / s²) / (n log 2)
        by_class = [H(Y) + sum p_c ½ logdet(I + S_c / s²)] / (n log 2)

    Never above the trace form. Sample eigenvalues are biased towards too small a budget where a
    class has not far more images than features: shrink them (`oas_spectrum`) or take them in
    directions from other images (`ladder_spectrum`).

    Args:
        overall: spectrum of the covariance of all features.
        within: spectrum of each class's covariance, or none without labels.
        counts: images of each class.
        noises: standard deviations s, feature units.
        values: number n of input values.

    Returns:
        One budget a noise. Unit: bit per input value. Kind: model, upper.

    Raises:
        BadPlan: as `leak_budget`.
        BadData: if counts do not fit the classes.
    """
    _check(noises, values)
    if len(within) != len(counts) or min(counts, default=1) < 1:
        raise BadData(
            f"{len(within)} spectra, counts {tuple(counts)}: give one of each a class, and leave "
            "out classes without images"
        )
    biased = ("sample eigenvalues understate the budget where images are not many",)
    found = []
    for noise in noises:
        by_class = None
        if within:
            n = sum(counts)
            told = sum(
                count / n * w.information(noise) for w, count in zip(within, counts, strict=True)
            )
            by_class = _bits([_label_entropy(counts) + told] * 3, values, n, biased)
        whole = _bits([overall.information(noise)] * 3, values, sum(counts), biased)
        found.append(LeakBudget(noise=noise, overall=whole, by_class=by_class))
    return tuple(found)


def _by_class(moments: Moments, noise: float, values: int) -> Quantity:
    within = moments.interval("within")
    down = within.low / within.value if within.value > 0 else 1.0
    up = within.high / within.value if within.value > 0 else 1.0
    shares = [c / moments.n for c in moments.counts if c]
    plain = [r for c, r in zip(moments.counts, moments.class_radii, strict=True) if c]

    def told(radii: Sequence[float]) -> float:
        if not all(r < math.inf for r in radii):
            return math.inf
        return sum(
            p * trace_information(r, moments.features, noise)
            for p, r in zip(shares, radii, strict=True)
        )

    entropy = _label_entropy([c for c in moments.counts if c])
    reach, bias = _label_reach(shares, moments.n)
    nats = (
        entropy + told(plain),
        max(0.0, entropy - reach) + told([down * r for r in plain]),
        entropy + reach + bias + told([up * r for r in _unbiased(moments)]),
    )
    return _bits(nats, values, moments.n, ("classes are those of the labels given",))


def _unbiased(moments: Moments) -> list[float]:
    """Class radii free of bias; classes of one image take that of all, infinite if there is none.

    Where nothing varies within any class, all are 0.
    """
    pooled = moments.values["within_unbiased"]
    pooled = math.inf if math.isnan(pooled) else pooled
    pairs = zip(moments.counts, moments.unbiased_class_radii, strict=True)
    return [r if c > 1 else pooled for c, r in pairs if c]


def _label_reach(shares: Sequence[float], n: int) -> tuple[float, float]:
    """Two standard errors of the labels' entropy and its bias, nats (Miller)."""
    logs = [math.log(p) for p in shares]
    mean = sum(p * x for p, x in zip(shares, logs, strict=True))
    spread = sum(p * (x - mean) ** 2 for p, x in zip(shares, logs, strict=True))
    return 2 * math.sqrt(spread / n), (len(shares) - 1) / (2 * n)


def _label_entropy(counts: Sequence[int]) -> float:
    """Entropy of the labels' shares, nats; below the true one by about (K - 1) / (2 n)."""
    n = sum(counts)
    return -sum(c / n * math.log(c / n) for c in counts)


def _bits(nats: Sequence[float], values: int, n: int, notes: tuple[str, ...]) -> Quantity:
    value, low, high = (x / (values * math.log(2)) for x in nats)
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit="bit per input value",
        kind=Kind.MODEL,
        n=n,
        direction=Direction.UPPER,
        assumptions=(_NOISE, _DIFFERENCE, *notes),
    )


def _check(noises: Sequence[float], values: int) -> None:
    if len(set(noises)) < _LEAST_NOISES or not all(0 < s < math.inf for s in noises):
        raise BadPlan(
            f"give at least {_LEAST_NOISES} different positive observation noises, got "
            f"{tuple(noises)}: which cut leaks less may depend on the noise"
        )
    if values < 1:
        raise BadPlan(f"a budget per input value needs at least 1 of them, got {values}")
