"""A paper of two arms that need no data."""

from dataclasses import dataclass

import numpy as np

from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce import (
    Arm,
    Bench,
    Claim,
    Criterion,
    Evidence,
    Experiment,
    Finding,
    Measured,
    Paper,
    Reading,
    Scale,
)
from splitveil.rng import Rng

RAN: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Draws(Arm):
    """The mean of some draws."""

    centre: float

    @property
    def minutes(self) -> float:
        return 0.5

    def run(self, bench: Bench) -> Measured:
        RAN.append(repr(self))
        x = Rng(self.seed).child("draws").numpy().normal(self.centre, 0.1, 50)
        width = 2 * x.std(ddof=1) / np.sqrt(len(x))
        mean = Quantity(
            value=x.mean(),
            low=x.mean() - width,
            high=x.mean() + width,
            unit="",
            kind=Kind.MEASURED,
            n=len(x),
        )
        return Measured(quantities={"mean": mean}, details={"draws": 50}, arrays={"x": x})


@dataclass(frozen=True, kw_only=True)
class Broken(Arm):
    """An arm that cannot work."""

    @property
    def minutes(self) -> float:
        return 0.25

    def run(self, bench: Bench) -> Measured:
        RAN.append(repr(self))
        raise BadData("there is nothing to measure: bring something")


ABOVE = Claim(
    id="toy.C1",
    statement="The mean is above one.",
    criteria=(Criterion(measured="mean", low=1),),
    source="here",
)
LOST = Claim(
    id="toy.C2",
    statement="The broken works.",
    criteria=(Criterion(measured="mean", low=1),),
    source="here",
)
NEVER = Claim(
    id="toy.C3",
    statement="Nobody asks.",
    criteria=(Criterion(measured="mean", low=1),),
    source="here",
)


def above(scale: Scale) -> Experiment:
    arms = tuple(Draws(seed=seed, centre=2.0) for seed in range(scale.seeds))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings = tuple(
            Reading(
                measured="mean",
                subject=f"seed {arm.seed}",
                quantity=evidence.take(arm).quantities["mean"],
            )
            for arm in arms
        )
        return (Finding(claim=ABOVE, quantities=readings, seeds=scale.seeds),)

    return Experiment(claims=(ABOVE,), arms=arms, judge=judge)


def lost(scale: Scale) -> Experiment:
    arms = (Draws(seed=0, centre=2.0), Broken())

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        mean = evidence.take(arms[1]).quantities["mean"]
        return (
            Finding(claim=LOST, quantities=(Reading(measured="mean", subject="", quantity=mean),)),
        )

    return Experiment(claims=(LOST,), arms=arms, judge=judge)


PAPER = Paper(name="toy", title="A toy", claims=(ABOVE, LOST, NEVER), makes=(above, lost))
