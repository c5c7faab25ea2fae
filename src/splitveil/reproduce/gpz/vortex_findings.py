"""What the trainings under label distributions say of C7, C8, C9 and C13a."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from splitveil.measures import mean_over_seeds
from splitveil.quantities import Kind, Quantity
from splitveil.report.vortex import VortexTrace, vortex_figure
from splitveil.reproduce.claims import Claim, Finding, Reading
from splitveil.reproduce.experiment import ArmMissing, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.gpz import training_claims as claims
from splitveil.reproduce.gpz.probe import (
    error_ratio,
    for_other_seeds,
    over_seeds,
    ratio_over_seeds,
)
from splitveil.reproduce.gpz.training_claims import over_one_hot
from splitveil.reproduce.gpz.vortex import (
    LABELS,
    NEGATIVE,
    ONE_HOT,
    POSITIVE,
    SETTINGS,
    arms,
)
from splitveil.rng import Rng

Runs = dict[str, list[Measured]]
_RNG = Rng(0, ("gpz", "findings"))
_SIDES = (("LS+", POSITIVE), ("LS-", NEGATIVE))


def vortex(scale: Scale) -> Experiment:
    """Trainings from scratch under three label distributions."""
    return Experiment(
        claims=claims.VORTEX,
        arms=arms(scale.seeds),
        judge=lambda evidence: judge(evidence, scale),
    )


def judge(evidence: Evidence, scale: Scale) -> tuple[Finding, ...]:
    """One finding a claim, from the networks whose seeds have all three trainings."""
    runs = {name: complete(evidence, name, scale) for name in SETTINGS}
    found = {name: by_label for name, by_label in runs.items() if by_label[ONE_HOT]}
    if not found:
        raise ArmMissing("no network has a seed with all three label distributions")
    readings = {
        claims.CONTRACTS: _late(found, "radius", "R_c^2", "LS+"),
        claims.EXPANDS: _late(found, "radius", "R_c^2", "LS-"),
        claims.SHALLOW: _early(found, "radius", "R_c^2"),
        claims.SCALE_FREE: (
            *_late(found, "nc1", "nc1", "LS+"),
            *_late(found, "nc1", "nc1", "LS-"),
            *_early(found, "nc1", "nc1"),
        ),
        claims.UTILITY: tuple(_accuracy(name, runs) for name, runs in found.items()),
        claims.PRIVACY: tuple(_privacy(found)),
        claims.DECODED: tuple(_decoded(found)),
        claims.CHANCE: tuple(_chance(found)),
    }
    note = _note(runs, scale)
    seeds = max(len(by_label[ONE_HOT]) for by_label in found.values())
    return tuple(_finding(claim, own, seeds, note) for claim, own in readings.items())


def draw(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """The vortex of every network of the first seed, as small multiples.

    Raises:
        ArmMissing: if no network has all three trainings of a seed.
    """
    drawn = 0
    for name in SETTINGS:
        runs = complete(evidence, name, scale)
        if not runs[ONE_HOT]:
            continue
        traces = [_trace(name, labels, runs[labels][0]) for labels in LABELS]
        picture = vortex_figure(traces)
        (folder / f"vortex-{name}.svg").write_text(picture, encoding="utf-8")
        drawn += 1
    if not drawn:
        raise ArmMissing("no network has all three trainings of a seed")


def complete(evidence: Evidence, network: str, scale: Scale) -> Runs:
    """The trainings of a network by label distribution, of seeds that have all three."""
    by_seed: dict[int, dict[str, Measured]] = {}
    for arm in arms(scale.seeds, [network]):
        measured = evidence.find(arm)
        if measured is not None:
            by_seed.setdefault(arm.seed, {})[arm.labels] = measured
    whole = [by_seed[seed] for seed in sorted(by_seed) if len(by_seed[seed]) == len(LABELS)]
    return {labels: [runs[labels] for runs in whole] for labels in LABELS}


def last(measured: Measured, place: int, measure: str) -> float:
    """A measure after the last epoch at the place-th watched cut; the logits are the last place."""
    cuts: Any = measured.details["cuts"]
    states: Any = measured.details["states"]
    return Quantity.from_json(states[-1]["cuts"][cuts[place]["id"]][measure]).value


def ratio(runs: Runs, labels: str, place: int, measure: str) -> Quantity:
    """Ratio of a measure to that of one-hot training, over seeds."""
    logs = [
        math.log(last(one, place, measure) / last(base, place, measure))
        for one, base in zip(runs[labels], runs[ONE_HOT], strict=True)
    ]
    return ratio_over_seeds(logs, kind=Kind.PROXY)


def _late(found: dict[str, Runs], measure: str, written: str, side: str) -> tuple[Reading, ...]:
    labels = dict(_SIDES)[side]
    return tuple(
        Reading(
            measured=over_one_hot(written, side, place),
            subject=name,
            quantity=ratio(runs, labels, index, measure),
        )
        for name, runs in found.items()
        for index, place in ((-2, "the last cut"), (-1, "the logits"))
    )


def _early(found: dict[str, Runs], measure: str, written: str) -> tuple[Reading, ...]:
    return tuple(
        Reading(
            measured=over_one_hot(written, side, place),
            subject=name,
            quantity=ratio(runs, labels, index, measure),
        )
        for name, runs in found.items()
        for side, labels in _SIDES
        for index, place in ((0, "the first cut"), (1, "the second cut"))
    )


def _accuracy(name: str, runs: Runs) -> Reading:
    points = [
        100 * (one.arrays["right"] - base.arrays["right"])
        for one, base in zip(runs[POSITIVE], runs[ONE_HOT], strict=True)
    ]
    stacked = torch.from_numpy(np.stack(points))[:, None]
    return Reading(
        measured="accuracy of LS+ less one-hot, points",
        subject=name,
        quantity=for_other_seeds(
            mean_over_seeds(stacked, _RNG.child("accuracy", name), unit="points"), len(points)
        ),
    )


def _privacy(found: dict[str, Runs]) -> Iterable[Reading]:
    for name, runs in found.items():
        cuts = SETTINGS[name].cuts
        yield _errors("ridge MSE of LS+ over one-hot at the last cut", name, runs, cuts[-1])
        for cut in cuts[:-1]:
            yield _errors("ridge MSE of LS+ over one-hot, other cuts", f"{name} {cut}", runs, cut)
        yield _errors(
            "ridge MSE of LS+ over one-hot at the last cut, label unknown",
            name,
            runs,
            cuts[-1],
            kind="blind",
        )


def _decoded(found: dict[str, Runs]) -> Iterable[Reading]:
    if "vgg" in found:
        yield _errors(
            "decoder MSE of LS+ over one-hot at the last cut",
            "vgg",
            found["vgg"],
            "pool5",
            kind="decoder",
        )


def _errors(measured: str, subject: str, runs: Runs, cut: str, kind: str = "ridge") -> Reading:
    top, bottom = (
        [one.arrays[f"{kind}/{cut}"] for one in runs[labels]] for labels in (POSITIVE, ONE_HOT)
    )
    rng = _RNG.child("errors", subject, kind)
    return Reading(measured=measured, subject=subject, quantity=error_ratio(top, bottom, rng))


def _chance(found: dict[str, Runs]) -> Iterable[Reading]:
    measured = "S_B/S_T over (K-1)/(N-1), permuted probe"
    for name, runs in found.items():
        by_cut: list[Any] = [one.details["permuted"] for one in runs[ONE_HOT]]
        for cut in SETTINGS[name].cuts:
            shares = [share for one in by_cut for share in one[cut]]
            quantity = over_seeds(shares, unit="ratio")
            yield Reading(measured=measured, subject=f"{name} {cut}", quantity=quantity)
        pooled = [share for one in by_cut for cut in SETTINGS[name].cuts for share in one[cut]]
        per_turn = np.mean(np.reshape(pooled, (len(by_cut), len(SETTINGS[name].cuts), -1)), axis=1)
        yield Reading(
            measured=measured,
            subject=name,
            quantity=over_seeds(per_turn.ravel().tolist(), unit="ratio"),
        )


def _note(runs: dict[str, Runs], scale: Scale) -> str:
    words = []
    for name, by_label in runs.items():
        seeds = len(by_label[ONE_HOT])
        if seeds < scale.seeds:
            words.append(f"{name} not run" if not seeds else f"{name}: {seeds} seeds")
    return "; ".join(words)


def _finding(claim: Claim, readings: Sequence[Reading], seeds: int, note: str) -> Finding:
    return Finding(claim=claim, quantities=tuple(readings), seeds=seeds, note=note)


def _trace(network: str, labels: str, measured: Measured) -> VortexTrace:
    cuts: Any = measured.details["cuts"]
    states: Any = measured.details["states"]
    return VortexTrace(
        labels=labels,
        model=f"{network}, from scratch",
        cuts=tuple(cuts),
        states=tuple(states),
        kept=len(states) - 1,
    )
