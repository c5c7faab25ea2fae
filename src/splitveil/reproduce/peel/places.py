"""PEEL, P10: where chaining stops on the bundled networks, and what is found from there."""

from dataclasses import dataclass

import numpy as np

from splitveil.attacks.peel import Peel
from splitveil.data import load_data
from splitveil.models import load_model
from splitveil.partition import trace
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.peel.claims import BEFORE, BEHIND, PLACES
from splitveil.reproduce.peel.networks import mean_of, per_image
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box

FIRST, IMAGES = 2, 4


@dataclass(frozen=True, kw_only=True)
class Place(Arm):
    """Four bundled test images sent at one cut of a bundled network, "network cut".

    Arrays: mse and misfit (images); details: outputs against unknowns, where chaining stops.
    """

    place: str

    @property
    def minutes(self) -> float:
        return 3.0 if self.place in BEHIND else 0.5

    def run(self, bench: Bench) -> Measured:
        test = load_data(None, size=32, channels=1, classes=None, rng=Rng(0)).test.x
        x = test[FIRST : FIRST + IMAGES]
        name, where = self.place.split()
        traced = trace(load_model(name).network, x)
        partition = traced.split(traced.cut(where))
        z = partition.transmit(x, Rng(0)).detach()[:, None]
        peeler = Peel().fit(white_box(partition, Auxiliary(x)), Rng(0))
        peeled = peeler.peel(Observation(z, partition.cut.layout), Rng(1))
        return Measured(
            arrays={
                "mse": per_image(peeled.x, x).numpy(),
                "misfit": peeled.report.misfit.double().numpy(),
            },
            details={
                "count": str(peeled.report.count),
                "stopped": peeled.report.stopped,
                "stages": [str(stage) for stage in peeled.report.stages],
            },
        )


def places(scale: Scale) -> Experiment:
    """P10; the networks are as bundled, whatever the seeds."""
    arms = {place: Place(place=place) for place in (*BEFORE, *BEHIND)}

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        found = {place: evidence.take(arm) for place, arm in arms.items()}
        before, behind = (one.measured for one in PLACES.criteria)
        readings = tuple(
            Reading(
                measured=before if place in BEFORE else behind,
                subject=place,
                quantity=mean_of(np.log10(one.arrays["mse"])[None]),
            )
            for place, one in found.items()
        )
        note = "; ".join(
            f"{place}: {one.details['count']}, stops at {one.details['stopped'] or 'nothing'}"
            for place, one in found.items()
        )
        return (Finding(claim=PLACES, quantities=readings, seeds=1, note=note),)

    return Experiment(claims=(PLACES,), arms=tuple(arms.values()), judge=judge)
