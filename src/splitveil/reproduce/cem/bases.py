"""C1, C2 and C4b: what the price gains on every base, on other images and on larger networks."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from splitveil.estimators.rates import retained_ratio
from splitveil.measures.utility import share_of
from splitveil.quantities import Kind, Quantity
from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.choosing import OURS, PLAIN, PUBLISHED, Chosen, Level
from splitveil.reproduce.cem.evidence import Seen, Setting, ln_ratio, student
from splitveil.reproduce.cem.networks import FASHION, Plain
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import error_draws, quantity_of
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Scale
from splitveil.rng import Rng

FORMS = (OURS, PUBLISHED)
ALL = ("noise", *claims.OTHERS)
PIXELS = 1024
PLACES = (*((FASHION, base) for base in ALL), *((data, "noise") for data in claims.ELSEWHERE))


def compared(data: str, base: str, scale: Scale, forms: tuple[str, ...] = FORMS) -> tuple[Arm, ...]:
    """Everything that one base on one kind of images takes, in order."""
    settings = (Setting(data=data, base=base, form=form) for form in (PLAIN, *forms))
    attacked = [arm for setting in settings for arm in setting.arms(scale)]
    return (
        *(Plain(data=data, seed=seed) for seed in (100, 101, *range(scale.seeds))),
        Level(data=data, base=base),
        *(Chosen(data=data, base=base, form=form) for form in forms),
        *sorted(attacked, key=lambda arm: arm.seed),
    )


def noise(scale: Scale) -> Experiment:
    """C1a, C1b, C1c, C1x, C2a, C2b."""
    own = (
        claims.NOISE_OURS,
        claims.NOISE_PUBLISHED,
        claims.COST,
        claims.DIRECT,
        claims.LIKENESS,
        claims.PSNR,
    )

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        seen = _seen(evidence, FASHION, "noise", scale, (PLAIN, *FORMS))
        ours, published, bare = (seen[form] for form in (OURS, PUBLISHED, PLAIN))
        found = {
            claims.NOISE_OURS: [gain(ours, bare, "noise", OURS), *beside(seen)],
            claims.NOISE_PUBLISHED: [gain(published, bare, "noise", PUBLISHED)],
            claims.COST: [lost(seen[form], bare, form) for form in FORMS],
            claims.DIRECT: [
                Reading(
                    measured=claims.DIRECT.criteria[0].measured,
                    subject="noise",
                    quantity=ln_ratio(ours, published, "noise", "direct"),
                ),
                Reading(
                    measured="accuracy less the published form's",
                    subject="noise",
                    quantity=student(ours.each("accuracy") - published.each("accuracy"), "share"),
                ),
            ],
            claims.LIKENESS: [_alike(seen[form], bare, form) for form in FORMS],
            claims.PSNR: [_decibels(seen[form], bare, form) for form in FORMS],
        }
        return tuple(
            Finding(claim=claim, quantities=tuple(readings), seeds=scale.seeds)
            for claim, readings in found.items()
        )

    return Experiment(claims=own, arms=compared(FASHION, "noise", scale), judge=judge)


def bases(scale: Scale) -> Experiment:
    """C1d, C1e; the published form stands beside where C4b has had it run."""
    arms = tuple(arm for base in ALL for arm in compared(FASHION, base, scale, (OURS,)))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        seen, note = those_run(evidence, PLACES[: len(ALL)], scale)
        gains = {name: ln_ratio(one[OURS], one[PLAIN], name, OURS) for name, one in seen.items()}
        others = {name: gain for name, gain in gains.items() if name != "noise"}
        counted = Reading(
            measured=claims.BASES.criteria[0].measured,
            subject=f"{len(others)} bases",
            quantity=_count(others),
        )
        readings = [reading for name, one in seen.items() for reading in _place(name, one)]
        forms = [f for f in FORMS if len(seen) == len(ALL) and all(f in s for s in seen.values())]
        return (
            Finding(
                claim=claims.BASES,
                quantities=(counted, *readings) if others else (),
                seeds=scale.seeds if others else 0,
                note=note,
            ),
            Finding(
                claim=claims.AVERAGE,
                quantities=tuple(_mean(seen, form) for form in forms),
                seeds=scale.seeds if forms else 0,
                note=note,
            ),
        )

    return Experiment(claims=(claims.BASES, claims.AVERAGE), arms=arms, judge=judge)


def _place(name: str, one: dict[str, Seen]) -> list[Reading]:
    """What stands beside a claim over several places: gains, cost, and the numbers themselves."""
    found = []
    for form in (form for form in FORMS if form in one):
        raised = ln_ratio(one[form], one[PLAIN], name, form)
        subject = f"{name}, {form}"
        found.append(Reading(measured="ln ratio of errors", subject=subject, quantity=raised))
        found.append(lost(one[form], one[PLAIN], subject))
    if PUBLISHED in one:
        direct = ln_ratio(one[OURS], one[PUBLISHED], name, "direct")
        found.append(
            Reading(measured="ln error, ours over published", subject=name, quantity=direct)
        )
    return [*found, *beside(one, name)]


def elsewhere(scale: Scale) -> Experiment:
    """C1f; the published form stands beside where C4b has had it run."""
    arms = tuple(
        arm for data in claims.ELSEWHERE for arm in compared(data, "noise", scale, (OURS,))
    )

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        seen, note = those_run(evidence, PLACES[len(ALL) :], scale)
        readings = [gain(one[OURS], one[PLAIN], name) for name, one in seen.items()]
        readings += [reading for name, one in seen.items() for reading in _place(name, one)]
        seeds = scale.seeds if seen else 0
        return (Finding(claim=claims.DATA, quantities=tuple(readings), seeds=seeds, note=note),)

    return Experiment(claims=(claims.DATA,), arms=arms, judge=judge)


def larger(scale: Scale) -> Experiment:
    """C1g."""
    settings = {
        name: {
            form: Setting(data=FASHION, base="bottleneck8", form=form, network=name)
            for form in (PLAIN, OURS)
        }
        for name in claims.NETWORKS
    }
    arms = tuple(
        arm
        for one in settings.values()
        for pair in zip(*(setting.arms(scale) for setting in one.values()), strict=True)
        for arm in pair
    )

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings: list[Reading] = []
        missing = []
        for name, one in settings.items():
            try:
                seen = {form: Seen.of(evidence, own, scale) for form, own in one.items()}
            except ArmMissing as error:
                missing.append(str(error))
                continue
            readings.append(gain(seen[OURS], seen[PLAIN], name))
            readings.append(lost(seen[OURS], seen[PLAIN], name))
            readings += beside(seen, name)
        return (
            Finding(
                claim=claims.LARGER,
                quantities=tuple(readings),
                seeds=scale.seeds if readings else 0,
                note=f"missing: {missing[0]}" if missing else "resnet: one seed",
            ),
        )

    before = compared(FASHION, "noise", scale, (OURS,))
    return Experiment(claims=(claims.LARGER,), arms=(*before, *arms), judge=judge)


def signs(scale: Scale) -> Experiment:
    """C4b, over whatever was compared."""
    arms = tuple(arm for data, base in PLACES for arm in compared(data, base, scale))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        seen, note = those_run(evidence, PLACES, scale)
        hits = torch.tensor(
            [hit for (data, _), one in seen_by(seen, PLACES) for hit in _agree(data, one)]
        )
        found = () if not len(hits) else (share_of(hits),)
        measured = claims.SIGN.criteria[0].measured
        return (
            Finding(
                claim=claims.SIGN,
                quantities=tuple(
                    Reading(measured=measured, subject=f"{len(hits)} arms", quantity=one)
                    for one in found
                ),
                seeds=scale.seeds,
                note=note,
            ),
        )

    return Experiment(claims=(claims.SIGN,), arms=arms, judge=judge)


def seen_by(
    seen: dict[str, dict[str, Seen]], places: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], dict[str, Seen]]]:
    """What was seen, beside its kind of images and base."""
    return ((place, seen[_name(place)]) for place in places if _name(place) in seen)


def beside(seen: dict[str, Seen], subject: str = "noise") -> list[Reading]:
    """What the arms of one place measured, form by form."""
    found = []
    for form, one in seen.items():
        numbers = {
            "MSE": one.mse.mean(1),
            "SSIM": one.ssim.mean(1),
            **{name: one.each(name) for name in ("accuracy", "rate", "rate upper")},
        }
        found += [
            Reading(measured=name, subject=f"{subject}, {form}", quantity=student(values, ""))
            for name, values in numbers.items()
        ]
    return found


def those_run(
    evidence: Evidence, places: Sequence[tuple[str, str]], scale: Scale
) -> tuple[dict[str, dict[str, Seen]], str]:
    """What was seen at the places whose arms all ran, by name, and which is the first without."""
    seen, missing = {}, []
    for place in places:
        try:
            seen[_name(place)] = _seen(evidence, *place, scale)
        except ArmMissing as error:
            missing.append(f"{_name(place)}: {error}")
    return seen, f"{len(missing)} missing, the first is {missing[0]}" if missing else ""


def _name(place: tuple[str, str]) -> str:
    data, base = place
    return base if data == FASHION else data


def _seen(
    evidence: Evidence, data: str, base: str, scale: Scale, needed: tuple[str, ...] = (PLAIN, OURS)
) -> dict[str, Seen]:
    """What the arms of one place measured, form by form; forms not needed may be missing."""
    found = {}
    for form in (PLAIN, *FORMS):
        try:
            found[form] = Seen.of(evidence, Setting(data=data, base=base, form=form), scale)
        except ArmMissing:
            if form in needed:
                raise
    return found


def gain(top: Seen, bottom: Seen, subject: str, form: str = OURS) -> Reading:
    """The ln ratio of errors, with the price over without."""
    found = ln_ratio(top, bottom, subject, form)
    return Reading(measured=claims.GAIN, subject=subject, quantity=found)


def lost(top: Seen, bottom: Seen, subject: str) -> Reading:
    """The difference in accuracy, with the price less without."""
    return Reading(
        measured=claims.COST.criteria[0].measured,
        subject=subject,
        quantity=student(top.each("accuracy") - bottom.each("accuracy"), "share"),
    )


def _alike(top: Seen, bottom: Seen, form: str) -> Reading:
    return Reading(
        measured=claims.LIKENESS.criteria[0].measured,
        subject=form,
        quantity=student(top.ssim.mean(1) - bottom.ssim.mean(1), "ssim"),
    )


def _decibels(top: Seen, bottom: Seen, form: str) -> Reading:
    """How much further the mean over images of PSNR moves than the mean error does."""
    first, second = (
        -10 * (np.log10(one.mse).mean(1) - np.log10(one.mse.mean(1))) for one in (top, bottom)
    )
    return Reading(
        measured=claims.PSNR.criteria[0].measured,
        subject=form,
        quantity=student(first - second, "dB"),
    )


def _count(gains: dict[str, Quantity]) -> Quantity:
    """How many reach the threshold: certainly, by their means, and not certainly not."""
    missing = len(claims.OTHERS) - len(gains)
    return Quantity(
        value=float(sum(one.value >= claims.TENTH for one in gains.values())),
        low=float(sum(one.low >= claims.TENTH for one in gains.values())),
        high=float(sum(one.high >= claims.TENTH for one in gains.values()) + missing),
        unit="",
        kind=Kind.MEASURED,
        n=len(gains),
        assumptions=("ends count whole intervals; bases not run count as either",),
    )


def _mean(seen: dict[str, dict[str, Seen]], form: str) -> Reading:
    """The geometric mean over bases of the ratio of mean errors, images and seeds drawn jointly."""
    errors = np.stack([one[f].mse for f in (form, PLAIN) for one in seen.values()])
    drawn = np.log(error_draws(errors, Rng(0, ("cem", "mean", form))))
    ratio = np.exp((drawn[:, : len(seen)] - drawn[:, len(seen) :]).mean(1))
    published = form == PUBLISHED
    measured = claims.AVERAGE.criteria[0].measured
    return Reading(
        measured=f"{measured}, published form" if published else measured,
        subject=f"{len(seen)} bases",
        quantity=quantity_of(ratio, unit="", n=errors.shape[2], words=("the bases are these",)),
    )


def _agree(data: str, seen: dict[str, Seen]) -> Iterator[bool]:
    bare = seen[PLAIN]
    channels = 1 if data in (FASHION, "mnist") else 3
    values = int(bare.each("values")[0])
    for form in (form for form in FORMS if form in seen):
        own = seen[form]
        rates = zip(own.each("rate"), bare.each("rate"), strict=True)
        errors = zip(own.mse.mean(1), bare.mse.mean(1), strict=True)
        for (rate, level), (error, before) in zip(rates, errors, strict=True):
            form_ratio = retained_ratio(rate, level, values=values, dimensions=channels * PIXELS)
            yield (form_ratio >= 1) == (error >= before)
