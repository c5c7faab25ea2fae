"""What the records say, in words a person can act on and no stronger than they bear; no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from splitveil.audit.joint import alarms, best_bound, shown_level
from splitveil.audit.schedule import NO_TIME, Left
from splitveil.audit.sent import PLAIN, sent_by
from splitveil.audit.weaknesses import weaknesses
from splitveil.quantities import Quantity
from splitveil.records import Outcome, Status, Task

TRIVIAL = ("MeanImage", "ClassMean")
"""Answers that do not look at what was sent: floors, not counted as attacks."""

PAIRS = "pairs"
"""What a manifest calls an attacker who owns pairs (z, x) and no part of the network."""

NOT_TESTED = (
    "a malicious server that trains or changes the model so that it leaks more",
    "the same image sent more than once, which averages noise away",
    "an attacker who optimises over inputs, or who holds a stronger image prior",
    "auxiliary images from another distribution than the private ones",
    "attributes and identities read from what is sent without rebuilding the image",
    "timing, traffic and what is stored on the device or in the cloud",
    "training images, which model inversion and membership attacks are after",
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The best attack at a cut under a release, chosen on validation images, scored on test ones.

    `attacks` counts the recipes tried there, floors left out; `bound` is the largest lower bound
    on any attacker's error there; `utility` is what the network is still good for.
    """

    cut: str
    release: str
    best: Outcome
    attacks: int
    bound: Quantity | None
    utility: Quantity | None

    @property
    def leakage(self) -> Quantity:
        """The share of the floor's error that the attack removed."""
        return self.best.quantities["leakage"]

    @property
    def word(self) -> str:
        """RECOVERED, NOT RECOVERED or BOUNDED: what may be claimed, never that a cut is safe."""
        if self.bound is not None and self.bound.is_bound and self.bound.value > 0:
            return "BOUNDED"
        return word_of(self.leakage, self.attacks)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the summary stores it."""
        found = self.best.quantities
        return {
            "cut": self.cut,
            "release": self.release,
            "quantity": self.leakage.to_json(),
            "attack": self.best.trial.method,
            "attacks": self.attacks,
            "word": self.word,
            **{name: found[name].to_json() for name in ("mse", "psnr", "ssim") if name in found},
            "tail": found["tail_leakage"].to_json() if "tail_leakage" in found else None,
            "bound": None if self.bound is None else self.bound.to_json(),
            "utility": None if self.utility is None else self.utility.to_json(),
        }


def word_of(leakage: Quantity, attacks: int) -> str:
    """RECOVERED where the whole interval says so, else by how many attacks it was not."""
    if leakage.low > 0:
        return "RECOVERED"
    return f"NOT RECOVERED BY {_attacks(attacks).upper()} AT THIS EFFORT"


def _attacks(count: int) -> str:
    return f"{count} attack" if count == 1 else f"{count} attacks"


def _bare(quantity: Quantity) -> str:
    """The number with its interval, where the sentence says the unit."""
    return str(replace(quantity, unit=""))


def _method(outcome: Outcome) -> str:
    return outcome.trial.method.partition("(")[0]


def _done(outcomes: Iterable[Outcome], task: Task) -> list[Outcome]:
    return [o for o in outcomes if o.trial.task is task and o.status is Status.DONE]


def findings(
    outcomes: Sequence[Outcome], order: Mapping[str, int], sent: str = PLAIN
) -> list[Finding]:
    """One finding for each attacked cut and release, `sent` first, in the order of `order`.

    The choice uses validation errors only: floors compete too, since an attacker who does worse
    than the class mean would answer the class mean. An attack that is not made to come close is
    listed among the records and neither chosen nor counted.
    """
    attacks = _done(outcomes, Task.ATTACK)
    floors = [o for o in attacks if o.trial.cut == "*"]
    cells: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in attacks:
        if outcome.trial.cut in order and outcome.headline:
            cells.setdefault((outcome.trial.release, outcome.trial.cut), []).append(outcome)
    found = []
    for release, cut in sorted(cells, key=lambda c: (c[0] != sent, c[0], order[c[1]])):
        tried = cells[release, cut]
        found.append(
            Finding(
                cut=cut,
                release=release,
                best=min([*tried, *floors], key=_validation),
                attacks=len({o.trial.method for o in tried if _method(o) not in TRIVIAL}),
                bound=best_bound(outcomes, cut, release),
                utility=_utility(outcomes, cut, release),
            )
        )
    return found


def _validation(outcome: Outcome) -> tuple[float, str, int]:
    return (
        outcome.quantities["validation_mse"].value,
        outcome.trial.method,
        outcome.trial.seed,
    )


def _utility(outcomes: Iterable[Outcome], cut: str, release: str) -> Quantity | None:
    for outcome in _done(outcomes, Task.UTILITY):
        if (outcome.trial.cut, outcome.trial.release) == (cut, release):
            return next(iter(outcome.quantities.values()))
    return None


def attacker(manifest: Mapping[str, Any]) -> str:
    """Who attacks, in words."""
    threat, data = manifest["threat"], manifest["data"]
    if threat.get("knowledge") == PAIRS:
        parts = [f"{data['auxiliary']:,} pairs (z, x) of its own"]
        return " and ".join([*parts, "the label"] if threat["knows_label"] else parts)
    parts = ["the whole model", f"{data['auxiliary']:,} images of its own"]
    if threat["knows_label"]:
        parts.append("the label")
    if not threat["knows_defence"]:
        parts.append("no knowledge of the release")
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(finding: Finding, name: str, who: str) -> str:
    labelled = any("class mean" in text for text in finding.leakage.assumptions)
    others = "others of its class" if labelled else "the mean image"
    behind = "" if finding.release == PLAIN else f", behind {finding.release},"
    return (
        f"At cut {name}{behind} an attacker with {who} recovered L = {_bare(finding.leakage)} of "
        f"what distinguishes an image from {others}; best of "
        f"{_attacks(finding.attacks)}, not a limit."
    )


def _bounded(finding: Finding, name: str) -> str:
    bound, utility = finding.bound, finding.utility
    assert bound is not None  # noqa: S101 - asked for bounded findings only
    good = "" if utility is None else f" (the model still scores {_bare(utility)})"
    return (
        f"BOUNDED: with {finding.release} at {name}{good}, no attacker gets below mse "
        f"{bound.value:.3g} at confidence {shown_level(bound.level)}; the best of "
        f"{_attacks(finding.attacks)} came to {_bare(finding.best.quantities['mse'])}, "
        f"L = {_bare(finding.leakage)}."
    )


def headline(found: Sequence[Finding], sent: str = PLAIN) -> int | None:
    """The least leaking cut under `sent` among those that met the most attacks, or None.

    A cut that met fewer attacks looks better than it is, so it cannot be the headline.
    """
    plain = [index for index, one in enumerate(found) if one.release == sent]
    if not plain:
        return None
    most = max(found[index].attacks for index in plain)
    full = [index for index in plain if found[index].attacks == most]
    return min(full, key=lambda index: found[index].leakage.value)


def sentences(
    found: Sequence[Finding], names: Mapping[str, str], manifest: Mapping[str, Any]
) -> str:
    """The verdict: the least leaking cut, the most leaking one, and what is bounded."""
    sent = sent_by(manifest)
    place = headline(found, sent)
    if place is None:
        return "No attack has ended yet: nothing can be said."
    who = attacker(manifest)
    least = found[place]
    text = [f"{least.word}. {_sentence(least, names[least.cut], who)}"]
    plain = [one for one in found if one.release == sent]
    worst = max(plain, key=lambda one: one.leakage.value)
    if worst.cut != least.cut:
        text.append(
            f"Of {len(plain)} cuts this one leaked least among those that met every attack; the "
            f"most leaking one was {names[worst.cut]}, L = {_bare(worst.leakage)}."
        )
    bounded = [one for one in found if one.word == "BOUNDED"]
    if bounded:
        best = max(bounded, key=lambda one: one.bound.value if one.bound else 0.0)
        text.append(_bounded(best, names[best.cut]))
    return " ".join(text)


def answers(outcomes: Sequence[Outcome], manifest: Mapping[str, Any]) -> list[tuple[str, Finding]]:
    """The best attack on each channel of the network's output, by the channel's name."""
    order = {channel["cut"]["id"]: index for index, channel in enumerate(_channels(manifest))}
    found = {(one.cut, one.release): one for one in findings(outcomes, order)}
    return [
        (channel["name"], found[key])
        for channel in _channels(manifest)
        if (key := (channel["cut"]["id"], channel["release"])) in found
    ]


def _channels(manifest: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return manifest.get("outputs") or ()


def _answered(found: Sequence[tuple[str, Finding]]) -> str:
    """One sentence on what the network's own answer gives away."""
    if not found:
        return ""
    each = " and ".join(f"L = {_bare(one.leakage)} from its {name}" for name, one in found)
    count = _attacks(max(one.attacks for _, one in found))
    return f" Wherever it is cut, the network's answer alone gave {each}, best of {count}."


def _untested(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    if not _channels(manifest):
        outputs: tuple[str, ...] = ("what the network's outputs give away",)
    else:
        outputs = ("dearer attacks on the network's outputs",)
    if (sent := sent_by(manifest)) != PLAIN:
        outputs = (*outputs, f"features and answers without {sent}, which are said not to be sent")
    if (manifest.get("threat") or {}).get("knowledge") != PAIRS:
        return outputs
    return (
        *outputs,
        "an attacker who holds the network, or may send images of its own through it",
        "the network itself: other cuts, other releases, and what it is still good for",
    )


def summarise(
    outcomes: Sequence[Outcome],
    left: Sequence[Left],
    manifest: Mapping[str, Any],
    *,
    complete: bool,
) -> dict[str, Any]:
    """The summary of a run as plain data, however much of the run there is."""
    cuts = [entry.get("cut", entry) for entry in manifest["cuts"]]
    order = {cut["id"]: index for index, cut in enumerate(cuts)}
    names = {cut["id"]: cut["name"] for cut in cuts}
    sent = sent_by(manifest)
    found = findings(outcomes, order, sent)
    answered = answers(outcomes, manifest)
    known = names | {
        channel["cut"]["id"]: channel["cut"]["name"] for channel in _channels(manifest)
    }
    raised = alarms(outcomes, known)
    verdict = sentences(found, names, manifest) + _answered(answered)
    late = sum(one.reason.startswith(NO_TIME) for one in left)
    if late:
        trials, them = ("trials", "them") if late > 1 else ("trial", "it")
        verdict += f" Time ran out before {late} more {trials}: the same command adds {them}."
    if raised:
        verdict = f"ALARM: {raised[0]}. {verdict}"
    return {
        "complete": complete,
        "verdict": verdict,
        "leakage": [one.to_json() for one in found],
        "headline": headline(found, sent),
        "outputs": [{"name": name, **one.to_json()} for name, one in answered],
        "alarms": raised,
        "weaknesses": [one.to_json() for one in weaknesses(outcomes, manifest)],
        "not_attacked": [
            {
                "cut": one.trial.cut,
                "release": one.trial.release,
                "method": one.trial.method,
                "reason": one.reason,
            }
            for one in left
        ],
        "failures": [
            {
                "cut": o.trial.cut,
                "release": o.trial.release,
                "method": o.trial.method,
                "task": str(o.trial.task),
                "reason": o.reason,
            }
            for o in outcomes
            if o.status is Status.FAILED
        ],
        "not_tested": [*_untested(manifest), *NOT_TESTED],
        "utility": {
            name: quantity.to_json()
            for o in _done(outcomes, Task.UTILITY)
            if o.trial.cut == "*"
            for name, quantity in o.quantities.items()
        },
    }
