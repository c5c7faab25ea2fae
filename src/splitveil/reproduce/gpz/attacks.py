"""Golden Partition Zone: attacks at comparable cuts, and the claims they answer alone.

C1 (how much harder late cuts are), C2 (in one step or many), C6 (all tokens or one), C11 (ceiling).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from splitveil import measures
from splitveil.attacks import ClassMean, MeanImage
from splitveil.attacks.base import Attack
from splitveil.audit.recipes import read_attack
from splitveil.data import LabelledImages
from splitveil.errors import BadData
from splitveil.partition import Partition
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import error_draws, largest_rise, quantity_of, step_share
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.gpz.claims import ABRUPT, CEILING, NETWORKS, TOKENS
from splitveil.reproduce.gpz.places import (
    LAST_BLOCK,
    LOGITS,
    PLACES,
    TOKEN,
    auxiliary_rows,
    partition_at,
    width_at,
)
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box

RIDGE, DECODER = "ridge", "decoder"
_CHUNK = 250
_DRAWN = Rng(0).child("gpz")


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How hard the attacker tries: auxiliary images, test images, and attacks as they print."""

    auxiliary: int
    test: int
    epochs: int
    width: int
    depth: int

    @property
    def recipes(self) -> tuple[tuple[str, str], ...]:
        """Short names and attacks."""
        return (
            (RIDGE, f"Ridge(samples={self.auxiliary})"),
            (
                DECODER,
                f"Decoder(epochs={self.epochs}, width={self.width}, depth={self.depth}, "
                f"samples={self.auxiliary})",
            ),
        )


SMALL_EFFORT = Effort(auxiliary=1024, test=1000, epochs=8, width=32, depth=1)
PAPER_EFFORT = Effort(auxiliary=3300, test=7500, epochs=40, width=64, depth=2)


def effort_of(scale: Scale) -> Effort:
    """The attacker of a scale."""
    return SMALL_EFFORT if scale.small else PAPER_EFFORT


@dataclass(frozen=True, kw_only=True)
class Inversion(Arm):
    """Ridge and decoder at one cut, trained on the seed's own auxiliary images, labels unknown.

    Arrays: squared error per value of every test image, by attack.
    """

    network: str
    cut: str
    effort: Effort

    @property
    def minutes(self) -> float:
        """Grows with the number of features and of training steps."""
        work = self.effort.auxiliary * self.effort.epochs * self.effort.width * self.effort.depth
        share = work / (2048 * 12 * 32)
        return round(share**0.5 * (0.2 + 0.3 * width_at(self.network, self.cut) / 16384), 3)

    def run(self, bench: Bench) -> Measured:
        auxiliary, test = attackers_and_private(bench, self.effort, self.seed)
        partition = partition_at(bench.reference(self.network), self.cut)
        quantities, arrays = {}, {}
        for name, text in self.effort.recipes:
            _, attack = read_attack(text)
            rng = Rng(self.seed).child("gpz", self.network, self.cut, name)
            errors = invert(attack, partition, auxiliary, test, rng)
            arrays[name] = errors.numpy()
            quantities[name] = measures.mean_of(
                errors, rng.child("interval"), unit="mse per value", support=(0.0, float("inf"))
            )
        return Measured(quantities=quantities, arrays=arrays)


@dataclass(frozen=True, kw_only=True)
class Floors(Arm):
    """Errors of the trivial answers on the same test images: mean image and class mean."""

    effort: Effort

    @property
    def minutes(self) -> float:
        """Little more than reading the images."""
        return 0.15

    def run(self, bench: Bench) -> Measured:
        auxiliary, test = attackers_and_private(bench, self.effort, self.seed)
        partition = partition_at(bench.reference("vgg"), LOGITS)
        rng = Rng(self.seed)
        arrays = {
            "mean_image": invert(MeanImage(), partition, auxiliary, test, rng).numpy(),
            "class_mean": invert(
                ClassMean(), partition, auxiliary, test, rng, knows_label=True
            ).numpy(),
        }
        return Measured(arrays=arrays)


def attackers_and_private(
    bench: Bench, effort: Effort, seed: int
) -> tuple[LabelledImages, LabelledImages]:
    """The seed's auxiliary images, and the test images, the same for every seed and cut."""
    images = bench.images()
    whole = images.auxiliary
    order = torch.randperm(len(whole), generator=_DRAWN.child("auxiliary").torch())
    chosen = auxiliary_rows(len(whole), effort.auxiliary, seed, order)
    held = torch.randperm(len(images.test), generator=_DRAWN.child("test").torch())
    return whole.take(chosen), images.test.take(held[: effort.test].sort().values)


@torch.no_grad()
def _sent(partition: Partition, x: Tensor) -> Tensor:
    return torch.cat([partition.features(part) for part in x.split(_CHUNK)])


def invert(
    attack: Attack,
    partition: Partition,
    auxiliary: LabelledImages,
    test: LabelledImages,
    rng: Rng,
    *,
    knows_label: bool = False,
) -> Tensor:
    """Squared error per value of every test image, from what is sent in clear."""
    knowledge = white_box(partition, Auxiliary(auxiliary.x, auxiliary.y), knows_label=knows_label)
    fitted = attack.fit(knowledge, rng.child("fit"))
    if test.y is None:
        raise BadData("these experiments need labelled images")
    errors = []
    for start in range(0, len(test), _CHUNK):
        x, y = test.x[start : start + _CHUNK], test.y[start : start + _CHUNK]
        z = _sent(partition, x)[:, None, :]
        seen = Observation(z, partition.cut.layout, y if knows_label else None)
        errors.append(measures.mse_per_image(fitted(seen, rng.child("rebuild", start)), x))
    return torch.cat(errors)


def inversions(network: str, scale: Scale) -> tuple[Inversion, ...]:
    """Every arm of one network, cut by cut."""
    effort = effort_of(scale)
    return tuple(
        Inversion(network=network, cut=cut, effort=effort, seed=seed)
        for cut in PLACES[network]
        for seed in range(scale.seeds)
    )


def floors(scale: Scale) -> tuple[Floors, ...]:
    """The trivial answers, one arm a seed."""
    return tuple(Floors(effort=effort_of(scale), seed=seed) for seed in range(scale.seeds))


def errors_at(
    evidence: Evidence, network: str, cut: str, scale: Scale, attack: str = DECODER
) -> NDArray[np.float64]:
    """Errors (seeds, images) of one attack at one cut.

    Raises:
        ArmMissing: if a seed is missing.
    """
    arms = (
        Inversion(network=network, cut=cut, effort=effort_of(scale), seed=seed)
        for seed in range(scale.seeds)
    )
    return np.stack([evidence.take(arm).arrays[attack].astype(np.float64) for arm in arms])


def errors_of(evidence: Evidence, network: str, scale: Scale) -> NDArray[np.float64]:
    """Errors (cuts, seeds, images) of the decoder at every place of a network."""
    return np.stack([errors_at(evidence, network, cut, scale) for cut in PLACES[network]])


def ratio(
    top: NDArray[np.float64], bottom: NDArray[np.float64], rng: Rng, words: tuple[str, ...] = ()
) -> Quantity:
    """mean(top) / mean(bottom), errors (seeds, images), paired: `log_ratio_over_seeds`, exp."""
    found = measures.log_ratio_over_seeds(
        torch.from_numpy(top)[None], torch.from_numpy(bottom)[None], rng
    )
    value, low, high = (float(np.exp(x)) for x in (found.value, found.low, found.high))
    return Quantity(
        value=value,
        low=min(low, value),
        high=max(high, value),
        unit="",
        kind=Kind.MEASURED,
        n=found.n,
        assumptions=(*found.assumptions, *words),
    )


def abruptness(scale: Scale) -> Experiment:
    """C2."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings = []
        for network in NETWORKS:
            errors = errors_of(evidence, network, scale)
            draws = error_draws(errors, _DRAWN.child("C2", network))
            share = quantity_of(step_share(draws), unit="share", n=errors.shape[2])
            readings.append(
                Reading(measured=ABRUPT.criteria[0].measured, subject=network, quantity=share)
            )
            place = largest_rise(draws).astype(np.float64) + 1
            readings.append(
                Reading(
                    measured=f"place of that step among {len(errors) - 1}",
                    subject=network,
                    quantity=quantity_of(place, unit="step", n=errors.shape[2]),
                )
            )
        return (Finding(claim=ABRUPT, quantities=tuple(readings), seeds=scale.seeds),)

    arms = tuple(arm for network in NETWORKS for arm in inversions(network, scale))
    return Experiment(claims=(ABRUPT,), arms=arms, judge=judge)


def tokens(scale: Scale) -> Experiment:
    """C6."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        first, last, token = (
            errors_at(evidence, "vit", cut, scale) for cut in ("blocks.0", LAST_BLOCK, TOKEN)
        )
        pairs = ((last, first), (token, last))
        readings = tuple(
            Reading(
                measured=criterion.measured,
                subject="vit",
                quantity=ratio(top, bottom, _DRAWN.child("C6", criterion.measured)),
            )
            for criterion, (top, bottom) in zip(TOKENS.criteria, pairs, strict=True)
        )
        return (Finding(claim=TOKENS, quantities=readings, seeds=scale.seeds),)

    effort = effort_of(scale)
    arms = tuple(
        Inversion(network="vit", cut=cut, effort=effort, seed=seed)
        for cut in ("blocks.0", LAST_BLOCK, TOKEN)
        for seed in range(scale.seeds)
    )
    return Experiment(claims=(TOKENS,), arms=arms, judge=judge)


def ceiling(scale: Scale) -> Experiment:
    """C11."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        floor = np.stack([evidence.take(arm).arrays["class_mean"] for arm in floors(scale)])
        readings = []
        for network in NETWORKS:
            etas = {
                cut: ratio(
                    errors_at(evidence, network, cut, scale),
                    floor.astype(np.float64),
                    _DRAWN.child("C11", network, cut),
                )
                for cut in PLACES[network]
            }
            worst = max(etas.values(), key=lambda q: q.value)
            for criterion, found in zip(CEILING.criteria, (worst, etas[LOGITS]), strict=True):
                readings.append(
                    Reading(measured=criterion.measured, subject=network, quantity=found)
                )
            readings += [
                Reading(measured="eta", subject=f"{network} {cut}", quantity=eta)
                for cut, eta in etas.items()
            ]
        return (Finding(claim=CEILING, quantities=tuple(readings), seeds=scale.seeds),)

    arms = tuple(arm for network in NETWORKS for arm in inversions(network, scale))
    return Experiment(claims=(CEILING,), arms=(*arms, *floors(scale)), judge=judge)
