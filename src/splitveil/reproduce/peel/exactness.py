"""PEEL, P1, P2 and P5: an identity chain, undone by two methods, timed, and reset to the truth."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from splitveil.attacks.peel import Peel, PublishedPeel
from splitveil.attacks.peel.published import PublishedPeeler
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.peel.claims import EXACT, FAST, HONEST
from splitveil.reproduce.peel.networks import (
    FOUR,
    accuracy,
    among,
    cut,
    mean_of,
    patches,
    per_image,
    trained,
)
from splitveil.rng import Rng
from splitveil.threat import Observation

IMAGES, SHARED, REPEATS = 16, 4, 3


@dataclass(frozen=True, kw_only=True)
class Chain(Arm):
    """A trained network of four identity blocks, undone by both methods.

    Arrays: mse (images), published (shared images), and the published method's relative error of
    each block's input, last block first, chained and given true outputs (blocks, shared).
    """

    @property
    def minutes(self) -> float:
        return 1.2

    def run(self, bench: Bench) -> Measured:
        net = trained(FOUR, self.seed)
        x, _ = patches(IMAGES, left=False)
        knowledge, seen = cut(net, 4, x)
        few = Observation(seen.z[:SHARED], seen.layout)
        mse = per_image(Peel().fit(knowledge, Rng(0))(seen, Rng(1)), x)
        theirs = PublishedPeel().fit(knowledge, Rng(0))
        published = per_image(theirs(few, Rng(1)), x[:SHARED])
        arrays = {
            "mse": mse.numpy(),
            "published": published.numpy(),
            "chained": _errors(theirs, net, x[:SHARED], reset=False),
            "reset": _errors(theirs, net, x[:SHARED], reset=True),
        }
        return Measured(arrays=arrays, details={"accuracy": accuracy(net)})


@dataclass(frozen=True, kw_only=True)
class Speed(Arm):
    """CPU seconds of both methods on one batch, and of 16 images together and apart.

    Arrays: rivals (repeats), ours over the published method's; together (repeats), batch over
    singles. Ours are repeated in turn, the published method runs once.
    """

    @property
    def minutes(self) -> float:
        return 0.8

    def run(self, bench: Bench) -> Measured:
        net = trained(FOUR, self.seed)
        x, _ = patches(IMAGES, left=False)
        knowledge, seen = cut(net, 4, x)
        ours = Peel().fit(knowledge, Rng(0))
        theirs = PublishedPeel().fit(knowledge, Rng(0))
        few = Observation(seen.z[:SHARED], seen.layout)
        ours(Observation(seen.z[:1], seen.layout), Rng(1))  # warm up

        def singly() -> Tensor:
            return torch.cat([ours(Observation(z[None], seen.layout), Rng(1)) for z in seen.z])

        rounds = [
            (timed(lambda: ours(few, Rng(1))), timed(lambda: ours(seen, Rng(1))), timed(singly))
            for _ in range(REPEATS)
        ]
        published = timed(lambda: theirs(few, Rng(1)))
        arrays = {
            "rivals": np.array([four / published for four, _, _ in rounds]),
            "together": np.array([whole / single for _, whole, single in rounds]),
        }
        seconds = min(four for four, _, _ in rounds) / SHARED
        return Measured(
            arrays=arrays, details={"seconds": seconds, "published seconds": published / SHARED}
        )


def exactness(scale: Scale) -> Experiment:
    """P1 and P5."""
    arms = tuple(Chain(seed=seed) for seed in range(scale.seeds))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        found = [evidence.take(arm).arrays for arm in arms]
        ours = np.log10(np.stack([f["mse"] for f in found]))
        published = np.log10(np.stack([f["published"] for f in found]))
        gap = np.log10(np.stack([f["chained"][-1] / f["reset"][-1] for f in found]))
        first, second = (one.measured for one in EXACT.criteria)
        on = among(scale.seeds, "trained")
        exact = (
            Reading(measured=first, subject=on, quantity=mean_of(ours, "P1")),
            Reading(measured=second, subject=on, quantity=mean_of(ours[:, :SHARED] - published)),
            Reading(
                measured="log10 image MSE, published method",
                subject=on,
                quantity=mean_of(published),
            ),
        )
        honest = tuple(
            Reading(
                measured=f"log10 relative error of block {4 - depth}'s input, {name}",
                subject=on,
                quantity=mean_of(np.log10(np.stack([f[name][depth] for f in found]))),
            )
            for name in ("chained", "reset")
            for depth in range(4)
        )
        decides = Reading(measured=HONEST.criteria[0].measured, subject=on, quantity=mean_of(gap))
        return (
            Finding(claim=EXACT, quantities=exact, seeds=scale.seeds),
            Finding(claim=HONEST, quantities=(decides, *honest), seeds=scale.seeds),
        )

    return Experiment(claims=(EXACT, HONEST), arms=arms, judge=judge)


def speed(scale: Scale) -> Experiment:
    """P2."""
    arms = tuple(Speed(seed=seed) for seed in range(scale.seeds))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        found = [evidence.take(arm) for arm in arms]
        on = among(scale.seeds, "trained")
        readings = tuple(
            Reading(
                measured=criterion.measured,
                subject=on,
                quantity=mean_of(np.stack([f.arrays[name] for f in found])),
            )
            for criterion, name in zip(FAST.criteria, ("rivals", "together"), strict=True)
        )
        seconds = ", ".join(
            f"{f.details['seconds']:.3f} / {f.details['published seconds']:.2f}" for f in found
        )
        note = f"{REPEATS} rounds a network; CPU seconds an image, ours / published: {seconds}"
        return (Finding(claim=FAST, quantities=readings, seeds=scale.seeds, note=note),)

    return Experiment(claims=(FAST,), arms=arms, judge=judge)


def timed(work: Callable[[], Tensor]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _errors(theirs: PublishedPeeler, net: nn.Sequential, x: Tensor, *, reset: bool) -> np.ndarray:
    """Relative error of each block's input, last first; with true outputs it is no attack."""
    truth = [x]
    for layer in list(net)[:6]:
        with torch.no_grad():
            truth.append(layer(truth[-1]))
    errors, found = [], truth[6]
    for stage, before, after in zip(
        reversed(theirs.stages[1:]), truth[5:1:-1], truth[6:2:-1], strict=True
    ):
        found = theirs.invert(stage, after if reset else found, Rng(1, (stage.name,)))
        error = (found - before).square().flatten(1).sum(1)
        errors.append(error / before.square().flatten(1).sum(1))
    return torch.stack(errors).double().numpy()
