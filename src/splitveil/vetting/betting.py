"""Capital that grows only if bounded scores exceed what the null grants: an e-process."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from splitveil.errors import BadData, BadPlan

_BOLDEST = 0.9
_PRIOR = 4.0


@dataclass(frozen=True, eq=False)
class Capital:
    """What a gambler who starts with 1 owns after betting that scores exceed `mean`.

        W_t = prod_i (1 + λ_i (s_i - m)),   0 <= λ_i <= 0.9 / m,   scores s in [0, 1]

    λ_i is set from the scores before i alone, so that E[W_t | past] <= W_(t-1) as long as
    E[s_t | past] <= m, however scores depend on each other: a nonnegative supermartingale, for
    which P(sup_t W_t >= 1/α) <= α (Ville 1939). λ is (a - m) / (v + (a - m)²), a and v the mean
    and variance of past scores, later ones weighing more, as 1, 2, 3, ..., and a first score of m
    counting as four (Waudby-Smith & Ramdas 2024, whose aGRAPA weighs all alike). Without evidence
    nothing is staked and W stays exactly 1.

    All streams of a batch at once; make the first with `begin`.
    """

    mean: float
    images: int
    log: Float64[Tensor, "*streams"]
    first: Float64[Tensor, "*streams"]
    second: Float64[Tensor, "*streams"]

    @staticmethod
    def begin(mean: float, streams: tuple[int, ...] = ()) -> "Capital":
        """One each.

        Raises:
            BadPlan: if the null's mean is not inside (0, 1).
        """
        if not 0 < mean < 1:
            raise BadPlan(f"a tolerance on scores lies inside (0, 1), got {mean}")
        nothing = torch.zeros(streams, dtype=torch.float64)
        return Capital(mean, 0, nothing, nothing, nothing)

    def after(
        self, scores: Float64[Tensor, "*streams n"]
    ) -> tuple["Capital", Float64[Tensor, "*streams n"]]:
        """What is owned after `scores`, and the logarithm of what was owned after each of them.

        Raises:
            BadData: if a score lies outside [0, 1].
        """
        if scores.numel() and not bool(((scores >= 0) & (scores <= 1)).all()):
            raise BadData("scores lie in [0, 1]: others were given")
        count = torch.arange(scores.shape[-1] + 1, dtype=torch.float64) + self.images
        weighted = count[1:] * scores
        first = self.first[..., None] + _sums_before(weighted)
        second = self.second[..., None] + _sums_before(weighted * scores)
        total = count * (count + 1) / 2 + _PRIOR
        m = self.mean
        average = (first + _PRIOR * m) / total
        # a yes-or-no score of the null's mean stands in for what has not been seen
        spread = (second + _PRIOR * m) / total - average.square()
        ahead = (average - m).clamp_min(0)
        stake = (ahead / (spread.clamp_min(0) + ahead.square() + 1e-12)).clamp_max(_BOLDEST / m)
        path = self.log[..., None] + torch.log1p(stake[..., :-1] * (scores - m)).cumsum(-1)
        grown = Capital(
            m,
            self.images + scores.shape[-1],
            path[..., -1] if scores.shape[-1] else self.log,
            first[..., -1],
            second[..., -1],
        )
        return grown, path


def mean_of_logs(logs: Float64[Tensor, "kinds n"]) -> Float64[Tensor, " n"]:
    """The logarithm of the mean of capitals, itself an e-process."""
    return logs.logsumexp(0) - math.log(len(logs))


def _sums_before(values: Tensor) -> Tensor:
    """Sums of the values before each place, one place more than there are values."""
    none = torch.zeros((*values.shape[:-1], 1), dtype=values.dtype)
    return torch.cat([none, values.cumsum(-1)], -1)
