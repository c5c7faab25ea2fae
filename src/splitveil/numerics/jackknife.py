"""Delete-group jackknife of positive numbers and of their ratios, on the log scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class LogJackknife:
    """The logarithm of a positive number with its delete-group standard error.

    `error` = sqrt((G - 1) / G sum (log theta_(g) - mean)²) over the G groups left out in turn; it
    is infinite with fewer than two groups.
    """

    log: float
    error: float
    groups: int

    @property
    def z(self) -> float:
        """Standard errors between the logarithm and 0; 0 where the error is unknown."""
        if self.error == 0:
            return math.copysign(math.inf, self.log) if self.log else 0.0
        return self.log / self.error

    def factor(self, level: float = 0.95) -> float:
        """The interval at `level` is [value / factor, value factor], Student's t of G - 1."""
        if math.isinf(self.error):
            return math.inf
        wide = float(stats.t.ppf((1 + level) / 2, self.groups - 1)) * self.error
        return math.exp(min(700.0, wide))


def log_jackknife(value: float, replicates: Sequence[float | None]) -> LogJackknife | None:
    """Logarithm and jackknife error of a positive number; None where it has no logarithm.

    `replicates` is the number without each group in turn; None or NaN stands for a group without
    images. The error is infinite where a replicate has no logarithm.
    """
    return log_ratio(value, replicates, 1.0, [1.0] * len(replicates))


def log_ratio(
    top: float,
    top_replicates: Sequence[float | None],
    bottom: float,
    bottom_replicates: Sequence[float | None],
) -> LogJackknife | None:
    """log(top / bottom), paired: the same group is left out of both at once.

    What the two share, such as the same images seen at two cuts, cancels. None where the ratio has
    no logarithm.
    """
    if not (0 < top < math.inf and 0 < bottom < math.inf):
        return None
    pairs = [
        (a, b)
        for a, b in zip(top_replicates, bottom_replicates, strict=False)
        if a is not None and b is not None and not math.isnan(a) and not math.isnan(b)
    ]
    usable = all(0 < a < math.inf and 0 < b < math.inf for a, b in pairs)
    log, groups = math.log(top / bottom), len(pairs)
    if groups < 2 or not usable or len(top_replicates) != len(bottom_replicates):
        return LogJackknife(log, math.inf, groups)
    logs = [math.log(a / b) for a, b in pairs]
    mean = sum(logs) / groups
    spread = sum((x - mean) ** 2 for x in logs)
    return LogJackknife(log, math.sqrt((groups - 1) / groups * spread), groups)
