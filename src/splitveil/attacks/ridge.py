"""Full ridge regression from everything sent to the target."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence, gather, in_shape, observed
from splitveil.attacks.second_moments import SecondMoments
from splitveil.attacks.spectrum import Spectrum, eigenpairs
from splitveil.attacks.streaming import Stream, streamed
from splitveil.errors import BadPlan
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs, QueryFree

_CHUNK = 2048
_PENALTIES = 56
_FEW, _VALUES = 64, 2**22  # rows, or feature values, that are centred together
_KEPT = 2**26  # feature values held in memory; more are streamed


@dataclass(frozen=True, eq=False)
class Linear(Reconstructor):
    """x̂ = x_mean[row] + (z - z_mean[row]) W, with W the product of `factors`."""

    factors: tuple[Tensor, ...]
    x_mean: Tensor
    z_mean: Tensor
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]
    penalty: float

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z, rows = observed(observation, self.layout, self.classes, self.x_mean.device)
        return in_shape(self.predict(z, rows), self.shape)

    def predict(self, z: Tensor, rows: Tensor) -> Tensor:
        """Map z (n, f) and label rows (n,) to targets (n, d), not clamped."""
        step = max(_FEW, _VALUES // max(1, z.shape[1]))
        parts = []
        for part, own in zip(z.split(step), rows.split(step), strict=True):
            moved = part - self.z_mean[own]
            for factor in self.factors:
                moved = moved @ factor
            parts.append(self.x_mean[own] + moved)
        return torch.cat(parts)


@dataclass(frozen=True, kw_only=True)
class Ridge(Attack):
    """The linear map from z to the target with the least penalised squared error.

    x̂ = x̄_y + (z - z̄_y) W, W = (ZᵀZ + λI)⁻¹ZᵀX on class-centred data (Z, X); without labels both
    are centred on the overall mean. Class-centring equals giving every class an unpenalised
    intercept. λ minimises generalised cross-validation over a log grid, from one
    eigendecomposition in float64. The best linear attack on jointly Gaussian (X, Z), where it
    tends to the least possible error as n grows; it says nothing about non-linear attackers.

    Knowledge: pairs, or one query an auxiliary image. Cost: with n images, f features and d
    target values, the primal form (f <= n) takes n f² + f³, the dual n² f + n³ operations and
    8 min(n, f)² bytes. Where f > `samples`, at most `samples` images are used. Beyond 2^26 feature
    values the primal form streams: features are summed up batch by batch and never held.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "Hoerl & Kennard 1970; Golub, Heath & Wahba 1979"

    samples: int = 4000

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise BadPlan(f"samples must be at least 2, got {self.samples}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        # the primal form costs memory by features, not by images
        size, n = knowledge.layout.size, len(knowledge.auxiliary.x)
        if size <= min(self.samples, n) and n * size > _KEPT:
            return solve_streamed(streamed(self, knowledge, rng))
        return solve(
            gather(self, knowledge, rng, limit=None if size <= self.samples else self.samples)
        )[0]


def solve(found: Evidence) -> tuple[Linear, Tensor]:
    """Ridge on class-centred evidence, in whichever form is the smaller, and leverages (n,).

    The leverage h_i is the weight of target i in its own reconstruction, class mean included, so
    that x_i - (x_i - x̂_i) / (1 - h_i) is what would be answered had i been left out.
    """
    x_mean = found.classes.means(found.x, found.rows)
    z_mean = found.classes.means(found.z, found.rows)
    x = found.x - x_mean[found.rows]
    freedom = float(len(x) - max(1, len(found.classes.seen)))
    dual = len(x) < found.z.shape[1]
    solution = (_dual if dual else _primal)(found, x, z_mean, freedom)
    own = 1 / torch.bincount(found.rows).clamp(min=1).double()[found.rows]
    fitted = Linear(
        solution.factors,
        x_mean,
        z_mean,
        found.classes,
        found.layout,
        found.shape,
        solution.penalty,
    )
    return fitted, (solution.leverage + own).clamp(max=1).float()


def solve_streamed(stream: Stream) -> Linear:
    """The primal form of `solve` from one pass over batches of features, in float64 sums."""
    moments = SecondMoments(len(stream.classes.seen) + 1)
    for z, x, rows in stream.batches:
        moments.update(z, x, rows)
    freedom = float(moments.count - max(1, len(stream.classes.seen)))
    gram, cross, total = moments.within()
    path = _path(gram, cross, total, freedom)
    z_mean, x_mean = moments.means()
    return Linear(
        (path.weight(),),
        x_mean,
        z_mean,
        stream.classes,
        stream.layout,
        stream.shape,
        path.penalty,
    )


@dataclass(frozen=True, eq=False)
class _Solution:
    """Weights as a product of factors, their penalty, and each row's leverage (n,)."""

    factors: tuple[Tensor, ...]
    penalty: float
    leverage: Tensor


def _primal(found: Evidence, x: Tensor, z_mean: Tensor, freedom: float) -> _Solution:
    size = found.z.shape[1]
    gram = torch.zeros(size, size, dtype=torch.float64, device=x.device)
    cross = torch.zeros(size, x.shape[1], dtype=torch.float64, device=x.device)
    batches = list(zip(found.z.split(_CHUNK), found.rows.split(_CHUNK), strict=True))
    for (z, rows), targets in zip(batches, x.split(_CHUNK), strict=True):
        centred = (z - z_mean[rows]).double()
        gram.addmm_(centred.T, centred)
        cross.addmm_(centred.T, targets.double())
    path = _path(gram, cross, float(x.double().square().sum()), freedom)
    shrunk = 1 / (path.values + path.penalty)
    leverage = [
        ((z - z_mean[rows]).double() @ path.vectors).square() @ shrunk for z, rows in batches
    ]
    return _Solution((path.weight(),), path.penalty, torch.cat(leverage))


@dataclass(frozen=True, eq=False)
class _Path:
    """The primal problem in its eigenbasis, and the penalty chosen."""

    values: Tensor
    vectors: Tensor
    turned: Tensor
    penalty: float

    def weight(self) -> Tensor:
        """(ZᵀZ + λI)⁻¹ZᵀX, float32."""
        return (self.vectors @ (self.turned / (self.values + self.penalty)[:, None])).float()


def _path(gram: Tensor, cross: Tensor, total: float, freedom: float) -> _Path:
    values, vectors = eigenpairs(gram)
    values = values.clamp(min=0)
    turned = vectors.T @ cross
    seen = values > values.max() * 1e-14
    energy = torch.where(seen, turned.square().sum(1) / values.where(seen, 1), 0.0)
    penalty = Spectrum(values, energy, total, freedom).best_penalty(_PENALTIES)
    return _Path(values, vectors, turned, penalty)


def _dual(found: Evidence, x: Tensor, z_mean: Tensor, freedom: float) -> _Solution:
    n, size = found.z.shape
    chunks = list(zip(found.z.split(_CHUNK, 1), z_mean.split(_CHUNK, 1), strict=True))
    values, vectors = eigenpairs(_kernel(chunks, found.rows))
    values = values.clamp(min=0)
    turned = vectors.T @ x.double()
    energy = turned.square().sum(1)
    penalty = Spectrum(values, energy, float(energy.sum()), freedom).best_penalty(_PENALTIES)
    shrunk = 1 / (values + penalty)
    weights = (vectors @ (turned * shrunk[:, None])).float()
    leverage = vectors.square() @ (values * shrunk)
    if size * x.shape[1] > n * (size + x.shape[1]):
        whole = found.z.new_empty(size, n)
        for out, (z, mean) in zip(whole.split(_CHUNK), chunks, strict=True):
            out.copy_((z - mean[found.rows]).T)
        return _Solution((whole, weights), penalty, leverage)
    factor = found.z.new_empty(size, x.shape[1])
    for out, (z, mean) in zip(factor.split(_CHUNK), chunks, strict=True):
        torch.matmul((z - mean[found.rows]).T, weights, out=out)
    return _Solution((factor,), penalty, leverage)


def _kernel(chunks: list[tuple[Tensor, Tensor]], rows: Tensor) -> Tensor:
    """Inner products (n, n), float64, of features less the means of their rows."""
    kernel = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for z, mean in chunks:
        centred = (z - mean[rows]).double()
        kernel.addmm_(centred, centred.T)
    return kernel
