"""First guesses for a network to correct: the linear inversions, best first."""

from dataclasses import dataclass

import torch
from torch import Tensor

from splitveil.attacks.evidence import Evidence
from splitveil.attacks.patch_ridge import Local, PatchRidge
from splitveil.attacks.ridge import Linear, solve
from splitveil.errors import BadInput
from splitveil.rng import Rng

_IMAGES = 4000
_CERTAIN = 1e-3


@dataclass(frozen=True, eq=False)
class Middle:
    """The class mean x_mean[row], whatever z says."""

    x_mean: Tensor

    def predict(self, z: Tensor, rows: Tensor) -> Tensor:
        """The means of label rows (n,): targets (n, d)."""
        return self.x_mean[rows]


@dataclass(frozen=True, eq=False)
class Guesses:
    """Fitted inversions, the one with the least error on unseen targets first."""

    fitted: tuple[Linear | Local | Middle, ...]

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor:
        """Map z (n, f) and label rows (n,) to guesses (n, guesses, d), not clamped."""
        return torch.stack([one.predict(z, rows) for one in self.fitted], 1)

    def centre(self, rows: Tensor) -> Tensor:
        """The class means around which all guess: (n, 1, d)."""
        return self.fitted[0].x_mean[rows][:, None]

    @staticmethod
    def middle(found: Evidence) -> tuple["Guesses", Tensor]:
        """The class mean as the only guess, which asks no z: for all targets (n, 1, d)."""
        only = Middle(found.classes.means(found.x, found.rows))
        return Guesses((only,)), only.predict(found.z, found.rows)[:, None]

    @staticmethod
    def learn(found: Evidence, rng: Rng) -> tuple["Guesses", Tensor]:
        """Fit both ridges, and guess each target (n, guesses, d) as if it had been left out.

        The full ridge leaves out one exactly, by leverages; the patch-local one a quarter.
        """
        seen = torch.arange(len(found.x))
        if len(seen) > _IMAGES:
            seen = torch.randperm(len(seen), generator=rng.child("ridge").torch())[:_IMAGES]
        seen = seen.to(found.x.device)
        full, leverage = solve(found if len(seen) == len(found.x) else found.take(seen))
        guess = full.predict(found.z, found.rows)
        left = (1 - leverage[:, None]).clamp(min=_CERTAIN)
        guess[seen] = found.x[seen] - (found.x[seen] - guess[seen]) / left
        fitted: list[tuple[float, Linear | Local, Tensor]] = [
            (float((guess - found.x).square().mean()), full, guess)
        ]
        try:
            local, guess = PatchRidge().learn(found, rng.child("patches"))
        except BadInput:
            pass  # no maps: the full ridge is the only guess
        else:
            fitted.append((float((guess - found.x).square().mean()), local, guess))
        fitted.sort(key=lambda each: each[0])
        return Guesses(tuple(each[1] for each in fitted)), torch.stack([e[2] for e in fitted], 1)
