"""Noise of the size at which a bound on every attacker's error is proved."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from splitveil.defences.base import (
    Calibration,
    Component,
    Fitted,
    Part,
    Setting,
    Statement,
    written,
)
from splitveil.defences.settled import settled
from splitveil.errors import BadPlan
from splitveil.measures import genie_bound, noise_needed
from splitveil.quantities import Quantity
from splitveil.release import ClippedGaussian, GaussianNoise
from splitveil.shapes import Labels

_BATCH = 250
_GALLERIES = 20
_ATTEMPTS, _GROWTH = 8, 1.25
_RANGE = (1e-2, 1e2)


@dataclass(frozen=True)
class Calibrated(Component):
    """Clipped Gaussian noise just large enough that every attacker's error is at least `error`.

    The error is the mean squared one per value, pixels in [0, 1]; what is proved is `genie_bound`.
    When training is over, bisection on calibration images finds a noise between 0.01 and 100 RMS of
    the features, and the bound is taken anew on images that were neither trained nor chosen on.
    Where it falls short the noise is raised by a quarter, in at most eight tries; each is at
    confidence 1 - (1 - level) / 8, so that what is stated holds at `level` all the same. After
    every epoch a shorter search sets the noise of the next, so the network learns with about the
    noise that it ships with, and validation losses are compared at equal protection.

    Images of one gallery are told apart by little noise: few calibration images prove little, and
    more than about their variance cannot be asked. It holds for images drawn like these, sent
    `sends` times, by attackers who do not know the label unless `label` is "known".

    Raises:
        BadPlan: if a setting is out of range; before training if there are fewer than 40 images to
            verify on, or the error is out of reach; after it if it could not be verified.
    """

    name: ClassVar[str] = "calibrated"
    reference: ClassVar[str] = "bisection on the genie-gallery bound, verified on other images"

    error: float
    sends: int = 1
    label: Literal["unknown", "known"] = "unknown"
    level: float = 0.95
    clip: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.error < float("inf") or self.sends < 1 or not 0 < self.level < 1:
            raise BadPlan(
                "calibrated: error must be positive, sends at least 1 and level in (0, 1), got "
                f"{self.error}, {self.sends} and {self.level}"
            )
        if self.label not in ("unknown", "known"):
            raise BadPlan(f"calibrated: label is 'unknown' or 'known', got '{self.label}'")
        GaussianNoise(sigma=1.0, clip=self.clip)

    @property
    def _strict(self) -> float:
        """The confidence of each of several tries."""
        return 1 - (1 - self.level) / _ATTEMPTS

    def prepare(self, setting: Setting) -> Part:
        return settled(setting.crossing(self).size, self.clip, self.fit)

    def fit(self, calibration: Calibration) -> Fitted:
        """The noise that the network needs, verified where it is final.

        Raises:
            BadPlan: if the error is out of reach, or was not verified.
        """
        self._refuse(calibration)
        unit = GaussianNoise(sigma=1.0, clip=self.clip).fit(calibration.z)

        def family(sigma: float) -> ClippedGaussian:
            return ClippedGaussian(unit.centre, unit.radius, sigma * unit.sigma)

        found = noise_needed(
            calibration.x,
            calibration.z,
            family,
            calibration.rng.child("search"),
            error=self.error,
            low=_RANGE[0],
            high=_RANGE[1],
            steps=8 if calibration.final else 6,
            labels=self._known(calibration.y),
            galleries=_GALLERIES,
            draws=2 if calibration.final else 1,
            sends=self.sends,
            level=self._strict,
        )
        if not calibration.final:
            return Fitted(release=family(found.sigma))
        return self._verified(calibration, family, found.sigma)

    def _verified(
        self, calibration: Calibration, family: Callable[[float], ClippedGaussian], sigma: float
    ) -> Fitted:
        """The first noise from `sigma` on whose bound holds on fresh images."""
        fresh = calibration.fresh
        assert fresh.y is not None  # noqa: S101 - images come with labels
        with torch.no_grad():
            z = torch.cat([calibration.head(part) for part in fresh.x.split(_BATCH)])
        tried: list[float] = []
        for number in range(_ATTEMPTS):
            bound = genie_bound(
                fresh.x,
                z,
                family(sigma),
                calibration.rng.child("verify", number),
                labels=self._known(fresh.y),
                galleries=_GALLERIES,
                draws=2,
                sends=self.sends,
                level=self._strict,
            )
            if bound.value >= self.error:
                return Fitted(
                    release=family(sigma), statements=(self._statement(bound, sigma, number + 1),)
                )
            tried.append(bound.value)
            sigma *= _GROWTH
        raise BadPlan(
            f"{self}: on {len(fresh)} fresh images noise of {sigma / _GROWTH:.3g} RMS proves an "
            f"error of {tried[-1]:.3g} only: ask for less, or give more images"
        )

    def _statement(self, bound: Quantity, sigma: float, tries: int) -> Statement:
        tried = (
            f"verified at try {tries} of at most {_ATTEMPTS}, each at {100 * self._strict:.4g} %, "
            "on images that were neither trained nor chosen on"
        )
        return Statement(
            component=str(self),
            text=f"behind noise of {sigma:.3g} RMS every attacker's mean squared error is at least",
            quantity=replace(bound, level=self.level, assumptions=(*bound.assumptions, tried)),
        )

    def _refuse(self, calibration: Calibration) -> None:
        """Refuse what no noise can reach: images alone decide that, before any training."""
        fresh = calibration.fresh
        assert fresh.y is not None  # noqa: S101 - images come with labels
        for x, y, what in (
            (calibration.x, calibration.y, "calibration"),
            (fresh.x, fresh.y, "fresh"),
        ):
            if len(x) < 2 * _GALLERIES:
                raise BadPlan(
                    f"{self}: {len(x)} {what} images are too few to prove anything on, give "
                    f"{2 * _GALLERIES} or more (a tenth of the images given to harden are fresh)"
                )
            most = genie_bound(
                x,
                x.new_zeros(len(x), 1),
                ClippedGaussian(x.new_zeros(1), 1.0, 1.0),
                calibration.rng.child("most"),
                labels=self._known(y),
                galleries=_GALLERIES,
                draws=1,
                level=self._strict,
            )
            if most.value <= self.error:
                raise BadPlan(
                    f"{self}: {len(x)} {what} images prove an error of {most.value:.3g} at most, "
                    "with nothing sent at all: ask for less, or give more images"
                )

    def _known(self, y: Labels) -> Labels | None:
        return y if self.label == "known" else None

    def __str__(self) -> str:
        return written(self)
