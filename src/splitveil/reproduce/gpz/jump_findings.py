"""What other data and interventions say of C13b, C13c and C15."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import error_draws, quantity_of
from splitveil.reproduce.experiment import ArmMissing, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.gpz import elsewhere
from splitveil.reproduce.gpz import training_claims as claims
from splitveil.reproduce.gpz.elsewhere import CUTS, POOLS, permuted_arms
from splitveil.reproduce.gpz.interventions import (
    BLOCKS,
    CORE,
    PAIRED,
    TokenArm,
    column_arms,
)
from splitveil.reproduce.gpz.probe import error_ratio, for_other_seeds, over_seeds
from splitveil.rng import Rng

_RNG = Rng(0, ("gpz", "jump"))
_KINDS = ((False, "no skips"), (True, "skips"))


def control(scale: Scale) -> Experiment:
    """Zones of bundled networks under permuted labels."""
    return Experiment(claims=(claims.NO_ZONE,), arms=permuted_arms(), judge=judge_control)


def other_data(scale: Scale) -> Experiment:
    """Zone and jump on other data, shifted attackers, and z of equal sizes."""
    return Experiment(
        claims=claims.ELSEWHERE,
        arms=elsewhere.arms(scale.seeds),
        judge=lambda evidence: judge_elsewhere(evidence, scale),
    )


def columns(scale: Scale) -> Experiment:
    """Interventions at fixed depth, width and dimension."""
    return Experiment(
        claims=claims.COLUMN,
        arms=column_arms(scale.seeds),
        judge=lambda evidence: judge_columns(evidence, scale),
    )


def token(scale: Scale) -> Experiment:
    """All tokens and the class token at equal dimension."""
    return Experiment(
        claims=(claims.CLASS_TOKEN,),
        arms=tuple(
            TokenArm(seed=seed, project=project)
            for seed in range(scale.seeds)
            for project in (True, False)
        ),
        judge=lambda evidence: judge_tokens(evidence, scale),
    )


def judge_control(evidence: Evidence) -> tuple[Finding, ...]:
    """C13b."""
    readings = []
    for arm in permuted_arms():
        zone: Any = evidence.take(arm).details["zone"]
        readings.append(
            Reading(
                measured="zones found under permuted labels",
                subject=arm.network,
                quantity=Quantity.exact(
                    float(zone["start"] is not None), unit="zones", kind=Kind.MEASURED, n=1
                ),
            )
        )
    return (Finding(claim=claims.NO_ZONE, quantities=tuple(readings), seeds=1),)


def judge_elsewhere(evidence: Evidence, scale: Scale) -> tuple[Finding, ...]:
    """C15a, C15b, C15i and C15j from the kinds of data that were run."""
    by_data: dict[str, list[Measured]] = {name: [] for name in elsewhere.STUDIES}
    for arm in elsewhere.arms(scale.seeds):
        measured = evidence.find(arm)
        if measured is not None:
            by_data[arm.data].append(measured)
    note = _missing(by_data, scale)
    done = {name: runs for name, runs in by_data.items() if runs}
    if not done:
        raise ArmMissing("no kind of data was run")
    seeds = max(map(len, done.values()))
    fashion = by_data["fashion-mnist"]
    readings: dict[Any, Iterable[Reading]] = {
        claims.ZONE_AT_JUMP: _near_jump(done, scale.seeds),
        claims.SHIFTED: _shifted(done, scale.seeds),
        claims.PADDING: _padding(fashion) if fashion else (),
        claims.EQUAL_SIZE: _equal_size(fashion) if fashion else (),
    }
    return tuple(
        Finding(claim=claim, quantities=tuple(own), seeds=seeds, note=note)
        for claim, own in readings.items()
    )


def judge_columns(evidence: Evidence, scale: Scale) -> tuple[Finding, ...]:
    """C13c and C15c to C15g from the seeds that have every condition with ten classes."""
    by_seed: dict[int, dict[tuple[bool, bool, int], Measured]] = {}
    for arm in column_arms(scale.seeds):
        measured = evidence.find(arm)
        if measured is not None:
            key = (arm.skips, arm.permuted, arm.classes)
            by_seed.setdefault(arm.seed, {})[key] = measured
    whole = [by_seed[s] for s in sorted(by_seed) if by_seed[s].keys() >= set(CORE)]
    if not whole:
        raise ArmMissing("no seed has every condition of the columns")
    paired = [seed for seed in whole if seed.keys() >= set(PAIRED)]
    note = "" if len(whole) == scale.seeds else f"{len(whole)} seeds"
    readings = {
        claims.UNLEARNT: _unlearnt(whole),
        claims.TRUE_LABELS: _true_labels(whole),
        claims.SKIPS: _skips(whole),
        claims.CLASS_COUNT: _class_count(paired, scale.seeds) if paired else (),
        claims.STEPS: (_correlations(whole)[0],),
        claims.NOT_DEPTH: _correlations(whole)[1:],
    }
    return tuple(
        Finding(claim=claim, quantities=tuple(own), seeds=len(whole), note=note)
        for claim, own in readings.items()
    )


def judge_tokens(evidence: Evidence, scale: Scale) -> tuple[Finding, ...]:
    """C15h."""
    readings = []
    seeds = 0
    for project, words in ((True, "both of 80 values"), (False, "as they are")):
        arms = [TokenArm(seed=seed, project=project) for seed in range(scale.seeds)]
        found = [one for arm in arms if (one := evidence.find(arm)) is not None]
        if not found:
            raise ArmMissing("no trained vit was attacked")
        seeds = max(seeds, len(found))
        top, bottom = ([one.arrays[n] for one in found] for n in ("class token", "all tokens"))
        readings.append(
            Reading(
                measured=f"MSE(class token) / MSE(all tokens), {words}",
                subject="vit",
                quantity=error_ratio(top, bottom, _RNG.child("tokens", project)),
            )
        )
    note = "" if seeds == scale.seeds else f"{seeds} seeds"
    finding = Finding(claim=claims.CLASS_TOKEN, quantities=tuple(readings), seeds=seeds, note=note)
    return (finding,)


def _near_jump(done: dict[str, list[Measured]], seeds: int) -> Iterable[Reading]:
    for name, runs in done.items():
        zones: list[Any] = [one.details["zone"] for one in runs]
        rules = {
            "the zone": [_near([zone["start"]], zone["jump"]) for zone in zones],
            "a mark of the paper's rule": [_near(zone["paper"], zone["jump"]) for zone in zones],
            "the largest loss of dimension": [
                _near([zone["dimension"]], zone["jump"]) for zone in zones
            ],
        }
        for rule, hits in rules.items():
            yield Reading(
                measured=f"share of seeds with {rule} within one cut of the jump",
                subject=name,
                quantity=_share(hits, seeds),
            )


def _shifted(done: dict[str, list[Measured]], seeds: int) -> Iterable[Reading]:
    for name, runs in done.items():
        hits = [abs(_jump(one, "own") - _jump(one, "shifted")) <= 1 for one in runs]
        yield Reading(
            measured="share of seeds with the shifted attacker's jump within one cut",
            subject=name,
            quantity=_share(hits, seeds),
        )
        last = CUTS[-1]
        other, own = ([one.arrays[f"{side}/{last}"] for one in runs] for side in ("shifted", "own"))
        yield Reading(
            measured=f"MSE(shifted) / MSE(own) at {last}",
            subject=name,
            quantity=error_ratio(other, own, _RNG.child("shifted", name)),
        )


def _padding(runs: Sequence[Measured]) -> Iterable[Reading]:
    for pool in POOLS:
        padded, own = ([one.arrays[f"{how}/{pool}"] for one in runs] for how in ("padded", "own"))
        yield Reading(
            measured="MSE(z padded to 4,096 values) / MSE(z)",
            subject=pool,
            quantity=error_ratio(padded, own, _RNG.child("padding", pool)),
        )


def _equal_size(runs: Sequence[Measured]) -> Iterable[Reading]:
    rows = [f"{how}/{pool}" for how in ("own", "projected") for pool in (POOLS[0], POOLS[-1])]
    logs = _logs(runs, [[one.arrays[row] for one in runs] for row in rows], "projected")
    rise, left = logs[:, 1] - logs[:, 0], logs[:, 3] - logs[:, 2]
    for measured, draws, unit in (
        ("rise at 128 values over the rise without projection", left / rise, "ratio"),
        ("rise without projection", rise, "log ratio"),
    ):
        yield Reading(measured=measured, subject="vgg", quantity=_drawn(draws, runs, unit))


def _unlearnt(whole: Sequence[Any]) -> Iterable[Reading]:
    for skips, word in _KINDS:
        runs = [seed[skips, True, 10] for seed in whole]
        shares = np.array([one.details["permuted_shares"] for one in runs])
        for subject, values in (
            (word, shares.mean(1).ravel()),
            *((f"{word} block {b + 1}", shares[:, b].ravel()) for b in range(BLOCKS)),
        ):
            yield Reading(
                measured="S_B/S_T over (K-1)/(N-1), trained on permuted labels",
                subject=subject,
                quantity=over_seeds(values.tolist(), unit="ratio"),
            )


def _true_labels(whole: Sequence[Any]) -> Iterable[Reading]:
    for skips, word in _KINDS:
        runs = [[seed[skips, permuted, 10] for seed in whole] for permuted in (False, True)]
        yield _rise_difference("rise with true labels less rise with permuted ones", word, *runs)
        for name, side in (("true", runs[0]), ("permuted", runs[1])):
            yield _rise(f"rise, {name} labels", word, side)


def _skips(whole: Sequence[Any]) -> Iterable[Reading]:
    without, with_skips = ([seed[skips, False, 10] for seed in whole] for skips in (False, True))
    yield _rise_difference(
        "rise without skips less rise with skips", "true labels", without, with_skips
    )
    falls = [fall(a) - fall(b) for a, b in zip(without, with_skips, strict=True)]
    yield Reading(
        measured="fall of ln nc1 without skips less that with skips",
        subject="true labels",
        quantity=over_seeds(falls, unit="log ratio", kind=Kind.PROXY),
    )


def _class_count(whole: Sequence[Any], seeds: int) -> Iterable[Reading]:
    for skips, word in _KINDS:
        pairs = [(seed[skips, False, 10], seed[skips, False, 2]) for seed in whole]
        rises = [rise(ten) - rise(two) for ten, two in pairs]
        falls = [fall(ten) - fall(two) for ten, two in pairs]
        alike = [a * b > 0 for a, b in zip(rises, falls, strict=True)]
        yield Reading(
            measured="share of seeds in which rise and fall differ alike",
            subject=word,
            quantity=_share(alike, seeds),
        )
        yield Reading(
            measured="rise with ten classes less rise with two",
            subject=word,
            quantity=over_seeds(rises, unit="log ratio"),
        )
        yield Reading(
            measured="fall of ln nc1 with ten classes less that with two",
            subject=word,
            quantity=over_seeds(falls, unit="log ratio", kind=Kind.PROXY),
        )


def _correlations(whole: Sequence[Any]) -> tuple[Reading, ...]:
    with_fall, with_depth = [], []
    for seed in whole:
        runs = [seed[condition] for condition in CORE]
        steps = [np.diff(np.log(one.arrays["errors"].mean(1))) for one in runs]
        falls = [-np.diff(np.log(one.details["nc1"])) for one in runs]
        depth = np.tile(np.arange(BLOCKS - 1), len(steps))
        rises = np.concatenate(steps)
        with_fall.append(float(spearmanr(rises, np.concatenate(falls)).statistic))
        with_depth.append(float(spearmanr(rises, depth).statistic))
    less = [a - b for a, b in zip(with_fall, with_depth, strict=True)]
    return tuple(
        Reading(measured=name, subject="all conditions", quantity=over_seeds(values, unit=""))
        for name, values in (
            ("rank correlation of rise and fall over steps", with_fall),
            ("that correlation less the one with depth", less),
            ("rank correlation of rise and depth", with_depth),
        )
    )


def rise(measured: Measured) -> float:
    """ln(error after the last block / error after the first)."""
    means = measured.arrays["errors"].mean(1)
    return math.log(means[-1] / means[0])


def fall(measured: Measured) -> float:
    """ln(nc1 after the first block / nc1 after the last)."""
    nc1: Any = measured.details["nc1"]
    return math.log(nc1[0] / nc1[-1])


def _rise(measured: str, subject: str, runs: Sequence[Measured]) -> Reading:
    logs = _logs(runs, [[one.arrays["errors"][b] for one in runs] for b in (0, -1)], subject)
    return Reading(
        measured=measured,
        subject=subject,
        quantity=_drawn(logs[:, 1] - logs[:, 0], runs, "log ratio"),
    )


def _rise_difference(
    measured: str, subject: str, first: Sequence[Measured], second: Sequence[Measured]
) -> Reading:
    rows = [[one.arrays["errors"][b] for one in runs] for runs in (first, second) for b in (0, -1)]
    logs = _logs(first, rows, f"{measured} {subject}")
    return Reading(
        measured=measured,
        subject=subject,
        quantity=_drawn((logs[:, 1] - logs[:, 0]) - (logs[:, 3] - logs[:, 2]), first, "log ratio"),
    )


def _logs(
    runs: Sequence[Measured], rows: Sequence[Sequence[NDArray[np.float64]]], name: str
) -> NDArray[np.float64]:
    """Logarithms of mean errors, images and seeds drawn together for all rows."""
    errors = np.stack([np.stack(row) for row in rows])
    return np.log(error_draws(errors, _RNG.child("draws", name)))


def _drawn(draws: NDArray[np.float64], runs: Sequence[Measured], unit: str) -> Quantity:
    """What was drawn for all images and seeds of some runs."""
    images = next(iter(runs[0].arrays.values())).shape[-1]
    found = quantity_of(draws, unit=unit, n=images, words=(f"{len(runs)} seeds",))
    return for_other_seeds(found, len(runs))


def _jump(measured: Measured, side: str) -> int:
    """The step of cuts at which an attacker's error rises most."""
    means = [float(measured.arrays[f"{side}/{cut}"].mean()) for cut in CUTS]
    return int(np.argmax(np.diff(np.log(means))))


def _near(marks: Sequence[str | None], jump: str | None) -> bool:
    """Whether a mark lies at the jump or next to it."""
    if jump is None:
        return False
    places = [CUTS.index(mark) for mark in marks if mark is not None]
    return any(abs(place - CUTS.index(jump)) <= 1 for place in places)


def _missing(by_data: dict[str, list[Measured]], scale: Scale) -> str:
    words = [
        f"{name} not run" if not runs else f"{name}: {len(runs)} seeds"
        for name, runs in by_data.items()
        if len(runs) < scale.seeds
    ]
    return "; ".join(words)


def _share(hits: Sequence[bool], seeds: int) -> Quantity:
    """Share of seeds, between none and all of those that were not run."""
    count, n = sum(map(bool, hits)), len(hits)
    total = max(seeds, n)
    return Quantity(
        value=count / n,
        low=count / total,
        high=(count + total - n) / total,
        unit="share",
        kind=Kind.MEASURED,
        n=n,
    )
