"""Leakage against depth: every attack, the best of them, the floors, and other releases."""

from collections.abc import Iterator

from splitveil.records import Outcome
from splitveil.report.chart import ATTACK_ROLES, Axis, Chart, Marker, Point, Role, Rule, Series
from splitveil.report.marks import DASHES, DEPTH, FLOOR_NAMES, categories, merged, point, position
from splitveil.report.numbers import full, number
from splitveil.report.reading import IDENTITY, Finding, Report, is_floor, method_name

_MARKERS: tuple[Marker, ...] = ("square", "triangle", "circle", "cross", "ring")


def _by_method(report: Report, release: str) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in report.attacks():
        if outcome.trial.release == release and "leakage" in outcome.quantities:
            groups.setdefault(outcome.trial.method, []).append(outcome)
    return groups


def _line(report: Report, outcomes: list[Outcome], measure: str = "leakage") -> tuple[Point, ...]:
    """One point a cut, in order of depth; where seeds repeat a trial, the strongest."""
    where = position(report)
    best: dict[int, Outcome] = {}
    for outcome in outcomes:
        index = where.get(outcome.trial.cut)
        if index is None:
            continue
        if index not in best or (
            outcome.quantities[measure].value > best[index].quantities[measure].value
        ):
            best[index] = outcome
    return tuple(
        point(
            index,
            o.quantities[measure],
            f"{report.cut_name(o.trial.cut)}, {method_name(o.trial.method)}: "
            f"{full(o.quantities[measure])}",
        )
        for index, o in sorted(best.items())
    )


def _labelled(methods: list[str]) -> Iterator[tuple[str, str]]:
    """Each recipe with a short name; the whole recipe where short names would clash."""
    short = [method_name(m) for m in methods]
    for recipe, name in zip(methods, short, strict=True):
        yield recipe, name if short.count(name) == 1 else recipe


def _attack_series(report: Report) -> Iterator[Series]:
    groups = _by_method(report, report.sent)
    strong = sorted(m for m in groups if not is_floor(m))
    for slot, (recipe, name) in enumerate(_labelled(strong)):
        yield Series(
            name=name,
            role=ATTACK_ROLES[slot % len(ATTACK_ROLES)],
            points=_line(report, groups[recipe]),
            marker=_MARKERS[slot % len(_MARKERS)],
        )


def _floor_parts(report: Report) -> tuple[list[Series], list[Rule]]:
    series, rules = [], []
    # floors that look at nothing are always recorded as under no release
    groups = _by_method(report, IDENTITY) | _by_method(report, report.sent)
    for recipe, outcomes in sorted(groups.items()):
        if not is_floor(recipe):
            continue
        name, dash = FLOOR_NAMES[method_name(recipe)], DASHES[method_name(recipe)]
        values = {round(o.quantities["leakage"].value, 9) for o in outcomes}
        if len(values) == 1 and {o.trial.cut for o in outcomes} == {"*"}:
            rules.append(Rule(name=name, axis="y", value=values.pop(), dash=dash))
        else:
            points = _line(report, outcomes)
            series.append(
                Series(name=name, role=Role.FLOOR, points=points, marker="ring", dash=dash)
            )
    return series, rules


def _finding_points(
    report: Report, chosen: list[Finding], *, named: bool = False
) -> tuple[Point, ...]:
    where = position(report)
    points = [
        point(
            where[f.cut],
            f.leakage,
            f"{report.cut_name(f.cut)}, {f.release}, best of {f.attacks} "
            f"({f.attack}): {full(f.leakage)}",
            f.release if named else "",
        )
        for f in chosen
        if f.leakage is not None and f.cut in where
    ]
    return tuple(sorted(points, key=lambda p: p.x))


def _reach_points(report: Report) -> tuple[Point, ...]:
    where = position(report)
    return tuple(
        Point(
            x=float(where[cut.id]),
            y=found.leakage.value,
            low=found.leakage.low,
            high=found.leakage.high,
            text=f"{cut.name}, best of {found.attacks} attacks ({found.attack}): "
            f"{full(found.leakage)}",
            marked=found.cut == cut.id,
        )
        for cut, found in report.reach()
        if found.leakage is not None
    )


def _ceilings(report: Report) -> tuple[Point, ...]:
    """What a theorem's least error leaves of the floor's: L cannot be higher on these images."""
    where = position(report)
    floor = next(
        (
            o.quantities["mse"]
            for o in report.attacks()
            if method_name(o.trial.method) == "ClassMean" and "mse" in o.quantities
        ),
        None,
    )
    points = []
    for finding in report.findings:
        if floor is None or finding.bound is None or finding.cut not in where:
            continue
        top = max(0.0, 1 - finding.bound.value / floor.high)
        text = f"{report.cut_name(finding.cut)}, {finding.release}: no attack above {number(top)}"
        points.append(Point(x=float(where[finding.cut]), y=top, low=top, high=top, text=text))
    return tuple(points)


def leakage_chart(report: Report) -> Chart | None:
    """Leakage against depth: every attack, the best of them, the floors, and other releases."""
    plain = _reach_points(report)
    others = [f for f in report.findings if f.release != report.sent]
    releases = sorted({f.release for f in others})
    noisy = _finding_points(report, others, named=len(releases) > 1)
    attacks = list(_attack_series(report))
    floors, rules = _floor_parts(report)
    if not plain and not noisy and not any(s.points for s in attacks):
        return None
    series = [*floors, *attacks]
    if plain:
        series.insert(
            0,
            Series(name=report.reached_by, role=Role.BEST, points=plain, marker="circle"),
        )
    if noisy:
        series.append(
            Series(
                name=f"best attack under {releases[0]}"
                if len(releases) == 1
                else "best attack under another release",
                role=Role.NOISE,
                points=noisy,
                marker="diamond",
                line=False,
            )
        )
    ceilings = _ceilings(report)
    if ceilings:
        series.append(
            Series(
                name="theorem: no attack above",
                role=Role.BOUND,
                points=ceilings,
                marker="ceiling",
                line=False,
            )
        )
    return Chart(
        name="leakage",
        title="How much of an image an attacker recovered, by cut",
        description=_leakage_words(report, plain, noisy),
        x=Axis(label=DEPTH, scale="category", categories=categories(report)),
        y=Axis(label="leakage L, share recovered", low=0.0, high=1.0),
        series=tuple(series),
        rules=merged([r for r in rules if 0 <= r.value <= 1]),
        notes=(*_hidden_floors(rules), *_chart_notes(plain, ceilings)),
    )


def _chart_notes(plain: tuple[Point, ...], ceilings: tuple[Point, ...]) -> Iterator[str]:
    if plain:
        yield (
            "Whoever sees a shallow cut can compute every deeper one, so the thick line counts an "
            "attack on a deeper cut here too; it has dots at the cuts of the attacks themselves."
        )
    if ceilings:
        yield (
            "A ceiling turns a theorem's least error into a share by the upper end of the "
            "class mean's error."
        )


def _hidden_floors(rules: list[Rule]) -> tuple[str, ...]:
    return tuple(
        f"{rule.name} lies below the axis, at L = {number(rule.value)}."
        for rule in rules
        if rule.value < 0
    )


def _leakage_words(report: Report, plain: tuple[Point, ...], noisy: tuple[Point, ...]) -> str:
    names = categories(report)
    parts = [f"Leakage at {len(plain)} of {len(names)} cuts."]
    if plain:
        top = max(plain, key=lambda p: p.y)
        low = min(plain, key=lambda p: p.y)
        parts.append(
            f"The best attack recovered most at {names[int(top.x)]} ({number(top.y)}) "
            f"and least at {names[int(low.x)]} ({number(low.y)})."
        )
    if noisy:
        parts.append(f"{len(noisy)} other releases are marked by diamonds.")
    return " ".join(parts)
