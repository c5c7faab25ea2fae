"""Which figures a run gives: leakage, the sandwich, the spread of features, and the price."""

import math
from collections.abc import Callable, Iterator

from splitveil.quantities import Quantity
from splitveil.records import Outcome
from splitveil.report.chart import (
    ATTACK_ROLES,
    Axis,
    Chart,
    Marker,
    Point,
    Role,
    Rule,
    Series,
    Span,
)
from splitveil.report.numbers import full, number, scaled
from splitveil.report.reading import IDENTITY, CutRow, Finding, Report, is_floor, method_name

_MARKERS: tuple[Marker, ...] = ("square", "triangle", "circle", "cross", "ring")
_DASHES = {"MeanImage": "1 4", "ClassMean": "7 4", "NearestAuxiliary": "2 3 7 3"}
_FLOOR_NAMES = {
    "MeanImage": "floor: mean image",
    "ClassMean": "floor: class mean",
    "NearestAuxiliary": "floor: nearest auxiliary image",
}
_DEPTH = "cuts, deeper to the right →"


def _categories(report: Report) -> tuple[str, ...]:
    return tuple(cut.name for cut in report.cuts)


def _position(report: Report) -> dict[str, int]:
    return {cut.id: index for index, cut in enumerate(report.cuts)}


def _point(x: float, quantity: Quantity, text: str, tag: str = "") -> Point:
    return Point(x=x, y=quantity.value, low=quantity.low, high=quantity.high, text=text, tag=tag)


def _by_method(report: Report, release: str) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in report.attacks():
        if outcome.trial.release == release and "leakage" in outcome.quantities:
            groups.setdefault(outcome.trial.method, []).append(outcome)
    return groups


def _line(report: Report, outcomes: list[Outcome], measure: str = "leakage") -> tuple[Point, ...]:
    """One point a cut, in order of depth; where seeds repeat a trial, the strongest."""
    where = _position(report)
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
        _point(
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
    groups = _by_method(report, IDENTITY)
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
    for recipe, outcomes in sorted(_by_method(report, IDENTITY).items()):
        if not is_floor(recipe):
            continue
        name, dash = _FLOOR_NAMES[method_name(recipe)], _DASHES[method_name(recipe)]
        values = {round(o.quantities["leakage"].value, 9) for o in outcomes}
        if len(values) == 1:
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
    where = _position(report)
    points = [
        _point(
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
    where = _position(report)
    return tuple(
        _point(
            where[cut.id],
            found.leakage,
            f"{cut.name}, best of {found.attacks} attacks ({found.attack}"
            f"{'' if found.cut == cut.id else f', on {report.cut_name(found.cut)}'}): "
            f"{full(found.leakage)}",
        )
        for cut, found in report.reach()
        if found.leakage is not None
    )


def _ceilings(report: Report) -> tuple[Point, ...]:
    """What a theorem's least error leaves of the floor's: L cannot be higher on these images."""
    where = _position(report)
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
        points.append(Point(x=where[finding.cut], y=top, low=top, high=top, text=text))
    return tuple(points)


def leakage_chart(report: Report) -> Chart | None:
    """Leakage against depth: every attack, the best of them, the floors, and other releases."""
    plain = _reach_points(report)
    noisy = _finding_points(report, [f for f in report.findings if f.release != IDENTITY])
    attacks = list(_attack_series(report))
    floors, rules = _floor_parts(report)
    if not plain and not noisy and not any(s.points for s in attacks):
        return None
    series = [*floors, *attacks]
    if plain:
        series.insert(
            0,
            Series(
                name="best attack here or deeper", role=Role.BEST, points=plain, marker="circle"
            ),
        )
    if noisy:
        series.append(
            Series(
                name="best attack on a noisy release",
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
        x=Axis(label=_DEPTH, scale="category", categories=_categories(report)),
        y=Axis(label="leakage L, share of within-class variance recovered", low=0.0, high=1.0),
        series=tuple(series),
        rules=_merged([r for r in rules if 0 <= r.value <= 1]),
        notes=(*_hidden_floors(rules), *_chart_notes(plain, ceilings)),
    )


def _merged(rules: list[Rule]) -> tuple[Rule, ...]:
    """Rules at one value as one rule that carries all their names."""
    groups: dict[float, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(rule.value, []).append(rule)
    return tuple(
        Rule(
            name="floor: " + ", ".join(r.name.removeprefix("floor: ") for r in group),
            axis=group[0].axis,
            value=value,
            dash=group[0].dash,
        )
        for value, group in groups.items()
    )


def _chart_notes(plain: tuple[Point, ...], ceilings: tuple[Point, ...]) -> Iterator[str]:
    if plain:
        yield (
            "Whoever sees a shallow cut can compute every deeper one, so the thick line counts an "
            "attack on a deeper cut here too."
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
    names = _categories(report)
    parts = [f"Leakage at {len(plain)} of {len(names)} cuts."]
    if plain:
        top = max(plain, key=lambda p: p.y)
        low = min(plain, key=lambda p: p.y)
        parts.append(
            f"The best attack recovered most at {names[int(top.x)]} ({number(top.y)}) "
            f"and least at {names[int(low.x)]} ({number(low.y)})."
        )
    if noisy:
        parts.append(f"{len(noisy)} noisy releases are marked by diamonds.")
    return " ".join(parts)


def sandwich_chart(report: Report) -> Chart | None:
    """Per release with a theorem below it: the bound, the best attack, and the gap between."""
    rows = [
        f
        for f in report.findings
        if f.bound is not None and f.mse is not None and report.cut(f.cut) is not None
    ]
    if not rows:
        return None
    lower, upper, spans, names = [], [], [], []
    for row, finding in enumerate(rows):
        bound, attack = finding.bound, finding.mse
        assert bound is not None and attack is not None  # noqa: PT018, S101
        name = report.cut_name(finding.cut)
        names.append(name if len({f.release for f in rows}) == 1 else f"{name} · {finding.release}")
        lower.append(
            Point(x=bound.value, y=row, low=bound.value, high=bound.value, text=full(bound))
        )
        upper.append(
            Point(x=attack.value, y=row, low=attack.low, high=attack.high, text=full(attack))
        )
        spans.append(
            Span(
                y=row,
                start=bound.value,
                end=attack.value,
                text="the least possible error lies here",
            )
        )
    return Chart(
        name="sandwich",
        title="Between theorem and attack: where the least possible error lies",
        description=f"{len(rows)} rows, each from a theorem's value to the best attack's error.",
        x=Axis(label="mean squared error per pixel, pixels in [0, 1] →", low=0.0),
        y=Axis(label="", scale="category", categories=tuple(names)),
        series=(
            Series(
                name="theorem: no attack does better",
                role=Role.BOUND,
                points=tuple(lower),
                marker="wedge",
                line=False,
                interval="x",
            ),
            Series(
                name="best attack found",
                role=Role.BEST,
                points=tuple(upper),
                marker="circle",
                line=False,
                interval="x",
            ),
        ),
        rules=_merged(list(_floor_errors(report))),
        spans=tuple(spans),
        notes=(f"Release: {rows[0].release}.",) if len({f.release for f in rows}) == 1 else (),
    )


def _floor_errors(report: Report) -> Iterator[Rule]:
    seen: set[str] = set()
    for outcome in report.attacks():
        name = method_name(outcome.trial.method)
        if name in ("MeanImage", "ClassMean") and name not in seen and "mse" in outcome.quantities:
            seen.add(name)
            yield Rule(
                name=_FLOOR_NAMES[name],
                axis="x",
                value=outcome.quantities["mse"].value,
                dash=_DASHES[name],
            )


_SPREAD: tuple[tuple[str, str, str, Role, Marker], ...] = (
    ("radius", "Intra-class radius R²c", "log", Role.FIRST, "square"),
    ("nc1", "Class collapse NC1", "log", Role.SECOND, "triangle"),
    ("rho", "Within-class share \N{GREEK SMALL LETTER RHO}", "linear", Role.THIRD, "circle"),
)


def spread_charts(report: Report) -> tuple[Chart, ...]:
    """R_c^2 and its scale-free twins against depth, one small figure each, labelled proxies."""
    found = (_spread_chart(report, *spec) for spec in _SPREAD)
    return tuple(chart for chart in found if chart is not None)


def _spread_chart(
    report: Report, key: str, title: str, scale: str, role: Role, marker: Marker
) -> Chart | None:
    points, lost = [], 0
    for index, cut in enumerate(report.cuts):
        quantity = cut.spread.get(key)
        if quantity is None:
            continue
        if not math.isfinite(quantity.value) or (scale == "log" and quantity.value <= 0):
            lost += 1
            continue
        points.append(_point(index, quantity, f"{cut.name}: {full(quantity)}"))
    if not points:
        return None
    first, last = points[0], points[-1]
    unit = next(q.unit for c in report.cuts if (q := c.spread.get(key)) is not None)
    note = (f"{lost} values that are zero or infinite have no place on this axis.",) if lost else ()
    return Chart(
        name=key,
        title=f"{title} (proxy)",
        description=(
            f"{title} at {len(points)} cuts, from {number(first.y)} at the first to "
            f"{number(last.y)} at the last."
        ),
        x=Axis(label=_DEPTH, scale="category", categories=_categories(report)),
        y=Axis(label=unit or "no unit", scale="log")
        if scale == "log"
        else Axis(label=unit or "no unit", low=0.0),
        series=(Series(name=title, role=role, points=tuple(points), marker=marker),),
        notes=note,
    )


def cost_charts(report: Report) -> tuple[Chart, ...]:
    """Leakage against what crosses the wire and against the work left to the device."""
    payload = _cost_chart(
        report,
        "payload",
        "What crosses the wire",
        "bytes an image, fp32, log scale →",
        lambda cut: cut.bytes["fp32"],
        "B",
    )
    work = _cost_chart(
        report,
        "edge",
        "What the device computes",
        "operations an image (FLOP), log scale →",
        lambda cut: cut.edge_flops,
        "FLOP",
    )
    return tuple(chart for chart in (payload, work) if chart is not None)


def _cost_chart(
    report: Report, name: str, title: str, label: str, cost: Callable[[CutRow], int], unit: str
) -> Chart | None:
    plain = report.reach()
    noisy = [
        (cut, f)
        for f in report.findings
        if f.release != IDENTITY and (cut := report.cut(f.cut)) is not None
    ]
    kinds: tuple[tuple[Role, Marker, str, list[tuple[CutRow, Finding]]], ...] = (
        (Role.BEST, "circle", "features as they are", plain),
        (Role.NOISE, "diamond", "noisy release", noisy),
    )
    series = []
    for role, marker, legend, found in kinds:
        points = [
            _point(
                cost(cut),
                f.leakage,
                f"{cut.name}, {f.release}: {scaled(cost(cut), unit)}, {full(f.leakage)}",
                cut.name,
            )
            for cut, f in found
            if f.leakage is not None and cost(cut) > 0
        ]
        if points:
            points.sort(key=lambda p: (p.y, p.x))
            series.append(
                Series(name=legend, role=role, points=tuple(points), marker=marker, line=False)
            )
    if not series:
        return None
    return Chart(
        name=name,
        title=title,
        description=f"{title} against leakage, {sum(len(s.points) for s in series)} points; "
        "the table of cuts holds every number.",
        x=Axis(label=label, scale="log", prefixes=True),
        y=Axis(label="leakage L, best attack here or deeper", low=0.0, high=1.0),
        series=tuple(series),
    )


def charts(report: Report) -> dict[str, tuple[Chart, ...]]:
    """All figures the run gives, by section."""
    leakage, sandwich = leakage_chart(report), sandwich_chart(report)
    return {
        "leakage": (leakage,) if leakage else (),
        "sandwich": (sandwich,) if sandwich else (),
        "spread": spread_charts(report),
        "cost": cost_charts(report),
    }
