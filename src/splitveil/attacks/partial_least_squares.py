"""Partial least squares: regression on the few directions of z that covary most with targets."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.evidence import Evidence, gather
from splitveil.attacks.ridge import Linear
from splitveil.attacks.spectrum import eigenpairs
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.threat import Pairs, QueryFree

_CHUNK = 2048
_POWER = 12
_SETTLED = 1e-6
_BLOCK = 6


@dataclass(frozen=True, eq=False)
class Directions:
    """What `components` directions predict: x̂ = z R Q with R (f, k) and Q (k, d), float64.

    Scores z R are uncorrelated on the data fitted, so that the first j of them with the first j
    rows of Q are the answer with j components.
    """

    weights: Tensor
    loadings: Tensor


@dataclass(frozen=True, kw_only=True)
class PartialLeastSquares(Attack):
    """The linear map from z to the target through the few directions that covary most with it.

    Direction k maximises ‖Xᵀ Z r_k‖ with scores Z r_k uncorrelated to those before, on
    class-centred data; x̂ = x̄_y + (z - z̄_y) R Q, Q = (RᵀZᵀZR)⁻¹RᵀZᵀX. The number of directions
    has the least squared error on a quarter of the auxiliary targets, up to `components`. It beats
    ridge where most of what varies in z has nothing to do with the target, and loses to it where
    the target needs many directions; being linear, it says nothing about other attackers.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: with m the lesser
    of images and features, n f m + m³ operations, and up to 300 m d for each direction.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "Wold 1966; Dayal & MacGregor 1997"

    components: int = 32
    samples: int = 2000

    def __post_init__(self) -> None:
        if self.components < 1:
            raise BadPlan(f"components must be at least 1, got {self.components}")
        if self.samples < 4:
            raise BadPlan(f"samples must be at least 4, got {self.samples}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        found = gather(self, knowledge, rng, limit=self.samples)
        order = torch.randperm(len(found.x), generator=rng.child("held out").torch())
        order = order.to(found.x.device)
        held = max(1, len(order) // 4)
        learnt = directions(*_centred(found.take(order[held:]), found), self.components, rng)
        z, x = _centred(found.take(order[:held]), found)
        scores = z @ learnt.weights
        # one pass over the number of directions: each adds its share to the same prediction
        guess, errors = torch.zeros_like(x), [float(x.square().mean())]
        for score, loading in zip(scores.T, learnt.loadings, strict=True):
            guess = guess.addr(score, loading)
            errors.append(float((guess - x).square().mean()))
        count = errors.index(min(errors))
        whole = directions(*_centred(found, found), count, rng)
        return Linear(
            (whole.weights.float(), whole.loadings.float()),
            found.classes.means(found.x, found.rows),
            found.classes.means(found.z, found.rows),
            found.classes,
            found.layout,
            found.shape,
            penalty=0.0,
        )


def directions(z: Tensor, x: Tensor, components: int, rng: Rng) -> Directions:
    """At most `components` directions from centred z (n, f) and x (n, d), float64.

    Fewer where nothing is left that covaries. Wide data are first turned onto their n principal
    axes, which changes no direction: partial least squares knows z by its inner products alone.
    """
    basis = None
    if len(z) < z.shape[1]:
        values, vectors = eigenpairs(z @ z.T)
        kept = values > values[-1].clamp(min=1e-200) * 1e-12
        root = values[kept].sqrt()
        basis = z.T @ (vectors[:, kept] / root)
        z = vectors[:, kept] * root
    gram, cross = z.T @ z, z.T @ x
    found = _deflated(gram, cross, min(components, len(gram)), rng)
    return found if basis is None else Directions(basis @ found.weights, found.loadings)


def _deflated(gram: Tensor, cross: Tensor, components: int, rng: Rng) -> Directions:
    """Dayal and MacGregor's second kernel algorithm: only the cross-product is deflated."""
    rotations: list[Tensor] = []
    loads: list[Tensor] = []
    answers: list[Tensor] = []
    size = float(cross.square().sum())
    block = torch.randn(cross.shape[1], _BLOCK, generator=rng.torch(), dtype=torch.float64)
    block = torch.linalg.qr(block.to(cross.device)).Q
    for _ in range(components):
        if float(cross.square().sum()) <= 1e-20 * size or size == 0:
            break
        weight, block = _leading(cross, block)
        rotation = weight
        if loads:
            before = torch.stack(loads) @ weight
            rotation = weight - torch.stack(rotations, 1) @ before
        turned = gram @ rotation
        energy = rotation @ turned
        if float(energy) <= 1e-14 * float(gram.diagonal().max()):
            break
        load, answer = turned / energy, rotation @ cross / energy
        cross = cross - energy * torch.outer(load, answer)
        rotations.append(rotation)
        loads.append(load)
        answers.append(answer)
    if not rotations:
        return Directions(gram.new_zeros(len(gram), 0), gram.new_zeros(0, cross.shape[1]))
    return Directions(torch.stack(rotations, 1), torch.stack(answers))


def _leading(cross: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
    """The left singular vector (m,) of the largest singular value, and the block to go on from.

    Subspace iteration from an orthonormal block (d, b) of right vectors: what follows the leading
    vector comes along, and is the next direction's first guess.
    """
    left = cross.new_zeros(len(cross))
    for _ in range(_POWER):
        u, _, v = torch.linalg.svd(cross @ block, full_matrices=False)
        block, again = block @ v.T, u[:, 0]
        moved = float((again - left * (1 if float(again @ left) >= 0 else -1)).norm())
        left = again
        if moved < _SETTLED:
            break
        block = torch.linalg.qr(cross.T @ u).Q
    return left, block


def _centred(part: Evidence, whole: Evidence) -> tuple[Tensor, Tensor]:
    """Features and targets of `part` about the class means of `whole`, float64."""
    z_mean = whole.classes.means(whole.z, whole.rows)
    x_mean = whole.classes.means(whole.x, whole.rows)
    z = torch.cat(
        [
            (z - z_mean[r]).double()
            for z, r in zip(part.z.split(_CHUNK), part.rows.split(_CHUNK), strict=True)
        ]
    )
    return z, (part.x - x_mean[part.rows]).double()
