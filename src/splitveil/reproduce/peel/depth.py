"""PEEL, P7: how errors grow with the number of identity blocks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitveil.attacks.peel import Peel
from splitveil.estimators.bootstrap import resampled_means
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import RESAMPLES, quantity_of
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.peel.claims import DEPTH
from splitveil.reproduce.peel.networks import (
    among,
    cut,
    mean_of,
    network,
    patches,
    per_image,
    trained,
)
from splitveil.rng import Rng

IMAGES, DEPTHS = 8, (1, 2, 4, 8, 16)
DRAWN, SLOPED, TRAINED = "as drawn", "PReLU", "trained"


@dataclass(frozen=True, kw_only=True)
class Depth(Arm):
    """So many identity blocks, undone. Arrays: mse (images); details: log10 condition numbers.

    `kind` is "as drawn", "PReLU" (as drawn) or "trained". The condition number is the first
    image's, a block at a time.
    """

    blocks: int
    kind: str = DRAWN

    @property
    def minutes(self) -> float:
        return 0.1 + 0.06 * self.blocks + (0.3 if self.kind == TRAINED else 0.0)

    def run(self, bench: Bench) -> Measured:
        shapes = ((16, 16, 1),) * self.blocks
        net = (
            trained(shapes, self.seed)
            if self.kind == TRAINED
            else network(shapes, seed=self.seed, sloped=self.kind == SLOPED)
        )
        x, _ = patches(IMAGES, left=False)
        knowledge, seen = cut(net, self.blocks, x)
        found = Peel().fit(knowledge, Rng(0)).peel(seen, Rng(1), diagnosed=1)
        logs = [math.log10(s.sigma[1] / s.sigma[0]) for s in found.report.stages if s.sigma]
        return Measured(
            arrays={"mse": per_image(found.x, x).numpy()},
            details={"condition": math.fsum(logs), "stopped": found.report.stopped},
        )


def depth(scale: Scale) -> Experiment:
    """P7."""
    arms = {
        (kind, blocks): tuple(
            Depth(blocks=blocks, kind=kind, seed=seed) for seed in range(scale.seeds)
        )
        for kind in (DRAWN, SLOPED, TRAINED)
        for blocks in (DEPTHS if kind == DRAWN else DEPTHS[:-1])
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        logs = {
            cell: np.log10(np.stack([evidence.take(arm).arrays["mse"] for arm in own]))
            for cell, own in arms.items()
        }
        conditions = np.array(
            [
                [evidence.take(arm).details["condition"] for arm in arms[DRAWN, blocks]]
                for blocks in DEPTHS
            ],
            dtype=np.float64,
        )
        drawn = np.stack([logs[DRAWN, blocks] for blocks in DEPTHS])
        on = among(scale.seeds, "as drawn")
        draws = _correlations(drawn, conditions)
        readings = [
            Reading(
                measured=DEPTH.criteria[0].measured,
                subject=on,
                quantity=quantity_of(draws, unit="", n=IMAGES),
            )
        ]
        readings += [
            Reading(
                measured=f"log10 MSE, {blocks} blocks",
                subject=among(scale.seeds, kind),
                quantity=mean_of(found),
            )
            for (kind, blocks), found in logs.items()
        ]
        sums = ", ".join(f"{value:.2g}" for value in conditions.mean(1))
        note = f"mean sums of log10 condition numbers as drawn: {sums}"
        return (Finding(claim=DEPTH, quantities=tuple(readings), seeds=scale.seeds, note=note),)

    return Experiment(
        claims=(DEPTH,), arms=tuple(arm for own in arms.values() for arm in own), judge=judge
    )


def _correlations(
    logs: NDArray[np.float64], conditions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over networks of the correlation over depths, the measured one first.

    Of log errors (depths, networks, images), images resampled jointly, and conditions (depths,
    networks); networks vary by Student's law on Fisher's z.
    """
    columns = tuple(logs.reshape(-1, logs.shape[2]))
    drawn = np.stack(resampled_means(columns, Rng(0, ("peel", "P7")), RESAMPLES), 1)
    means = np.concatenate([logs.reshape(len(columns), -1).mean(1)[None], drawn])
    table = means.reshape(len(means), *conditions.shape)
    a, b = table - table.mean(1, keepdims=True), conditions - conditions.mean(0)
    r = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(0))
    z = np.arctanh(r.clip(-1 + 1e-12, 1 - 1e-12))
    shifts = np.zeros(len(z))
    networks = z.shape[1]
    if networks > 1:
        tails = Rng(0, ("peel", "P7", "networks")).numpy().standard_t(networks - 1, RESAMPLES)
        shifts[1:] = tails * z[0].std(ddof=1) / math.sqrt(networks)
    found: NDArray[np.float64] = np.tanh(z.mean(1) + shifts)
    return found
