"""PEEL, P8: features with noise on them, rounded, with channels missing or out of order."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from splitveil.attacks.peel import Peel
from splitveil.partition.layout import Layout
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.peel.claims import NOISE
from splitveil.reproduce.peel.networks import FOUR, among, cut, mean_of, patches, per_image, trained
from splitveil.rng import Rng
from splitveil.threat import Observation

IMAGES = 8
LEVELS = (1e-5, 1e-4, 1e-3)
DISTURBANCES = (
    "half precision",
    "8 bits",
    "noise of 0.01 deviations",
    "noise of 0.1 deviations",
    "a channel in four dropped",
    "channels permuted, order unknown",
    "channels permuted, order known",
)


@dataclass(frozen=True, kw_only=True)
class Disturbed(Arm):
    """Four identity blocks of a trained network, undone from disturbed features.

    `how` is one of `DISTURBANCES`, or the noise's share of the features' deviation. Arrays: mse
    (images).
    """

    how: str

    @property
    def minutes(self) -> float:
        return 1.0

    def run(self, bench: Bench) -> Measured:
        net = trained(FOUR, self.seed)
        x, _ = patches(IMAGES, left=False)
        knowledge, seen = cut(net, 4, x)
        z = disturbed(seen.z, seen.layout, self.how, Rng(self.seed, ("P8",)))
        peeler = Peel(restarts=0, starts=1).fit(knowledge, Rng(0))
        found = peeler(Observation(z, seen.layout), Rng(1))
        return Measured(arrays={"mse": per_image(found, x).numpy()})


def disturbed(z: Tensor, layout: Layout, how: str, rng: Rng) -> Tensor:
    """What reaches the attack of z (n, 1, f); where an order is known, it is undone again."""
    if how == "half precision":
        return z.half().float()
    if how == "8 bits":
        step = (z.max() - z.min()) / 255
        return (z / step).round() * step
    shape = layout.parts[0].shape
    maps = z.reshape(-1, *shape)
    if how.startswith("channels permuted"):
        order = torch.randperm(shape[0], generator=rng.child("order").torch())
        sent = maps[:, order]
        back = sent[:, order.argsort()] if how.endswith("order known") else sent
        return back.reshape(z.shape)
    if how.startswith("a channel"):
        kept = torch.rand(len(maps), shape[0], 1, 1, generator=rng.child("kept").torch()) >= 0.25
        return (maps * kept).reshape(z.shape)
    share = float(how.split()[2]) if how.startswith("noise of") else float(how)
    draw = torch.randn(z.shape, generator=rng.child("noise").torch())
    return z + share * z.std() * draw


def noise(scale: Scale) -> Experiment:
    """P8."""
    arms = {
        how: tuple(Disturbed(how=how, seed=seed) for seed in range(scale.seeds))
        for how in (*map(str, LEVELS), *DISTURBANCES)
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        logs = {
            how: np.log10(np.stack([evidence.take(arm).arrays["mse"] for arm in own]))
            for how, own in arms.items()
            if how not in DISTURBANCES or all(evidence.find(arm) is not None for arm in own)
        }
        run = np.log10(LEVELS) - np.log10(LEVELS).mean()
        table = np.stack([logs[str(level)] for level in LEVELS])
        slopes = np.tensordot(run, table, 1) / (run**2).sum()
        on = among(scale.seeds, "trained")
        readings = [
            Reading(measured=NOISE.criteria[0].measured, subject=on, quantity=mean_of(slopes))
        ]
        readings += [
            Reading(
                measured=f"log10 MSE, {how if how in DISTURBANCES else f'noise of {how}'}",
                subject=on,
                quantity=mean_of(found),
            )
            for how, found in logs.items()
        ]
        return (Finding(claim=NOISE, quantities=tuple(readings), seeds=scale.seeds),)

    return Experiment(
        claims=(NOISE,), arms=tuple(arm for own in arms.values() for arm in own), judge=judge
    )
