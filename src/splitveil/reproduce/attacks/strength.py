"""Error against computing, A1 to A5: ridges, decoders by epochs, searches by steps."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from splitveil.attacks import Decoder, Likelihood
from splitveil.attacks.base import Reconstructor
from splitveil.attacks.groundwork import Groundwork
from splitveil.data import LabelledImages
from splitveil.errors import BadData
from splitveil.measures import mse_per_image
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.attacks.claims import (
    CHEAP,
    EARLY,
    EVERY,
    LATE,
    MIDDLE,
    PLACES,
    REGRESSION_LATE,
    SEARCH_EARLY,
    STEPS,
    TRAINING,
)
from splitveil.reproduce.attacks.material import first_of, over, owned_and_private, seen_by
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Claim, Finding, Reading
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Measured, Scale
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, WhiteBox, white_box

REGRESSION, SEARCH, RIDGE = "regression", "search", "ridge"
EPOCHS, LENGTHS = (1, 4, 16), (8, 32, 96)
SEARCHED = 16
BILLED = 100
"""Images whose reconstruction counts to an attack's cost, besides fitting it."""

Errors: TypeAlias = dict[str, NDArray[np.float32]]
_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True)
class Ladder(Arm):
    """Attacks of one family at one cut, each given more computing than the one before.

    `family` is "regression": the better of both ridges on unseen auxiliary images, then decoders
    of more and more epochs; or "search": `Likelihood` of more and more steps, on the first 16 test
    images. Arrays: squared error per value of every test image, by attack. Details: CPU seconds of
    fitting the attack and rebuilding 100 images with it.
    """

    network: str
    cut: str
    family: str
    auxiliary: int = 512

    @property
    def minutes(self) -> float:
        return {"vgg": 0.25, "resnet": 0.4, "ir": 0.4, "vit": 0.6}[self.network]

    def run(self, bench: Bench) -> Measured:
        own, test = owned_and_private(bench, self.seed)
        traced = bench.reference(self.network).traced
        partition = traced.split(traced.cut(self.cut))
        few = own.x[: self.auxiliary]
        labels = None if own.y is None else own.y[: self.auxiliary]
        knowledge = white_box(partition, Auxiliary(few, labels))
        rng = Rng(self.seed).child("attacks", self.network, self.cut)
        if self.family == SEARCH:
            return self._searched(knowledge, first_of(test, SEARCHED), rng)
        return self._regressed(knowledge, test, rng)

    def _searched(self, knowledge: WhiteBox, test: LabelledImages, rng: Rng) -> Measured:
        bill = _Bill(seen_by(knowledge, test), test.x)
        for steps in LENGTHS:
            attack = Likelihood(restarts=1, steps=steps, tuning=4, samples=self.auxiliary)
            fitted, spent = timed(partial(attack.fit, knowledge, rng))
            bill.add(f"{steps} steps", fitted, spent)
        return bill.measured()

    def _regressed(self, knowledge: WhiteBox, test: LabelledImages, rng: Rng) -> Measured:
        bill = _Bill(seen_by(knowledge, test), test.x)
        decoders = {n: Decoder(width=32, depth=1, epochs=n) for n in EPOCHS}
        first = decoders[EPOCHS[0]]
        laid, spent = timed(partial(Groundwork.lay, first, knowledge, first.ground, rng))
        ridge = laid.guesses.fitted[0]
        if not isinstance(ridge, Reconstructor):
            raise BadData(f"no ridge was fitted at {self.network} {self.cut}")
        bill.add(RIDGE, ridge, spent)
        for epochs, decoder in decoders.items():
            learnt, more = timed(partial(decoder.learn, laid, knowledge, rng))
            bill.add(f"{epochs} epochs", learnt, spent + more)
        return bill.measured()


def timed(work: Callable[[], _Made]) -> tuple[_Made, float]:
    """What a call made, and its CPU seconds."""
    begin = time.process_time()
    made = work()
    return made, time.process_time() - begin


@dataclass(frozen=True, eq=False)
class _Bill:
    """Errors and costs of the attacks on one observation."""

    observation: Observation
    truth: Tensor
    errors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, attack: Reconstructor, spent: float) -> None:
        found, each = timed(lambda: attack(self.observation, Rng(1)))
        self.errors[name] = mse_per_image(found, self.truth).numpy()
        self.seconds[name] = round(spent + each * BILLED / len(self.truth), 3)

    def measured(self) -> Measured:
        return Measured(arrays=self.errors, details={"seconds": self.seconds})


def ladders(scale: Scale) -> tuple[Ladder, ...]:
    """Every arm, network by network."""
    return tuple(
        Ladder(network=network, cut=cut, family=family, seed=seed)
        for network, cuts in PLACES.items()
        for cut in cuts
        for family in (REGRESSION, SEARCH)
        for seed in range(scale.seeds)
    )


def measured_at(evidence: Evidence, place: str, scale: Scale) -> tuple[Errors, dict[str, Quantity]]:
    """Errors (seeds, images) and CPU seconds of every attack at a cut, "network cut".

    Raises:
        ArmMissing: if a seed is missing.
    """
    network, cut = place.split()
    errors: Errors = {}
    seconds = {}
    for family in (REGRESSION, SEARCH):
        arms = (
            Ladder(network=network, cut=cut, family=family, seed=seed)
            for seed in range(scale.seeds)
        )
        found = [evidence.take(arm) for arm in arms]
        for name in found[0].arrays:
            errors[name] = np.stack([one.arrays[name] for one in found])
            seconds[name] = spread([_seconds(one)[name] for one in found], "s")
    return errors, seconds


def spread(values: list[float], unit: str) -> Quantity:
    """The mean of one number a seed, and its range over seeds."""
    return Quantity(
        value=float(np.mean(values)),
        low=min(values),
        high=max(values),
        unit=unit,
        kind=Kind.MEASURED,
        n=len(values),
        assumptions=("the interval is the range over seeds",),
    )


def _seconds(found: Measured) -> dict[str, float]:
    stored = found.details["seconds"]
    if not isinstance(stored, dict):
        raise BadData("an arm's record holds no CPU seconds")
    return {str(name): float(value) for name, value in stored.items()}


def strength(scale: Scale) -> Experiment:
    """A1 to A5."""
    claims = (SEARCH_EARLY, REGRESSION_LATE, TRAINING, STEPS, CHEAP)

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings: dict[str, list[Reading]] = {claim.id: [] for claim in claims}
        missing = []
        for place in EVERY:
            try:
                errors, seconds = measured_at(evidence, place, scale)
            except ArmMissing as error:
                missing.append(str(error))
                continue
            for claim, found in _read(place, errors, seconds):
                readings[claim.id].append(found)
        note = f"{len(missing)} cuts missing, the first because {missing[0]}" if missing else ""
        return tuple(
            Finding(claim=claim, quantities=tuple(readings[claim.id]), seeds=scale.seeds, note=note)
            for claim in claims
        )

    return Experiment(claims=claims, arms=ladders(scale), judge=judge)


def _read(place: str, errors: Errors, seconds: dict[str, Quantity]) -> list[tuple[Claim, Reading]]:
    """What one cut says of each claim."""
    few, most = f"{EPOCHS[0]} epochs", f"{EPOCHS[-1]} epochs"
    short, long = f"{LENGTHS[0]} steps", f"{LENGTHS[-1]} steps"
    found: list[tuple[Claim, Reading]] = []

    def add(claim: Claim, measured: str, quantity: Quantity) -> None:
        found.append((claim, Reading(measured=measured, subject=place, quantity=quantity)))

    same = {name: errors[name][:, : errors[long].shape[1]] for name in (RIDGE, most)}
    rival = min(same, key=lambda name: float(same[name].mean()))
    for claim, where in ((SEARCH_EARLY, EARLY), (REGRESSION_LATE, LATE)):
        measured = claim.criteria[0].measured
        if place in where:
            add(claim, measured, over(errors[long], errors[rival], place, measured))
    if place in MIDDLE:
        beside = over(errors[long], errors[rival], place, "middle")
        add(SEARCH_EARLY, "MSE of the longest search over regression, middle cuts", beside)
    for claim, where, top, bottom in (
        (TRAINING, EVERY, most, few),
        (STEPS, EARLY + MIDDLE, long, short),
        (CHEAP, EVERY, RIDGE, most),
    ):
        if place in where:
            measured = claim.criteria[0].measured
            add(claim, measured, over(errors[top], errors[bottom], place, measured))
    cost = seconds[RIDGE].value / seconds[most].value
    add(CHEAP, CHEAP.criteria[1].measured, spread([cost], ""))
    for name, own in errors.items():
        mean = spread([float(each.mean()) for each in own], "mse per value")
        add(TRAINING if name.endswith("epochs") else STEPS, f"MSE, {name}", mean)
        add(CHEAP, f"CPU seconds, {name}", seconds[name])
    return found
