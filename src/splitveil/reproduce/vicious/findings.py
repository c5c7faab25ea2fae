"""From records to readings: ratios, slopes and rank correlations over seeds and test images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitveil.quantities import Quantity
from splitveil.reproduce.claims import Claim, Finding, Reading
from splitveil.reproduce.draws import error_draws, quantity_of, rank_correlation
from splitveil.reproduce.experiment import ArmMissing, Evidence, Experiment, Scale
from splitveil.reproduce.gpz.attacks import ratio
from splitveil.reproduce.vicious.arms import FREE, Paired, Yardsticks
from splitveil.reproduce.vicious.claims import (
    FAMILIES,
    KEPT,
    MORE,
    ORDER,
    RAW,
    SETS,
    SIMPLE,
    SIMPLER,
    SWEPT,
    TRADED,
    WEIGHTS,
    WORSE,
)
from splitveil.rng import Rng

_DRAWN = Rng(0).child("vicious", "intervals")
_WORDS = ("one set of training images",)


def seeded(evidence: Evidence, arm: Paired, name: str, scale: Scale) -> NDArray[np.float64]:
    """One number an image (seeds, images) of an arm and its repetitions.

    Raises:
        ArmMissing: if a seed is missing.
    """
    own = (again(arm, seed) for seed in range(scale.seeds))
    return np.stack([evidence.take(one).arrays[name] for one in own]).astype(np.float64)


def again(arm: Paired, seed: int) -> Paired:
    """The same arm with another seed."""
    return Paired(
        images=arm.images,
        kind=arm.kind,
        release=arm.release,
        weight=arm.weight,
        side=arm.side,
        steps=arm.steps,
        seed=seed,
    )


def _repeated(arms: Sequence[Paired], scale: Scale) -> tuple[Paired, ...]:
    return tuple(again(arm, seed) for seed in range(scale.seeds) for arm in arms)


def _of(claim: Claim, which: int, subject: str, found: Quantity) -> tuple[Claim, Reading]:
    measured = claim.criteria[which].measured
    return claim, Reading(measured=measured, subject=subject, quantity=found)


def _beside(claim: Claim, measured: str, subject: str, found: Quantity) -> tuple[Claim, Reading]:
    return claim, Reading(measured=measured, subject=subject, quantity=found)


def _gathered(
    claims: Sequence[Claim],
    read: "Sequence[tuple[str, Sequence[tuple[Claim, Reading]]]]",
    missing: Sequence[str],
    scale: Scale,
) -> tuple[Finding, ...]:
    note = f"{len(missing)} missing, the first because {missing[0]}" if missing else ""
    return tuple(
        Finding(
            claim=claim,
            quantities=tuple(
                reading for _, found in read for own, reading in found if own is claim
            ),
            seeds=scale.seeds,
            note=note,
        )
        for claim in claims
    )


def _mean(values: NDArray[np.float64], unit: str, *path: str) -> Quantity:
    draws = error_draws(values[None], _DRAWN.child(*path))[:, 0]
    return quantity_of(draws, unit=unit, n=values.shape[1], words=_WORDS)


def arms_compared(scale: Scale) -> Experiment:
    """A1, A2, A3, A5 and A6."""
    claims = (KEPT, WORSE, ORDER, RAW, SIMPLE)
    yardsticks = tuple(Yardsticks(images=name) for name in SETS)
    trained = tuple(arm for name in SETS for arm in _four(name))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        read, missing = [], []
        for name in SETS:
            try:
                read.append((name, _of_one_set(evidence, name, scale)))
            except ArmMissing as error:
                missing.append(str(error))
        for simple, textured in SIMPLER:
            try:
                read.append((simple, _of_two(evidence, simple, textured, scale)))
            except ArmMissing as error:
                missing.append(str(error))
        return _gathered(claims, read, missing, scale)

    return Experiment(claims=claims, arms=(*yardsticks, *_repeated(trained, scale)), judge=judge)


def _four(name: str) -> tuple[Paired, Paired, Paired, Paired]:
    """Post hoc, vicious, autoencoder, and vicious with probabilities released."""
    return (
        Paired(images=name, weight=0),
        Paired(images=name),
        Paired(images=name, kind=FREE),
        Paired(images=name, release="softmax"),
    )


def _of_one_set(evidence: Evidence, name: str, scale: Scale) -> list[tuple[Claim, Reading]]:
    after, vicious, free, soft = _four(name)
    mse = {arm: seeded(evidence, arm, "mse", scale) for arm in (after, vicious, free, soft)}
    risk = {arm: seeded(evidence, arm, "risk", scale) for arm in (after, vicious)}
    right = [seeded(evidence, arm, "right", scale) for arm in (vicious, after)]
    yardstick = evidence.take(Yardsticks(images=name)).arrays
    mean = np.repeat(yardstick["mse mean"][None].astype(np.float64), scale.seeds, 0)
    draws = error_draws(np.stack([mean, mse[vicious], mse[free]]), _DRAWN.child(name, "share"))
    share = (draws[:, 0] - draws[:, 1]) / (draws[:, 0] - draws[:, 2])
    n = mean.shape[1]
    path = _DRAWN.child(name)
    gained = ratio(mse[after], mse[vicious], path, _WORDS)
    found = [
        _of(KEPT, 0, name, ratio(right[0], right[1], path, _WORDS)),
        _of(WORSE, 0, name, gained),
        _of(WORSE, 1, name, ratio(risk[vicious], risk[after], path, _WORDS)),
        _of(WORSE, 2, name, _mean(risk[after], "ratio", name, "after")),
        _of(ORDER, 0, name, ratio(mse[vicious], mse[free], path, _WORDS)),
        _of(ORDER, 1, name, gained),
        _of(ORDER, 2, name, quantity_of(share, unit="share", n=n, words=_WORDS)),
        _of(RAW, 0, name, ratio(mse[soft], mse[vicious], path, _WORDS)),
    ]
    for which, values in (("vicious", right[0]), ("honest", right[1])):
        found.append(_beside(KEPT, f"accuracy, {which}", name, _mean(values, "share", name, which)))
    found.append(
        _beside(WORSE, "risk, vicious", name, _mean(risk[vicious], "ratio", name, "vicious"))
    )
    linear = np.repeat(yardstick["mse"][None].astype(np.float64), scale.seeds, 0)
    for which, values in (
        ("mean image", mean),
        ("linear code", linear),
        ("post hoc", mse[after]),
        ("vicious", mse[vicious]),
        ("autoencoder", mse[free]),
    ):
        found.append(
            _beside(ORDER, f"MSE, {which}", name, _mean(values, "mse per value", name, which))
        )
    return found


def _of_two(
    evidence: Evidence, simple: str, textured: str, scale: Scale
) -> list[tuple[Claim, Reading]]:
    """Two sets have nothing to be paired by: their draws are independent."""
    means, shares, fewest = [], [], 0
    for name in (simple, textured):
        vicious = Paired(images=name)
        values = seeded(evidence, vicious, "risk", scale)
        means.append(error_draws(values[None], _DRAWN.child("A6", name))[:, 0])
        mean = evidence.take(Yardsticks(images=name)).arrays["mse mean"].astype(np.float64)
        both = np.stack(
            [seeded(evidence, vicious, "mse", scale), np.repeat(mean[None], scale.seeds, 0)]
        )
        drawn = error_draws(both, _DRAWN.child("A6", name, "share"))
        shares.append(drawn[:, 0] / drawn[:, 1])
        fewest = values.shape[1] if not fewest else min(fewest, values.shape[1])
    subject = f"{simple} over {textured}"
    risk = quantity_of(means[0] / means[1], unit="", n=fewest, words=_WORDS)
    share = quantity_of(shares[0] / shares[1], unit="", n=fewest, words=_WORDS)
    return [
        _of(SIMPLE, 0, subject, risk),
        _beside(SIMPLE, "MSE over that of the mean image, simple over textured", subject, share),
    ]


def outputs_counted(scale: Scale) -> Experiment:
    """A4."""
    arms = tuple(
        Paired(images=f"{family}-{count}")
        for family, counts in FAMILIES.items()
        for count in counts
    )

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        read, missing = [], []
        for family, counts in FAMILIES.items():
            try:
                read.append((family, _of_counts(evidence, family, counts, scale)))
            except ArmMissing as error:
                missing.append(str(error))
        return _gathered((MORE,), read, missing, scale)

    return Experiment(claims=(MORE,), arms=_repeated(arms, scale), judge=judge)


def _of_counts(
    evidence: Evidence, family: str, counts: Sequence[int], scale: Scale
) -> list[tuple[Claim, Reading]]:
    own = [Paired(images=f"{family}-{count}") for count in counts]
    errors = np.stack([seeded(evidence, arm, "mse", scale) for arm in own])
    risks = np.stack([seeded(evidence, arm, "risk", scale) for arm in own])
    drawn = error_draws(errors, _DRAWN.child(family, "mse"))
    doublings = np.log2(np.array(counts, dtype=np.float64))
    away = doublings - doublings.mean()
    slope = np.log(drawn) @ away / (away @ away)
    ranks = _ranked(risks, doublings, family, "risk")
    n = errors.shape[2]
    found = [
        _of(MORE, 0, family, quantity_of(drawn[:, 0] / drawn[:, -1], unit="", n=n, words=_WORDS)),
        _of(MORE, 1, family, quantity_of(slope, unit="", n=n, words=_WORDS)),
        _of(MORE, 2, family, ranks),
    ]
    for count, error, risk, arm in zip(counts, errors, risks, own, strict=True):
        subject = f"{family}, {count}"
        found += [
            _beside(MORE, "MSE", subject, _mean(error, "mse per value", subject)),
            _beside(MORE, "risk", subject, _mean(risk, "ratio", subject, "risk")),
            _beside(
                MORE,
                "accuracy",
                subject,
                _mean(seeded(evidence, arm, "right", scale), "share", subject, "right"),
            ),
        ]
    return found


def _ranked(values: NDArray[np.float64], order: NDArray[np.float64], *path: str) -> Quantity:
    drawn = error_draws(values, _DRAWN.child(*path))
    ranks = rank_correlation(drawn, np.broadcast_to(order, drawn.shape))
    # numbers that are all equal rise with nothing
    ranks = np.nan_to_num(ranks)
    return quantity_of(ranks, unit="", n=values.shape[2], words=_WORDS)


def weights_swept(scale: Scale) -> Experiment:
    """A8."""
    arms = tuple(Paired(images=name, weight=weight) for name in SWEPT for weight in WEIGHTS)

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        read, missing = [], []
        for name in SWEPT:
            try:
                read.append((name, _of_weights(evidence, name, scale)))
            except ArmMissing as error:
                missing.append(str(error))
        return _gathered((TRADED,), read, missing, scale)

    return Experiment(claims=(TRADED,), arms=_repeated(arms, scale), judge=judge)


def _of_weights(evidence: Evidence, name: str, scale: Scale) -> list[tuple[Claim, Reading]]:
    own = [Paired(images=name, weight=weight) for weight in WEIGHTS]
    order = np.array(WEIGHTS, dtype=np.float64)
    risks = np.stack([seeded(evidence, arm, "risk", scale) for arm in own])
    right = np.stack([seeded(evidence, arm, "right", scale) for arm in own])
    found = [
        _of(TRADED, 0, name, _ranked(risks, order, name, "swept risk")),
        _of(TRADED, 1, name, _ranked(right, order, name, "swept accuracy")),
    ]
    for weight, risk, hits in zip(WEIGHTS, risks, right, strict=True):
        subject = f"{name}, weight {weight:.2g}"
        found += [
            _beside(TRADED, "risk", subject, _mean(risk, "ratio", subject)),
            _beside(TRADED, "accuracy", subject, _mean(hits, "share", subject, "right")),
        ]
    return found
