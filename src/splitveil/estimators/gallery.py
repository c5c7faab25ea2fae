"""The posterior over a gallery, block by block: memory of a block, whatever its size."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GalleryState:
    """What the blocks seen so far say of each hidden item, one value a row.

    `variance` sum w_i |x_i - x̄|² / d, squared units of x per value; `entropy` H(w) in nats;
    `largest` max w_i and `own` the weight of the true item, both shares.
    """

    variance: Float64[Tensor, " q"]
    entropy: Float64[Tensor, " q"]
    largest: Float64[Tensor, " q"]
    own: Float64[Tensor, " q"]


class GalleryPosterior:
    """Running sums of w_i ~ exp(score_i) over a gallery that arrives in blocks.

    Sums are kept relative to the largest score so far, and positions relative to each row's true
    item, whose own term is then exactly 0: a posterior that is nearly one-hot on the truth loses
    no digits. Rows are draws, `hidden` (q, d) their true items.
    """

    def __init__(self, hidden: Float[Tensor, "q d"]) -> None:
        self._centre = hidden.double().mean(0)
        self._hidden = hidden.double() - self._centre
        rows = len(hidden)
        self._peak = torch.full((rows,), -math.inf, dtype=torch.float64)
        self._own = torch.full_like(self._peak, -math.inf)
        self._mass = torch.zeros_like(self._peak)
        self._surprise = torch.zeros_like(self._peak)
        self._others = torch.zeros_like(self._peak)
        self._first = torch.zeros_like(self._hidden)
        self._second = torch.zeros_like(self._peak)

    def update(
        self,
        scores: Float64[Tensor, "q b"],
        x: Float[Tensor, "b d"],
        own: Int64[Tensor, " q"] | None = None,
    ) -> None:
        """Take in a block: log p(z_q | x_b) up to a constant of the row, and its items.

        `own` gives the position of each row's true item, in the first block and only there.
        """
        peak = torch.maximum(self._peak, scores.amax(1))
        fade = torch.exp(self._peak - peak)
        weights = torch.exp(scores - peak[:, None])
        drop = torch.where(fade > 0, self._peak - peak, 0.0)
        self._surprise = fade * (self._surprise + drop * self._mass)
        self._surprise -= torch.special.entr(weights).sum(1)
        self._mass = fade * self._mass + weights.sum(1)
        if own is not None:
            rows = torch.arange(len(scores))
            self._own = scores[rows, own]
            weights[rows, own] = 0
        centred = x.double() - self._centre
        self._others = fade * self._others + weights.sum(1)
        self._first = fade[:, None] * self._first + weights @ centred
        self._second = fade * self._second + weights @ centred.square().sum(1)
        self._peak = peak

    def state(self) -> GalleryState:
        """The posterior over everything seen so far."""
        first = (self._first - self._others[:, None] * self._hidden) / self._mass[:, None]
        second = (
            self._second
            - 2 * (self._hidden * self._first).sum(1)
            + self._others * self._hidden.square().sum(1)
        ) / self._mass
        spread = (second - first.square().sum(1)).clamp_min(0)
        return GalleryState(
            variance=spread / self._hidden.shape[1],
            entropy=(self._mass.log() - self._surprise / self._mass).clamp_min(0),
            largest=1 / self._mass,
            own=torch.exp(self._own - self._peak) / self._mass,
        )
