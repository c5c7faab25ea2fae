"""Numbers of many arms, drawn jointly for other classes, other pictures and other seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from splitveil.reproduce.draws import RESAMPLES, student_weights
from splitveil.reproduce.experiment import Arm, Evidence, Scale
from splitveil.reproduce.tldmi.attacked import Attacked, Fragile
from splitveil.rng import Rng

Draws = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers by class (seeds, classes) of many arms, drawn jointly for other classes and seeds."""

    evidence: Evidence
    scale: Scale
    attacks: type[Attacked]

    def attack(self, defence: str, attack: str, name: str = "attack") -> Draws:
        """Means over classes and seeds, (1 + resamples,), the measured one first."""
        arms = [
            self.attacks(defence=defence, attack=attack, seed=seed)
            for seed in range(self.scale.seeds)
        ]
        return drawn(self._taken(arms, name), "classes")

    def share(self, defence: str, attack: str, name: str = "attack") -> Draws:
        """Such a mean that is a share: no draw leaves [0, 1]."""
        return self.attack(defence, attack, name).clip(0, 1)

    def net(self, defence: str, attack: str) -> Draws:
        """(A - P) / (1 - P), P of the best public images on the same network."""
        public = self.share(defence, attack, "public")
        found = (self.share(defence, attack) - public) / np.maximum(1 - public, 1e-9)
        return np.asarray(found, dtype=np.float64)

    def accuracy(self, defence: str) -> Draws:
        """Accuracy on pictures held out, drawn for other pictures and the same seeds."""
        networks = self.attacks.networks
        arms = [networks(defence=defence, seed=seed) for seed in range(self.scale.seeds)]
        return drawn(self._taken(arms, "right"), "pictures").clip(0, 1)

    def standing(self, defence: str, place: int) -> Draws:
        """Accuracy under the radius of that place, drawn for other pictures and the same seeds."""
        arms = [Fragile(defence=defence, seed=seed) for seed in range(self.scale.seeds)]
        return drawn(self._taken(arms, "standing")[:, place], "fragile").clip(0, 1)

    def _taken(self, arms: Sequence[Arm], name: str) -> Draws:
        return np.stack([self.evidence.take(arm).arrays[name] for arm in arms]).astype(np.float64)


def drawn(table: NDArray[np.float64], of: str) -> NDArray[np.float64]:
    """Means of (seeds, n, ...) over both, (1 + resamples, ...), the measured one first.

    The n classes (or pictures) are resampled with replacement, alike for all numbers `of` the same;
    to that comes a shift from Student's multivariate law with the seeds' own covariance, alike for
    all numbers: three seeds have its tails of two degrees of freedom. With one seed no shift is
    known, and the draws are for that seed alone.
    """
    seeds, n = table.shape[:2]
    means = np.tensordot(_resamples(of, n), table.mean(0), 1)
    if seeds > 1:
        by_seed = table.mean(1)
        away = by_seed - by_seed.mean(0)
        means = means + np.tensordot(_between(seeds), away, 1) / np.sqrt(seeds * (seeds - 1))
    found: Draws = np.concatenate([table.mean((0, 1))[None], means])
    return found


@cache
def _resamples(of: str, n: int) -> Draws:
    """Weights of classes or pictures (resamples, n)."""
    generator = Rng(0).child("tldmi", of, n).numpy()
    return generator.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n


@cache
def _between(seeds: int) -> Draws:
    return student_weights(seeds, Rng(0).child("tldmi", "seeds", seeds), RESAMPLES)


def words(seeds: int) -> tuple[str, ...]:
    """What a reader of any interval must know."""
    if seeds == 1:
        told = (
            "holds for this one network, prior of its own and attack seed: other seeds may differ"
        )
    else:
        told = f"{seeds} networks, each with its attack seed; Student's law between them"
    return (told, "judges and the shared prior are trained once")
