"""The report's words: verdict, key figures, threat model, limits and provenance."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from splitveil.audit.verdict import PAIRS
from splitveil.quantities import Quantity
from splitveil.records import Status, Task
from splitveil.report.numbers import full, grouped, interval, number, seconds
from splitveil.report.reading import IDENTITY, Finding, Report, is_trivial, quantity

WORDS = ("NOT RECOVERED BY", "RECOVERED", "BOUNDED")


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """One figure of the summary strip."""

    label: str
    value: str
    unit: str = ""
    small: str = ""
    title: str = ""
    css: str = ""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name, its value, and what it means."""

    name: str
    value: str
    meaning: str = ""


def verdict_word(report: Report) -> str:
    """The verdict's word, as the audit wrote it; empty where there is no verdict."""
    if report.headline is not None and report.headline.word:
        return report.headline.word
    text = str(report.summary.get("verdict", ""))
    if "NOT RECOVERED" in text and report.headline is not None:
        return f"NOT RECOVERED BY {report.headline.attacks} ATTACKS AT THIS EFFORT"
    return next((word for word in WORDS if word in text), "")


def verdict_text(report: Report) -> str:
    """The audit's sentence, or what stands in its place when the audit did not get so far."""
    text = str(report.summary.get("verdict", "")).strip()
    if text:
        return text
    if report.findings:
        return "This audit was interrupted: below is what it had found by then."
    return "This audit has found nothing yet: no attack has finished."


def accuracy(report: Report) -> Quantity | None:
    """Accuracy of the uncut model on the labels it was given."""
    for outcome in report.outcomes:
        if outcome.trial.task is Task.UTILITY and outcome.trial.release == IDENTITY:
            for name in ("accuracy", "utility"):
                if name in outcome.quantities:
                    return outcome.quantities[name]
    return None


def _figure(label: str, value: Quantity, small: str, css: str = "") -> KeyFigure:
    unit = "" if value.unit in ("share", "") else value.unit
    ends = " · ".join(filter(None, (interval(value), small)))
    return KeyFigure(
        label=label, value=number(value.value), unit=unit, small=ends, title=full(value), css=css
    )


def key_figures(report: Report) -> list[KeyFigure]:
    """The strip under the verdict: what leaks, at what price, and how much was tried."""
    return [*_leak_figures(report), *_effort_figures(report)]


def _leak_figures(report: Report) -> Iterator[KeyFigure]:
    head = report.headline
    if head is not None and head.leakage is not None:
        yield _figure(
            "Least leakage L where every attack ran",
            head.leakage,
            _place(report, head),
            "best",
        )
        if head.psnr is not None:
            yield _figure("Likeness of images rebuilt there", head.psnr, "PSNR")
    reach = report.reach()
    if len(reach) > 1 and (most := reach[0][1]).leakage is not None:
        yield _figure("Most leakage L found anywhere", most.leakage, report.cut_name(most.cut))
    if (top := accuracy(report)) is not None:
        yield _figure("Accuracy of the uncut model", top, f"n = {top.n}")
    if head is not None and report.sent != IDENTITY and head.utility is not None:
        yield _figure(f"What it scores behind {report.sent}", head.utility, f"n = {head.utility.n}")


def _place(report: Report, finding: Finding) -> str:
    name = report.cut_name(finding.cut)
    return name if finding.release == IDENTITY else f"{name}, behind {finding.release}"


def _effort_figures(report: Report) -> Iterator[KeyFigure]:
    strong = [o for o in report.attacks() if not is_trivial(o.trial.method)]
    touched = {o.trial.cut for o in strong}
    yield KeyFigure(
        label="Cuts attacked",
        value=f"{len(touched)}",
        unit=f"of {len(report.cuts)}",
        small=f"by up to {len({o.trial.method for o in strong})} attacks",
    )
    failed = sum(o.status is Status.FAILED for o in report.outcomes)
    work = seconds(sum(o.seconds for o in report.outcomes)) if report.outcomes else "no time"
    yield KeyFigure(
        label="Trials that ended",
        value=str(len(report.outcomes)),
        small=f"{f'{failed} failed · ' if failed else ''}{work} of work",
    )


def floor_name(report: Report) -> str:
    """What leakage is measured against, as the records say it."""
    for outcome in report.attacks():
        if (leakage := outcome.quantities.get("leakage")) is not None:
            for text in leakage.assumptions:
                if text.startswith("measured against the "):
                    return text.removeprefix("measured against the ")
    return "class mean"


_KNOWLEDGE = (
    ("white", "holds both halves of the model"),
    (
        "black",
        "holds the cloud's half and may ask the device's half for features, without gradients",
    ),
    ("query", "holds the cloud's half and images of its own, and asks the device nothing"),
    ("pairs", "holds no part of the model, only what was sent for inputs it knows"),
)


def _yes(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "no limit" if value is None else str(value)


_AXES = (
    ("server", "Server", "what kind of cloud it is up against"),
    ("knowledge", "Knowledge", ""),
    ("auxiliary", "Auxiliary images", "images the attacker owns, to learn from"),
    ("knows_label", "Knows each image's label", "if yes, the class mean is free"),
    ("knows_defence", "Knows the release", "if no, it attacks as if features came clean"),
    ("queries", "Queries to the device's half", "how often it may ask for features"),
    ("sends", "Sends of each image", "how often it sees the same image sent"),
    ("goal", "Goal", "what it tries to get back"),
)


def threat_facts(report: Report) -> list[Fact]:
    """The threat model, one axis a row."""
    threat = report.manifest.get("threat") or {}
    facts = []
    for key, name, meaning in _AXES:
        if key not in threat:
            continue
        value = _yes(threat[key])
        if key == "knowledge":
            meaning = _knowledge_means(value)
        facts.append(Fact(name=name, value=value, meaning=meaning))
    known = {key for key, _, _ in _AXES}
    facts += [Fact(name=k, value=_yes(v)) for k, v in threat.items() if k not in known]
    return facts


def _knowledge_means(value: str) -> str:
    return next((words for key, words in _KNOWLEDGE if key in value.lower()), "")


def threat_sentence(report: Report) -> str:
    """The threat model in one paragraph."""
    threat: Mapping[str, Any] = report.manifest.get("threat") or {}
    if not threat:
        return "The run states no threat model."
    data = report.manifest.get("data") or {}
    count = data.get("auxiliary")
    images = f"{grouped(count)} images" if isinstance(count, int) else "images"
    knows = "knows" if threat.get("knows_label") else "does not know"
    defence = "knows" if threat.get("knows_defence") else "does not know"
    means = _knowledge_means(str(threat.get("knowledge", ""))) or "holds the cloud half"
    side = "" if threat.get("knowledge") == PAIRS else "runs the cloud's side and "
    return (
        f"The attacker {side}reads everything a device sends, "
        f"{_times(threat.get('sends', 1))}. It {means}, and owns {images} of its own to learn "
        f"from. It {knows} the true label of each image and {defence} the release. "
        f"Its goal: {threat.get('goal', 'the image')}."
    )


def _times(sends: Any) -> str:
    return "once for each image" if sends in (1, "1") else f"{sends} times for each image"


def alarms(report: Report) -> list[str]:
    """What should stop a reader: contradictions, failures, damage, an unfinished run."""
    found = [_alarm(report, a) for a in report.summary.get("alarms", ())]
    if not report.complete:
        found.append(
            "The audit did not finish. Run the same command again to go on where it stopped."
        )
    found += [f"Records: {reason}" for reason in report.damage]
    return found


def _alarm(report: Report, item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    error, least = quantity(item.get("mse")), quantity(item.get("bound"))
    return (
        f"{item.get('attack', 'An attack')} at {report.cut_name(str(item.get('cut', '*')))} under "
        f"{item.get('release', IDENTITY)} reached an error of "
        f"{full(error) if error else 'unknown size'}. A theorem allows no error but "
        f"{full(least) if least else 'a larger one'}. One of the two is wrong: trust neither, and "
        "report it."
    )


def failures(report: Report) -> list[Fact]:
    """Every trial that failed, with its reason."""
    return [
        Fact(
            name=f"{o.trial.method} at {report.cut_name(o.trial.cut)}",
            value=o.trial.release,
            meaning=o.reason,
        )
        for o in report.outcomes
        if o.status is Status.FAILED
    ]


def weaknesses(report: Report) -> list[Fact]:
    """Reasons to trust this audit less, each with the value that set it off."""
    return [
        Fact(
            name=str(item.get("code", "")),
            value=str(item.get("message", "")),
            meaning=str(item.get("value", "")),
        )
        for item in report.summary.get("weaknesses", ())
        if isinstance(item, Mapping)
    ]


def not_attacked(report: Report) -> list[Fact]:
    """What was planned or possible and not done, one line for each attack and sort of reason."""
    groups: dict[tuple[str, str, str], tuple[str, list[str]]] = {}
    for item in report.summary.get("not_attacked", ()):
        method, release, reason = (str(item.get(k, "")) for k in ("method", "release", "reason"))
        sort = re.sub(r"\d+(\.\d+)?", "#", reason)
        _, cuts = groups.setdefault((method, release, sort), (reason, []))
        cuts.append(report.cut_name(str(item.get("cut", "*"))))
    if not report.summary:
        attacked = {f.cut for f in report.findings}
        left = [cut.name for cut in report.cuts if cut.id not in attacked]
        if left:
            groups["any attack", "", ""] = ("the audit stopped before it got there", left)
    return [
        Fact(
            name=method if release in ("", IDENTITY) else f"{method} under {release}",
            value=", ".join(dict.fromkeys(cuts)),
            meaning=reason if len(set(cuts)) == 1 or "#" not in sort else f"such as: {reason}",
        )
        for (method, release, sort), (reason, cuts) in groups.items()
    ]


def _facts(data: Mapping[str, Any], names: Mapping[str, str]) -> list[Fact]:
    facts = []
    for key, label in names.items():
        value = data.get(key)
        if value in (None, "", [], ()):
            continue
        if isinstance(value, bool):
            text = _yes(value)
        elif isinstance(value, int):
            text = grouped(value)
        elif key == "size" and isinstance(value, (list, tuple)):
            text = " × ".join(str(v) for v in value)  # noqa: RUF001
        elif isinstance(value, (list, tuple)):
            text = ", ".join(str(v) for v in value)
        elif isinstance(value, Mapping):
            q = quantity(value)
            text = (
                full(q)
                if q
                else str(value.get("text", "")) or "; ".join(f"{k} {v}" for k, v in value.items())
            )
        else:
            text = str(value)
        facts.append(Fact(name=label, value=text))
    return facts


def _part(report: Report, name: str) -> Mapping[str, Any]:
    found = report.manifest.get(name)
    return found if isinstance(found, Mapping) else {}


def provenance(report: Report) -> list[tuple[str, list[Fact]]]:
    """Model, data, plan and machine: what a repetition must share."""
    model = {
        "name": "name",
        "digest": "SHA-256 of weights",
        "parameters": "parameters",
        "classes": "classes",
        "channels": "channels",
        "size": "input size",
        "mean": "mean",
        "std": "standard deviation",
        "tracer": "traced by",
        "trainable": "cut trains exactly",
        "notes": "notes",
    }
    data = {
        "name": "name",
        "licence": "licence",
        "digest": "SHA-256 of images",
        "auxiliary": "auxiliary images",
        "validation": "validation images",
        "test": "test images",
        "class_names": "class names",
        "conversions": "conversions",
        "duplicates": "near-duplicates",
    }
    plan = {
        "budget": "budget",
        "cuts": "cuts",
        "seconds": "seconds allowed",
        "seed": "seed",
        "jobs": "worker processes",
        "attacks": "attacks",
        "releases": "releases",
        "device": "device",
    }
    groups = [
        ("Model", _facts(_part(report, "model"), model)),
        ("Data", _facts(_part(report, "data"), data)),
        ("Plan", _facts(_part(report, "plan"), plan)),
        (
            "Machine",
            _facts(
                _part(report, "environment"),
                {k: k.replace("_", " ") for k in _part(report, "environment")},
            ),
        ),
    ]
    scope = report.manifest.get("scope")
    if scope:
        groups[2][1].append(Fact(name="scope", value=str(scope)))
    return [(name, facts) for name, facts in groups if facts]
