"""From records to readings: net accuracies over classes and seeds, and what they say."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from splitveil.errors import BadData
from splitveil.quantities import Quantity
from splitveil.reproduce.claims import Claim, Finding, Reading
from splitveil.reproduce.draws import quantity_of, rank_correlation
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Scale
from splitveil.reproduce.tldmi import claims as c
from splitveil.reproduce.tldmi.attacked import (
    STEPS,
    Attacked,
    Judged,
    PublishedPrior,
    SharedPrior,
    Weighed,
    attacked_by,
    importance,
)
from splitveil.reproduce.tldmi.images import CLASSES
from splitveil.reproduce.tldmi.networks import Body, Network
from splitveil.reproduce.tldmi.table import Draws, Table, drawn, words

_SAME = 0.02
"""Accuracies further apart than this are not the same: C4 then compares other things."""


class Unread(BadData):
    """Why a claim cannot be decided, with what was read of it all the same."""

    def __init__(self, reason: str, readings: Sequence[Reading]) -> None:
        super().__init__(reason)
        self.readings = tuple(readings)


def over(top: Draws, bottom: Draws) -> Draws:
    """Ratio; draws of the denominator below a billionth count as that, so they widen the interval.

    Raises:
        BadData: if what is divided by is not above 0 in the middle 95 % of its draws: no attack
            succeeded there, so that nothing can be said of a share of it.
    """
    needs(bottom)
    return top / np.maximum(bottom, 1e-9)


def needs(net: Draws) -> None:
    """Refuse to compare attacks of which even the one on the undefended network adds nothing.

    Raises:
        BadData: if its net accuracy is not above 0 in the middle 95 % of its draws.
    """
    if not float(np.quantile(net[1:], 0.025)) > 0 or not net[0] > 0:
        raise BadData("the attack on the undefended network adds nothing to public images")


def reading(claim: Claim, which: int, draws: Draws, unit: str = "ratio") -> Reading:
    """What one criterion of a claim is about."""
    return Reading(
        measured=claim.criteria[which].measured, subject="vgg", quantity=_quantity(draws, unit)
    )


def beside(measured: str, subject: str, draws: Draws, unit: str = "share") -> Reading:
    """A number that decides nothing."""
    return Reading(measured=measured, subject=subject, quantity=_quantity(draws, unit))


def _quantity(draws: Draws, unit: str) -> Quantity:
    return quantity_of(draws, unit=unit, n=CLASSES, words=("classes are independent draws",))


Read = Callable[[Table], Sequence[Reading]]


def experiment(
    claim: Claim,
    scale: Scale,
    arms: Sequence[Arm],
    read: Read,
    attacks: Callable[[Scale], type[Attacked]] = attacked_by,
) -> Experiment:
    """One claim, read from a table; what cannot be read leaves it undecided, with the reason."""

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        try:
            readings = tuple(read(Table(evidence, scale, attacks(scale))))
        except BadData as error:
            if isinstance(error, ArmMissing):
                raise
            kept = _worded(error.readings, scale) if isinstance(error, Unread) else ()
            return (Finding(claim=claim, quantities=kept, seeds=scale.seeds, note=str(error)),)
        return (Finding(claim=claim, quantities=_worded(readings, scale), seeds=scale.seeds),)

    return Experiment(claims=(claim,), arms=tuple(arms), judge=judge)


def _worded(readings: Sequence[Reading], scale: Scale) -> tuple[Reading, ...]:
    """Every reading says which seeds stand behind it."""
    return tuple(
        replace(
            one,
            quantity=replace(
                one.quantity, assumptions=(*one.quantity.assumptions, *words(scale.seeds))
            ),
        )
        for one in readings
    )


def arms_of(scale: Scale, pairs: Sequence[tuple[str, str]], extra: Sequence[str] = ()) -> list[Arm]:
    """Bodies, networks and attacks, seed by seed."""
    defences = list(dict.fromkeys((*(defence for defence, _ in pairs), *extra)))
    prior = SharedPrior() if scale.small else PublishedPrior()
    found: list[Arm] = [Judged(), prior] if pairs else []
    attacks = attacked_by(scale)
    for seed in range(scale.seeds):
        found.append(Body(seed=seed))
        found += [Network(defence=defence, seed=seed) for defence in defences]
        found += [attacks(defence=defence, attack=attack, seed=seed) for defence, attack in pairs]
    return found


def main_claim(scale: Scale) -> Experiment:
    """C1: how many attacks lose a quarter, and the accuracy lost."""
    pairs = [(defence, attack) for attack in c.WHITE for defence in (c.NONE, c.CHOSEN)]

    def read(table: Table) -> Sequence[Reading]:
        ratios, aside = [], []
        for attack in c.WHITE:
            none = table.net(c.NONE, attack)
            aside.append(beside("net accuracy, none", attack, none))
            aside.append(beside("net accuracy, frozen", attack, table.net(c.CHOSEN, attack)))
            if np.quantile(none[1:], 0.025) > 0:
                ratios.append(table.net(c.CHOSEN, attack) / np.maximum(none, 1e-9))
        lost = table.accuracy(c.NONE) - table.accuracy(c.CHOSEN)
        read_anyway = [reading(c.MAIN, 1, lost, "share"), *aside]
        if len(ratios) < 3:
            reason = f"{len(ratios)} attacks add to public images, 3 are needed"
            raise Unread(reason, read_anyway)
        counted = (np.stack(ratios) <= 0.75).sum(0).astype(np.float64)
        return [reading(c.MAIN, 0, counted, "attacks"), *read_anyway]

    return experiment(c.MAIN, scale, arms_of(scale, pairs), read)


def efficient(scale: Scale) -> Experiment:
    """C2: leakage cut against accuracy lost; rivals' curves at its accuracy."""
    defences = (c.NONE, c.CHOSEN, *c.MID, *c.BIDO)
    pairs = [(defence, c.CHEAP) for defence in defences]

    def read(table: Table) -> Sequence[Reading]:
        none, own = table.net(c.NONE, c.CHEAP), table.net(c.CHOSEN, c.CHEAP)
        before, after = table.accuracy(c.NONE), table.accuracy(c.CHOSEN)
        cost = np.maximum(1 - after / before, 1e-3)  # less than a thousandth counts as that
        efficiency = (1 - over(own, none)) / cost
        found = [reading(c.EFFICIENT, 0, efficiency)]
        for which, knobs in ((1, c.MID), (2, c.BIDO)):
            curve = [(before, none)] + [
                (table.accuracy(knob), table.net(knob, c.CHEAP)) for knob in knobs
            ]
            rival = _interpolated(curve, after)
            found.append(reading(c.EFFICIENT, which, own - rival, "share"))
        return found

    return experiment(c.EFFICIENT, scale, arms_of(scale, pairs), read)


def _interpolated(curve: Sequence[tuple[Draws, Draws]], at: Draws) -> Draws:
    """A rival's net accuracy at an accuracy, draw by draw; at its ends the nearest strength's."""
    x, y = (np.stack([point[side] for point in curve], 1) for side in (0, 1))
    order = np.argsort(x, axis=1)
    x, y = np.take_along_axis(x, order, 1), np.take_along_axis(y, order, 1)
    at = np.clip(at, x[:, 0], x[:, -1])
    place = np.clip((x <= at[:, None]).sum(1), 1, x.shape[1] - 1)
    row = np.arange(len(x))
    low, high = x[row, place - 1], x[row, place]
    share = np.where(high > low, (at - low) / np.where(high > low, high - low, 1), 0.0)
    found: Draws = y[row, place - 1] * (1 - share) + y[row, place] * share
    return found


def monotone(scale: Scale) -> Experiment:
    """C3: net accuracy against frozen layers, none included."""
    ladder = (c.NONE, *c.LADDER)
    pairs = [(defence, c.CHEAP) for defence in ladder]

    def read(table: Table) -> Sequence[Reading]:
        nets = np.stack([table.net(defence, c.CHEAP) for defence in ladder], 1)
        needs(nets[:, 0])
        depth = np.tile(np.arange(len(ladder), dtype=np.float64), (len(nets), 1))
        return [
            # equal numbers have no order
            reading(c.MONOTONE, 0, np.nan_to_num(rank_correlation(depth, nets), nan=0.0)),
            *(beside("net accuracy", d, nets[:, k]) for k, d in enumerate(ladder)),
            *(beside("accuracy", defence, table.accuracy(defence)) for defence in ladder),
        ]

    return experiment(c.MONOTONE, scale, arms_of(scale, pairs), read)


def matched(scale: Scale) -> Experiment:
    """C4: stopped early at the same accuracy."""
    pairs = [(c.CHOSEN, c.CHEAP), (c.EARLY, c.CHEAP)]

    def read(table: Table) -> Sequence[Reading]:
        apart = table.accuracy(c.EARLY) - table.accuracy(c.CHOSEN)
        if not abs(apart[0]) <= _SAME:
            raise BadData(
                f"stopped early its accuracy is {apart[0]:+.3f} from that of the frozen network, "
                f"at most {_SAME} is called the same"
            )
        more = table.net(c.EARLY, c.CHEAP) - table.net(c.CHOSEN, c.CHEAP)
        return [
            reading(c.MATCHED, 0, more, "share"),
            beside("accuracy, stopped early less frozen", "vgg", apart),
        ]

    return experiment(c.MATCHED, scale, arms_of(scale, pairs), read)


def placed(scale: Scale) -> Experiment:
    """C5: first against last layers frozen."""
    pairs = [(c.CHOSEN, c.CHEAP), (c.LAST, c.CHEAP)]

    def read(table: Table) -> Sequence[Reading]:
        ratio = over(table.net(c.CHOSEN, c.CHEAP), table.net(c.LAST, c.CHEAP))
        lost = table.accuracy(c.CHOSEN) - table.accuracy(c.LAST)
        return [reading(c.PLACED, 0, ratio), reading(c.PLACED, 1, lost, "share")]

    return experiment(c.PLACED, scale, arms_of(scale, pairs), read)


def important(scale: Scale) -> Experiment:
    """C6: depth of importance, by F_l and by the invariant score; every step beside."""
    arms = arms_of(scale, [], [c.NONE]) + [Weighed(seed=seed) for seed in range(scale.seeds)]

    def read(table: Table) -> Sequence[Reading]:
        found = []
        for which, kind in enumerate(("plain", "scaled")):
            task = _depths(table, "task", kind)
            for step in STEPS:
                ratio = _depths(table, f"step {step}", kind) / task
                if step == STEPS[-1]:
                    found.append(reading(c.IMPORTANT, which, ratio))
                found.append(beside(f"centroid ratio, {kind}", f"step {step}", ratio, "ratio"))
        return found

    return experiment(c.IMPORTANT, scale, arms, read)


def _depths(table: Table, name: str, kind: str) -> Draws:
    """The centroid of importance over resampled classes and seeds, the measured one first."""
    seeds = range(table.scale.seeds)
    held = [importance(table.evidence.take(Weighed(seed=seed)), name) for seed in seeds]
    rows = [(one.plain / one.parameters if kind == "plain" else one.scaled).numpy() for one in held]
    rows = [one / one.sum(1).mean() for one in rows]  # seeds count alike
    scores = np.maximum(drawn(np.stack(rows), "depth"), 0)
    found: Draws = scores @ np.linspace(0, 1, scores.shape[1]) / scores.sum(1)
    return found


def farther(scale: Scale) -> Experiment:
    """C7: distances of what KEDMI rebuilds."""
    pairs = [(c.NONE, "KEDMI"), (c.CHOSEN, "KEDMI")]

    def read(table: Table) -> Sequence[Reading]:
        return [
            reading(
                c.FARTHER,
                which,
                table.attack(c.CHOSEN, "KEDMI", name) / table.attack(c.NONE, "KEDMI", name),
            )
            for which, name in enumerate(("nearest", "identity"))
        ]

    return experiment(c.FARTHER, scale, arms_of(scale, pairs), read)


def ordered(scale: Scale) -> Experiment:
    """C8: accuracies of attacks on the undefended network, by judges and by the typefaces."""
    pairs = [(c.NONE, attack) for attack in c.ATTACKS]

    def read(table: Table) -> Sequence[Reading]:
        seen = {attack: table.share(c.NONE, attack) for attack in c.ATTACKS}
        public = table.share(c.NONE, "GMI", "public")
        gains = (
            seen["GMI"] - public,
            seen["KEDMI"] - seen["GMI"],
            seen["LOMMA+KEDMI"] - seen["KEDMI"],
            seen["PLG-MI"] - seen["KEDMI"],
            seen[c.LABEL] - public,
        )
        return [
            *(reading(c.ORDERED, which, gain, "share") for which, gain in enumerate(gains)),
            beside("accuracy", "best public image", public),
            *(beside("accuracy", attack, draws) for attack, draws in seen.items()),
            *(
                beside("named by the typefaces", attack, table.share(c.NONE, attack, "oracle"))
                for attack in c.ATTACKS
            ),
        ]

    return experiment(c.ORDERED, scale, arms_of(scale, pairs), read)


def signed(scale: Scale) -> Experiment:
    """C9: label smoothing of either sign, and without a schedule."""
    pairs = [(defence, c.CHEAP) for defence in (c.NONE, c.POSITIVE, c.NEGATIVE)]

    def read(table: Table) -> Sequence[Reading]:
        none = table.net(c.NONE, c.CHEAP)
        lost = table.accuracy(c.NONE) - table.accuracy(c.SUDDEN)
        return [
            reading(c.SIGNED, 0, over(table.net(c.POSITIVE, c.CHEAP), none)),
            reading(c.SIGNED, 1, over(table.net(c.NEGATIVE, c.CHEAP), none)),
            reading(c.SIGNED, 2, lost, "share"),
            beside("accuracy", c.NEGATIVE, table.accuracy(c.NEGATIVE)),
        ]

    return experiment(c.SIGNED, scale, arms_of(scale, pairs, [c.SUDDEN]), read)


def adaptive(scale: Scale) -> Experiment:
    """C10: labels alone against gradients, and the best of all attacks."""
    attacks = (*c.ATTACKS, c.CHEAP)
    pairs = [(defence, attack) for attack in attacks for defence in (c.NONE, c.CHOSEN)]

    def read(table: Table) -> Sequence[Reading]:
        shares, best = [], []
        for defence in (c.NONE, c.CHOSEN):
            white = np.stack([table.net(defence, attack) for attack in (*c.WHITE, c.CHEAP)])
            top = white[white[:, 0].argmax()]  # chosen on the measured numbers alone
            label = table.net(defence, c.LABEL)
            shares.append((label, top))
            best.append(top if top[0] >= label[0] else label)
        strongest = reading(c.ADAPTIVE, 1, over(best[1], best[0]))
        try:
            masked = over(over(*shares[1]), over(*shares[0]))
        except BadData as error:
            raise Unread(str(error), [strongest]) from error
        return [reading(c.ADAPTIVE, 0, masked), strongest]

    return experiment(c.ADAPTIVE, scale, arms_of(scale, pairs), read)


def statistics(scale: Scale) -> Experiment:
    """C12: statistics of frozen layers kept or updated."""
    pairs = [(defence, c.CHEAP) for defence in (c.NONE, c.CHOSEN, c.UPDATED)]

    def read(table: Table) -> Sequence[Reading]:
        needs(table.net(c.NONE, c.CHEAP))
        more = table.net(c.UPDATED, c.CHEAP) - table.net(c.CHOSEN, c.CHEAP)
        gained = table.accuracy(c.UPDATED) - table.accuracy(c.CHOSEN)
        return [
            reading(c.STATISTICS, 0, more, "share"),
            beside("accuracy, statistics updated less kept", "vgg", gained),
        ]

    return experiment(c.STATISTICS, scale, arms_of(scale, pairs), read)
