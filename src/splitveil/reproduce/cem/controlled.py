"""C1l, C1y: the small network again, with a price that meets its target."""

from dataclasses import dataclass

import numpy as np

from splitveil.reproduce.bench import Bench
from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.attacked import Attacked
from splitveil.reproduce.cem.bases import PLACES, beside, compared, gain, lost
from splitveil.reproduce.cem.choosing import (
    BASES,
    LOST,
    NOISE,
    OURS,
    PLAIN,
    PUBLISHED,
    SEEDS,
    SHARES,
    Level,
    mean_accuracy,
    number,
    slowness,
)
from splitveil.reproduce.cem.climb import climb
from splitveil.reproduce.cem.evidence import Seen, Setting, student
from splitveil.reproduce.cem.grid import mean_logs, mean_ratio
from splitveil.reproduce.cem.networks import recorded
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Measured, Scale


def _priced(base: str, rate: float) -> str:
    return f"{BASES[base].format(noise=NOISE)}+cem(rate={rate:.3g})"


@dataclass(frozen=True, kw_only=True)
class ChosenTarget(Arm):
    """The least share of the base's rate on the ladder that keeps its accuracy; see `climb`."""

    data: str
    base: str

    @property
    def minutes(self) -> float:
        return 1.3 * slowness(self.base)

    def run(self, bench: Bench) -> Measured:
        level = recorded(bench, Level(data=self.data, base=self.base)).details

        def reached(share: float) -> float:
            text = _priced(self.base, share * number(level, "rate"))
            return mean_accuracy(bench, text, self.data, SEEDS)

        top = climb(SHARES, reached, number(level, "accuracy") - LOST)
        details = {"share": top.rung, "kept": top.kept, "tried": top.tried}
        return Measured(details=details)


@dataclass(frozen=True, kw_only=True)
class Controlled(Attacked):
    """The base with `cem` as it comes, to the chosen share of the base's rate."""

    form: str = OURS

    def text(self, bench: Bench) -> str:
        """The components, with the target in them."""
        share = number(
            recorded(bench, ChosenTarget(data=self.data, base=self.base)).details, "share"
        )
        level = recorded(bench, Level(data=self.data, base=self.base)).details
        return _priced(self.base, share * number(level, "rate"))


def controlled(scale: Scale) -> Experiment:
    """C1l, C1y; every place's own ratios stand beside."""
    arms = tuple(
        arm
        for data, base in PLACES
        for arm in (
            *compared(data, base, scale),
            ChosenTarget(data=data, base=base),
            *_arms(data, base, scale),
        )
    )

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        try:
            seen = {place: _forms(evidence, *place, scale) for place in PLACES}
        except ArmMissing as error:
            note = f"{error}"
            return tuple(Finding(claim=c, quantities=(), seeds=0, note=note) for c in own)
        gained: list[Reading] = []
        against: list[Reading] = []
        for (data, base), one in seen.items():
            place = f"{data}, {base}"
            gained += [gain(one[OURS], one[PLAIN], place), lost(one[OURS], one[PLAIN], place)]
            gained += beside({OURS: one[OURS]}, place)
            against.append(
                Reading(
                    measured="accuracy less the published form's",
                    subject=place,
                    quantity=student(
                        one[OURS].each("accuracy") - one[PUBLISHED].each("accuracy"), "share"
                    ),
                )
            )
        chosen = {
            (data, base): evidence.take(ChosenTarget(data=data, base=base)).details
            for data, base in PLACES
        }
        shares = (
            f"{data}, {base} {number(one, 'share'):g}" for (data, base), one in chosen.items()
        )
        note = "shares of the base's rate: " + "; ".join(shares)
        return tuple(
            Finding(
                claim=claim,
                quantities=(_mean(seen, other, claim.criteria[0].measured), *readings),
                seeds=scale.seeds,
                note=note,
            )
            for claim, other, readings in zip(
                own, (PLAIN, PUBLISHED), (gained, against), strict=True
            )
        )

    own = (claims.CONTROLLED, claims.PUBLISHED_AGAIN)
    return Experiment(claims=own, arms=arms, judge=judge)


def _arms(data: str, base: str, scale: Scale) -> tuple[Controlled, ...]:
    return tuple(Controlled(data=data, base=base, seed=seed) for seed in range(scale.seeds))


def _forms(evidence: Evidence, data: str, base: str, scale: Scale) -> dict[str, Seen]:
    others = {
        form: Seen.of(evidence, Setting(data=data, base=base, form=form), scale)
        for form in (PLAIN, PUBLISHED)
    }
    return {OURS: Seen.of_arms(evidence, _arms(data, base, scale)), **others}


def _mean(seen: dict[tuple[str, str], dict[str, Seen]], other: str, measured: str) -> Reading:
    """Over all places; those on the same images are drawn jointly."""
    rows = [[seen[place][OURS], seen[place][other]] for place in PLACES]
    kinds = {data: [i for i, place in enumerate(PLACES) if place[0] == data] for data, _ in PLACES}
    logs = [
        len(members) * mean_logs([(rows[i][0], rows[i][1]) for i in members], data)
        for data, members in kinds.items()
    ]
    images = sum(rows[members[0]][0].mse.shape[1] for members in kinds.values())
    mean = np.sum(logs, axis=0) / len(PLACES)
    return mean_ratio(mean, measured, f"{len(PLACES)} places", images)
