"""A critic of pairs, trained on some and asked about others."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor, nn

from splitveil.errors import BadPlan
from splitveil.measures.checks import OtherFeatures
from splitveil.measures.proxies.pairs import shuffled_pairs
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.training.loop import Epoch, Schedule, fit

Estimate: TypeAlias = Callable[[Tensor], Tensor]

_LEAST = 400
_TRAINED, _CHOSEN = 0.5, 0.1
_BLOCKS = 8
_RANK = 32


@dataclass(frozen=True, kw_only=True)
class CriticTraining:
    """How a critic is trained: `epochs` over half of the pairs in batches of `batch`."""

    epochs: int = 25
    batch: int = 128
    learning_rate: float = 3e-3
    width: int = 64

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.width < 1 or not self.learning_rate > 0:
            raise BadPlan(f"a critic needs epochs, pairs in a batch, width and a rate: {self}")


def tower(values: int, width: int, out: int) -> nn.Sequential:
    """A small network on vectors."""
    return nn.Sequential(
        nn.Linear(values, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        nn.Linear(width, out),
    )


def silence(network: nn.Sequential, outputs: slice) -> None:
    """Make some outputs start at 0."""
    last = network[-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter[outputs] = 0


class Critic(nn.Module):
    """T(x, z) = <g(x), h(z)> + a(x) + c(z) for all pairs of a batch at once; 0 at the start."""

    def __init__(self, values: int, features: int, width: int) -> None:
        nn.Module.__init__(self)
        self.left = tower(values, width, 1 + _RANK)
        self.right = tower(features, width, 1 + _RANK)
        silence(self.left, slice(None))
        silence(self.right, slice(1))

    def forward(self, x: Float[Tensor, "b d"], z: Float[Tensor, "b2 f"]) -> Tensor:
        """Scores of every x (rows) with every z (columns)."""
        g, h = self.left(x), self.right(z)
        return g[:, 1:] @ h[:, 1:].T / _RANK**0.5 + g[:, :1] + h[:, :1].T


def standardised(values: Tensor, trained: int) -> Tensor:
    """Columns centred and scaled by the first `trained` rows; constant columns become 0."""
    some = values[:trained]
    spread = some.std(0)
    scale = torch.where(spread > 1e-12 * spread.amax().clamp_min(1e-300), 1 / spread, 0.0)
    return ((values - some.mean(0)) * scale).float()


def held_out(
    x: Targets,
    features: OtherFeatures,
    network: Callable[[int, int], nn.Module],
    loss: Estimate,
    estimate: Estimate,
    rng: Rng,
    *,
    training: CriticTraining,
    note: str,
) -> Quantity:
    """Train `network` to minimise `loss` of its pairwise scores, then `estimate` on unseen pairs.

    Half of the pairs train, a tenth choose the epoch (the untrained network is one of them), and
    the rest make 8 blocks, each scored against itself; the interval is a t interval over blocks. A
    value on the training pairs could exceed the truth at will.

    Raises:
        BadData: if counts differ, there are fewer than 400 images, or values are not finite.
    """
    first, second = shuffled_pairs(x, features, rng, least=_LEAST, most=len(x))
    trained, unseen = (int(share * len(first)) for share in (_TRAINED, _TRAINED + _CHOSEN))
    a, b = standardised(first, trained), standardised(second, trained)
    with rng.child("weights").as_global():
        module = network(a.shape[1], b.shape[1])

    def scored(start: int, end: int) -> Tensor:
        with torch.no_grad():
            return module(a[start:end], b[start:end]).double()

    kept = deepcopy(module.state_dict())
    least = float(loss(scored(trained, unseen)))

    def choose(_: Epoch) -> None:
        nonlocal kept, least
        reached = float(loss(scored(trained, unseen)))
        if reached < least:
            kept, least = deepcopy(module.state_dict()), reached

    fit(
        module,
        lambda net, index, _: loss(net(a[index], b[index])),
        size=trained,
        schedule=Schedule(
            epochs=training.epochs, batch=training.batch, learning_rate=training.learning_rate
        ),
        rng=rng.child("training"),
        on_epoch=choose,
    )
    module.load_state_dict(kept)
    block = (len(a) - unseen) // _BLOCKS
    starts = range(unseen, unseen + _BLOCKS * block, block)
    found = torch.stack([estimate(scored(start, start + block)) for start in starts])
    value = float(found.mean())
    reach = float(stats.t.ppf(0.975, _BLOCKS - 1) * found.std()) / _BLOCKS**0.5
    return Quantity(
        value=value,
        low=value - reach,
        high=value + reach,
        unit="nat per image",
        kind=Kind.PROXY,
        n=_BLOCKS * block,
        assumptions=(
            note,
            "a critic's estimate: another critic, or more training, gives another value",
            f"trained on {trained} pairs, asked about {_BLOCKS} blocks of {block} others",
        ),
    )


def off_diagonal(scores: Float[Tensor, "b b"]) -> Float[Tensor, " p"]:
    """Scores of pairs that do not belong together."""
    return scores[~torch.eye(len(scores), dtype=torch.bool)]
