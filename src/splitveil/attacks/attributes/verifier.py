"""Are two things that were sent of the same person? And who is it, in a gallery?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from splitveil.attacks.attributes.base import Examples
from splitveil.attacks.base import Adversary
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import observed
from splitveil.attacks.spectrum import eigenpairs
from splitveil.errors import BadInput, BadPlan
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Features, Labels, PerImage
from splitveil.threat import Observation, Pairs, QueryFree


@dataclass(frozen=True, eq=False)
class SamePerson:
    """Maps what was sent to unit vectors that lie close for one person, (f, m) with `centre`."""

    centre: Tensor
    projection: Tensor
    layout: Layout

    def embed(self, observation: Observation) -> Features:
        """A unit vector (n, m) for each target; rank a gallery by it with `measures.retrieval`."""
        nobody = Classes(torch.empty(0, dtype=torch.int64, device=self.centre.device))
        z, _ = observed(observation, self.layout, nobody, self.centre.device)
        return normalize((z - self.centre) @ self.projection, dim=1)

    def __call__(self, first: Observation, second: Observation) -> PerImage:
        """Cosine similarity of the i-th of both, (n,): higher for one person.

        Raises:
            BadInput: if there are not as many of each, or z does not fit the layout.
        """
        if len(first.z) != len(second.z):
            raise BadInput(
                f"pairs need as many of each side, got {len(first.z)} and {len(second.z)}"
            )
        return (self.embed(first) * self.embed(second)).sum(1)


@dataclass(frozen=True, kw_only=True)
class Verifier(Adversary):
    """Components of z in which persons differ more than their pictures do, compared by cosine.

    On the first `components` principal directions of z, W = (S_w + γ t I)^(-1/2) whitens what
    changes from picture to picture of one person: S_w is the mean covariance within a person, t the
    mean of its diagonal, γ the `shrinkage`. Along the eigenvectors of the covariance of the
    persons' means in those units, less what a mean of few pictures scatters by chance, with
    eigenvalues ψ, coordinates are weighed by sqrt(ψ / (2ψ + 1)): their inner product is then the
    part of the log-likelihood ratio of one person against two that both pictures share, were all
    Gaussian. Persons among the auxiliary images need not be those to be recognised.

    Scores go to `measures.verification`; for identity retrieval, embed the queries and a gallery
    with one item a person and hand both to `measures.retrieval`.

    Two pictures are linked by whatever they share, also by a background: pair people within one
    session to exclude that. Knowledge: pairs, or one query an auxiliary image, at most `samples`.
    Cost: an eigenproblem of the smaller of images and features.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "probabilistic linear discriminant analysis, Ioffe 2006"

    components: int = 64
    shrinkage: float = 0.01
    samples: int = 4000

    def __post_init__(self) -> None:
        if self.components < 1 or self.samples < 2 or not 0 < self.shrinkage <= 1:
            raise BadPlan(
                f"components must be at least 1, samples 2, and shrinkage in (0, 1]: {self}"
            )

    def fit(self, knowledge: QueryFree, identity: Labels, rng: Rng) -> SamePerson:
        """Learn from auxiliary images of known persons, at least two of one of them.

        Raises:
            KnowledgeMissing: if `knowledge` is weaker than pairs.
            BudgetExceeded: if the query budget allows fewer than two images.
            BadInput: if there is no identity for each auxiliary image, or no person has two.
        """
        examples = Examples.of(self, knowledge, identity, rng, limit=self.samples)
        counts = torch.bincount(examples.places)
        spare = int((counts - 1).clamp(min=0).sum())
        if not spare:
            raise BadInput(
                "no person has two auxiliary images: give the attacker several of at least one"
            )
        z = examples.found.z.double()
        centre = z.mean(0)
        moved = z - centre
        basis = _principal(moved, min(self.components, len(z) - 1, z.shape[1]))
        low = moved @ basis
        sums = low.new_zeros(len(counts), low.shape[1]).index_add_(0, examples.places, low)
        within = low - (sums / counts[:, None])[examples.places]
        scatter = within.T @ within / spare
        load = self.shrinkage * float(scatter.diagonal().mean())
        values, vectors = eigenpairs(scatter)
        white = vectors / (values.clamp(min=0) + max(load, 1e-12)).sqrt()
        means = (sums / counts[:, None]) @ white
        chance = (white.T @ scatter @ white) * float((1 / counts).mean())
        apart, turn = eigenpairs(means.T @ means / len(means) - chance)
        psi = apart.clamp(min=0)
        projection = basis @ white @ turn * (psi / (2 * psi + 1)).sqrt()
        return SamePerson(centre.float(), projection.float(), examples.found.layout)


def _principal(moved: Float[Tensor, "n f"], count: int) -> Float[Tensor, "f m"]:
    """The first principal directions of centred rows, from the smaller Gram matrix."""
    n, size = moved.shape
    if size <= n:
        return eigenpairs(moved.T @ moved)[1][:, -count:]
    values, vectors = eigenpairs(moved @ moved.T)
    seen = values[-count:].clamp(min=1e-30).sqrt()
    return moved.T @ vectors[:, -count:] / seen
