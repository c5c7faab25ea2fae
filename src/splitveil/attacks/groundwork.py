"""What every trained inverse of one cut starts from, done once however many are trained."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitveil.attacks.base import Adversary, Reconstructor
from splitveil.attacks.evidence import (
    Evidence,
    affordable,
    chosen,
    encode,
    gather,
    part_of,
    released,
    targets,
    transmitted,
)
from splitveil.attacks.guesses import Guesses, Middle
from splitveil.attacks.ridge import Linear
from splitveil.attacks.standard import Standard
from splitveil.errors import BadInput, KnowledgeMissing
from splitveil.release.base import Release
from splitveil.rng import Rng
from splitveil.shapes import Features
from splitveil.threat import BlackBox, Pairs, QueryFree, WhiteBox

FEWEST = 12
STARTS = ("mean", "ridges")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Which groundwork: at most `samples` images, mirrored ones beside them, what to start from."""

    samples: int
    flips: bool
    start: str


@dataclass(frozen=True, eq=False)
class Noise:
    """A random release, what it is given, and how much leaving a target out moves its guesses."""

    release: Release
    clean: Tensor
    left_out: Tensor


@dataclass(frozen=True, eq=False)
class Groundwork:
    """Auxiliary targets of a cut, their features, and a first guess of each as if left out.

    `found` holds one row for each view of a target: all as they are, then, where asked, all
    mirrored. `places` (views, n) says which rows are views of one target. `guessed` (rows,
    guesses, d) is made from `found.z`; for mirrored rows nothing is left out. `noise` is None
    unless the attacker holds a random release.
    """

    found: Evidence
    places: Tensor
    guesses: Guesses
    guessed: Tensor
    standard: Standard
    noise: Noise | None = None

    @staticmethod
    def lay(
        attack: Adversary,
        knowledge: QueryFree,
        ground: Ground,
        rng: Rng,
        *,
        encoded: tuple[Features, ...] = (),
    ) -> "Groundwork":
        """Gather the evidence, fit the ridges to it, and guess every target without itself.

        Mirrored images are encoded anew, which takes a black-box attacker a second query an image;
        one that owns pairs only cannot, and goes without.

        Args:
            attack: in whose name knowledge is asked for.
            knowledge: of the attacker.
            ground: settings.
            rng: stream of the choice of images, of noise and of folds.
            encoded: what the head gave for all auxiliary images, and for all of them mirrored,
                where that is known already.

        Raises:
            KnowledgeMissing: if `knowledge` is weaker than the attack requires.
            BudgetExceeded: if the query budget allows fewer than two images.
            BadInput: if there are fewer than twelve targets, they are no images but should be
                mirrored, or `gather` refuses them.
        """
        knowledge, encoded = _narrowed(attack, knowledge, ground, rng, encoded)
        found = gather(attack, knowledge, rng, encoded=encoded[0] if encoded else None)
        standard = Standard.of(found)
        guesses, guessed = (
            Guesses.middle(found)
            if ground.start == "mean"
            else Guesses.learn(found, rng.child("guesses"))
        )
        places = torch.arange(len(found.x))[None]
        laid = Groundwork(found, places, guesses, guessed, standard)
        if ground.flips and isinstance(knowledge, BlackBox):
            laid = laid._mirrored(knowledge, rng, encoded[1:])
        return laid._renewable(knowledge, encoded)

    @property
    def inversions(self) -> dict[str, Reconstructor]:
        """The ridges fitted on the way, by the attack each is: ready to attack with."""
        return {
            "Ridge" if isinstance(one, Linear) else "PatchRidge": one
            for one in self.guesses.fitted
            if not isinstance(one, Middle)
        }

    @property
    def scale(self) -> float:
        """Root mean squared error of the first guess: the unit of corrections, never 0."""
        error = float((self.guessed[:, 0] - self.found.x).square().mean())
        return max(error**0.5, 1e-6)

    def draw(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features (m, f) and guesses (m, g, d) of some rows, with fresh noise if there is any."""
        if self.noise is None:
            return self.found.z[rows], self.guessed[rows]
        with torch.no_grad():
            z = self.noise.release(self.noise.clean[rows], generator).float()
            return z, self.guesses(z, self.found.rows[rows]) + self.noise.left_out[rows]

    def _mirrored(
        self, knowledge: BlackBox, rng: Rng, encoded: tuple[Features, ...]
    ) -> "Groundwork":
        found, noise = self.found, rng.child("mirrored")
        x = found.x.unflatten(1, found.shape).flip(-1)
        z = released(knowledge, encoded[0], noise) if encoded else transmitted(knowledge, x, noise)
        z = z.detach().float()
        both = replace(
            found,
            x=torch.cat([found.x, x.flatten(1)]),
            rows=found.rows.repeat(2),
            z=torch.cat([found.z, z]),
        )
        guessed = torch.cat([self.guessed, self.guesses(z, found.rows)])
        places = torch.arange(len(both.x)).unflatten(0, (2, -1))
        return replace(self, found=both, guessed=guessed, places=places)

    def _renewable(self, knowledge: QueryFree, encoded: tuple[Features, ...]) -> "Groundwork":
        """Ready to draw noise anew, where a random release is held."""
        if not isinstance(knowledge, WhiteBox) or not knowledge.knows_defence:
            return self
        release, found = knowledge.release, self.found
        two = [release(found.z[:2], Rng(i).torch()) for i in range(2)]
        if torch.equal(*two):
            return self
        left_out = self.guessed - self.guesses(found.z, found.rows)
        return replace(self, noise=Noise(release, torch.cat(encoded), left_out))


def _narrowed(
    attack: Adversary,
    knowledge: QueryFree,
    ground: Ground,
    rng: Rng,
    encoded: tuple[Features, ...],
) -> tuple[QueryFree, tuple[Features, ...]]:
    """Knowledge with the auxiliary targets that will be used, and what the head gives for them."""
    found = targets(attack, knowledge)
    if not isinstance(knowledge, Pairs):
        raise KnowledgeMissing(f"{type(knowledge).__name__} grants no features of any image")
    if ground.flips and len(found.shape) != 3:
        raise BadInput(
            f"only images can be mirrored, got targets of shape {found.shape}: set flips=False"
        )
    views = 2 if ground.flips else 1
    count = affordable(knowledge, limit=ground.samples)
    oracle = knowledge.oracle
    if oracle.limit is not None and not isinstance(knowledge, WhiteBox):
        count = min(count, (oracle.limit - oracle.used) // views)
    if count < FEWEST:
        raise BadInput(
            f"a decoder needs at least {FEWEST} auxiliary targets, got {count}: give the attacker "
            "more data or queries, or use the ridge"
        )
    kept = chosen(knowledge.auxiliary, count, rng)
    some = replace(knowledge, auxiliary=part_of(knowledge.auxiliary, kept))
    if not isinstance(some, WhiteBox):
        return some, ()
    if encoded:
        return some, encoded if kept is None else tuple(z[kept] for z in encoded)
    x = some.auxiliary.x
    return some, tuple(encode(some, view) for view in (x, x.flip(-1))[:views])
