"""PEEL, P3 and P4: networks with less and less of a skip, and attacks that know of none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitveil.attacks import Decoder
from splitveil.attacks.peel import Peel
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.peel.claims import RIVALS, SHARES, SKIP
from splitveil.reproduce.peel.networks import (
    FOUR,
    among,
    cut,
    jointly,
    mean_of,
    network,
    patches,
    per_image,
    smoothed,
    trained,
)
from splitveil.rng import Rng

IMAGES, STARTS, PAIRS = 4, 5, 2000
JOINT, VARIATION, DECODER, CHAINED = "joint", "total variation", "decoder", "block by block"


@dataclass(frozen=True, kw_only=True)
class Shared(Arm):
    """One attack on a network of four blocks y = c x + B(x), c = `share`, as drawn or trained.

    `method` is "joint", PEEL's joint solution from five starts, "block by block", PEEL itself,
    "total variation", activation inversion, or "decoder", trained on 2000 public pairs. Arrays:
    mse (images).
    """

    method: str
    share: float = 1.0
    trained: bool = False

    @property
    def minutes(self) -> float:
        return {JOINT: 1.5, VARIATION: 1.5, DECODER: 2.0, CHAINED: 0.1}[self.method]

    def run(self, bench: Bench) -> Measured:
        net = (
            trained(FOUR, self.seed)
            if self.trained
            else network(FOUR, share=self.share, seed=self.seed)
        )
        x, _ = patches(IMAGES, left=False)
        if self.method == JOINT:
            found = per_image(jointly(net, 4, x, starts=STARTS), x)
            return Measured(arrays={"mse": found.numpy()})
        public, _ = patches(PAIRS, left=True)
        knowledge, seen = cut(net, 4, x, public if self.method == DECODER else None)
        if self.method == VARIATION:
            return Measured(arrays={"mse": smoothed(knowledge, seen.z[:, 0], x).numpy()})
        attack = Decoder(start="mean", width=32) if self.method == DECODER else Peel()
        found = per_image(attack.fit(knowledge, Rng(self.seed))(seen, Rng(1)).clamp(0, 1), x)
        return Measured(arrays={"mse": found.numpy()})


def skips(scale: Scale) -> Experiment:
    """P3; what stands beside it, of one network."""
    cells = {
        (method, share): tuple(
            Shared(method=method, share=share, seed=seed)
            for seed in range(scale.seeds if method in (JOINT, CHAINED) else 1)
        )
        for method, shares in (
            (JOINT, SHARES),
            (CHAINED, (1.0,)),
            (VARIATION, SHARES),
            (DECODER, SHARES),
        )
        for share in shares
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        gap = _logs(evidence, cells[JOINT, 0.0]) - _logs(evidence, cells[JOINT, 1.0])
        ended = {
            cell: arms
            for cell, arms in cells.items()
            if all(evidence.find(arm) is not None for arm in arms)
        }
        errors = {cell: _logs(evidence, arms) for cell, arms in ended.items()}
        measured = SKIP.criteria[0].measured
        on = among(scale.seeds, "as drawn")
        readings = [Reading(measured=measured, subject=on, quantity=mean_of(gap))]
        readings += [
            Reading(
                measured=f"log10 MSE, {method}, c = {share:g}",
                subject=among(len(found), "as drawn"),
                quantity=mean_of(found),
            )
            for (method, share), found in errors.items()
        ]
        return (Finding(claim=SKIP, quantities=tuple(readings), seeds=scale.seeds),)

    return Experiment(
        claims=(SKIP,), arms=tuple(arm for arms in cells.values() for arm in arms), judge=judge
    )


def rivals(scale: Scale) -> Experiment:
    """P4."""
    cells = {
        method: tuple(Shared(method=method, trained=True, seed=seed) for seed in range(scale.seeds))
        for method in (CHAINED, VARIATION, DECODER)
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        errors = {method: _logs(evidence, arms) for method, arms in cells.items()}
        on = among(scale.seeds, "trained")
        readings = [
            Reading(
                measured=criterion.measured,
                subject=on,
                quantity=mean_of(errors[method] - errors[CHAINED]),
            )
            for criterion, method in zip(RIVALS.criteria, (VARIATION, DECODER), strict=True)
        ]
        readings += [
            Reading(measured=f"log10 MSE, {method}", subject=on, quantity=mean_of(found))
            for method, found in errors.items()
        ]
        return (Finding(claim=RIVALS, quantities=tuple(readings), seeds=scale.seeds),)

    return Experiment(
        claims=(RIVALS,), arms=tuple(arm for arms in cells.values() for arm in arms), judge=judge
    )


def _logs(evidence: Evidence, arms: tuple[Shared, ...]) -> NDArray[np.float64]:
    """log10 MSE (networks, images)."""
    found: NDArray[np.float64] = np.log10(np.stack([evidence.take(a).arrays["mse"] for a in arms]))
    return found
