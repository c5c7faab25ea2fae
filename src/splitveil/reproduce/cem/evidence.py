"""What arms of one setting measured, seed by seed, and how two settings compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from splitveil.measures import log_ratio_over_seeds
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.cem.attacked import Attacked
from splitveil.reproduce.cem.choosing import NOISE
from splitveil.reproduce.cem.networks import SMALL
from splitveil.reproduce.experiment import Evidence, Scale
from splitveil.rng import Rng


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Arms that differ in their seed alone."""

    data: str
    base: str
    form: str
    network: str = SMALL
    noise: float = NOISE
    reach: float = 1.0
    clusters: int = 5
    covariance: str = "isotropic"

    def arms(self, scale: Scale) -> tuple[Attacked, ...]:
        """One a seed; of the slow network one in all."""
        seeds = 1 if self.network == "resnet" else scale.seeds
        return tuple(Attacked(**vars(self), seed=seed) for seed in range(seeds))


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """What a setting's arms measured: (seeds, images), and plain data a seed."""

    mse: NDArray[np.float64]
    ssim: NDArray[np.float64]
    details: tuple[dict[str, Any], ...]

    @staticmethod
    def of(evidence: Evidence, setting: Setting, scale: Scale) -> "Seen":
        """Read the records.

        Raises:
            ArmMissing: if a seed is missing.
        """
        return Seen.of_arms(evidence, setting.arms(scale))

    @staticmethod
    def of_arms(evidence: Evidence, arms: Sequence[Attacked]) -> "Seen":
        """Read the records of given arms, one a seed.

        Raises:
            ArmMissing: if one is missing.
        """
        found = [evidence.take(arm) for arm in arms]
        return Seen(
            mse=np.stack([one.arrays["mse"] for one in found]),
            ssim=np.stack([one.arrays["ssim"] for one in found]),
            details=tuple(dict(one.details) for one in found),
        )

    def each(self, name: str) -> NDArray[np.float64]:
        """A number of every seed."""
        return np.array([one[name] for one in self.details], dtype=np.float64)


def ln_ratio(top: Seen, bottom: Seen, *path: str) -> Quantity:
    """The ratio of mean errors as ln, with an interval for other seeds and images."""
    first, second = (torch.from_numpy(np.array(one.mse))[:, None] for one in (top, bottom))
    return log_ratio_over_seeds(first, second, Rng(0, ("cem", *path)))


def student(values: NDArray[np.float64], unit: str) -> Quantity:
    """The mean of one number a seed with Student's interval; one seed has none."""
    mean, count = float(values.mean()), len(values)
    half = 0.0
    words: tuple[str, ...] = ("one seed: no interval",)
    if count > 1:
        half = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
        words = ("seeds vary normally",)
    return Quantity(
        value=mean,
        low=mean - half,
        high=mean + half,
        unit=unit,
        kind=Kind.MEASURED,
        n=count,
        assumptions=words,
    )
