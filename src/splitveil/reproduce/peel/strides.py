"""PEEL, P6 and P9: blocks that halve the map, by themselves and jointly with all before them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom

from splitveil.attacks.peel import Peel
from splitveil.attacks.peel.gauss_newton import Effort, solve
from splitveil.attacks.peel.problem import pose
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.peel.claims import COUNT, ONE, STRIDE, THREE
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

IMAGES, AT_ONCE = 16, 4
_FEWEST = 6  # the extremes of fewer hold a median with less than 95 %
_SHORT = ((16, 16, 1), (16, 16, 1))
_LONG = ((16, 16, 1), (16, 32, 2), (32, 64, 2))
_DOWN = (*_SHORT, (16, 32, 2))
CELLS = {
    (ONE, "0.67"): (*_SHORT, (16, 8, 2)),
    (ONE, "1.33"): (*_SHORT, (16, 16, 2)),
    (ONE, "2.67"): _DOWN,
    (THREE, "0.67"): (*_LONG, (64, 128, 2)),
    (THREE, "1.33"): (*_LONG, (64, 256, 2)),
    (THREE, "2.67"): (*_LONG, (64, 512, 2)),
}


@dataclass(frozen=True, kw_only=True)
class Alone(Arm):
    """A block of stride 2 with its true output, and the image from the same output.

    Arrays: block (images), relative MSE of its input; image (images), relative MSE of the image.
    """

    @property
    def minutes(self) -> float:
        return 0.6

    def run(self, bench: Bench) -> Measured:
        net = network(_DOWN, seed=self.seed)
        x, _ = patches(AT_ONCE, left=False)
        knowledge, seen = cut(net, 3, x)
        peeler = Peel().fit(knowledge, Rng(0))
        (y,) = seen.layout.unpack(seen.z[:, 0])
        with torch.no_grad():
            inputs = net[:4](x).double()
        alone = pose(peeler.head, peeler.stages[-1], [y])
        block = solve(alone, torch.zeros_like(inputs), Effort()).x
        error = (block - inputs).square().flatten(1).sum(1) / inputs.square().flatten(1).sum(1)
        image = per_image(peeler(seen, Rng(1)), x) / x.double().square().flatten(1).mean(1)
        return Measured(arrays={"block": error.numpy(), "image": image.numpy()})


@dataclass(frozen=True, kw_only=True)
class Prefix(Arm):
    """Four images through `strides` blocks of stride 2 at `ratio` outputs an unknown.

    Arrays: mse and misfit (images).
    """

    strides: str
    ratio: str
    first: int
    trained: bool = False

    @property
    def minutes(self) -> float:
        return 1.0 if self.strides == ONE else 3.0

    def run(self, bench: Bench) -> Measured:
        blocks = CELLS[self.strides, self.ratio]
        net = trained(blocks, self.seed) if self.trained else network(blocks, seed=self.seed)
        x, _ = patches(IMAGES, left=False)
        x = x[self.first : self.first + AT_ONCE]
        knowledge, seen = cut(net, len(blocks), x)
        peeled = Peel().fit(knowledge, Rng(0)).peel(seen, Rng(1))
        return Measured(
            arrays={
                "mse": per_image(peeled.x, x).numpy(),
                "misfit": peeled.report.misfit.double().numpy(),
            },
            details={"report": str(peeled.report).splitlines()},
        )


def strides(scale: Scale) -> Experiment:
    """P6."""
    arms = tuple(Alone(seed=seed) for seed in range(scale.seeds))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        found = [evidence.take(arm).arrays for arm in arms]
        block = np.stack([f["block"] for f in found])
        image = np.stack([f["image"] for f in found])
        on = among(scale.seeds, "as drawn")
        readings = tuple(
            Reading(measured=criterion.measured, subject=on, quantity=mean_of(values))
            for criterion, values in zip(
                STRIDE.criteria, (block, np.log10(image / block)), strict=True
            )
        )
        return (Finding(claim=STRIDE, quantities=readings, seeds=scale.seeds),)

    return Experiment(claims=(STRIDE,), arms=arms, judge=judge)


def counts(scale: Scale) -> Experiment:
    """P9: one network a cell, whatever the seeds."""
    cells = {
        (*cell, learnt): tuple(
            Prefix(strides=cell[0], ratio=cell[1], first=first, trained=learnt)
            for first in range(0, IMAGES, AT_ONCE)
        )
        for learnt in (False, True)
        for cell in CELLS
        if not learnt or cell[1] == "2.67"
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings = []
        for (through, ratio, learnt), arms in cells.items():
            ended = [found for arm in arms if (found := evidence.find(arm)) is not None]
            if not ended:
                continue
            mse = np.concatenate([found.arrays["mse"] for found in ended])
            subject = f"{through}, {ratio}" + (", trained" if learnt else "")
            wide, narrow = (one.measured for one in COUNT.criteria)
            measured = narrow if ratio == "0.67" else wide
            if learnt or len(mse) < _FEWEST:
                measured = f"median log10 MSE{', trained' if learnt else ''}, {len(mse)} images"
            readings.append(
                Reading(measured=measured, subject=subject, quantity=_median(np.log10(mse)))
            )
        if not readings:
            evidence.take(cells[ONE, "0.67", False][0])
        counted = ", ".join(f"{one.subject}: {one.quantity.n}" for one in readings)
        note = f"one network a cell; images that have been attacked: {counted}"
        return (Finding(claim=COUNT, quantities=tuple(readings), seeds=1, note=note),)

    # a cell's first images before the second of any, so that a run cut short has all cells
    arms = tuple(arm for together in zip(*cells.values(), strict=True) for arm in together)
    return Experiment(claims=(COUNT,), arms=arms, judge=judge)


def _median(values: NDArray[np.float64]) -> Quantity:
    """The median between order statistics that hold it with at least 95 % (the sign test).

    Of fewer than 6 values the extremes, which hold it with less: 87.5 % of 4.
    """
    ordered, n = np.sort(values), len(values)
    below = max(0, int(binom.ppf(0.025, n, 0.5)) - 1)
    return Quantity(
        value=float(np.median(ordered)),
        low=float(ordered[below]),
        high=float(ordered[n - 1 - below]),
        unit="",
        kind=Kind.MEASURED,
        n=n,
    )
