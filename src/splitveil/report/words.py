"""The wording of a whole page, checked against the kinds of the numbers it shows."""

from collections.abc import Iterator, Mapping
from typing import Any

from splitveil.quantities import Quantity
from splitveil.report.numbers import number
from splitveil.report.reading import Report, quantity
from splitveil.report.wording import check_wording, text_of_page


def check_page(source: str, report: Report) -> None:
    """Refuse a page that calls a model, proxy or measured number a bound.

    Raises:
        MislabelledClaim: naming the clause.
    """
    weak: set[str] = set()
    proven: set[str] = set()
    for q in _quantities(report):
        (proven if q.is_bound else weak).add(number(q.value))
        (proven if q.is_bound else weak).add(f"{q.value:.3g}")
    check_wording(text_of_page(source), weak_numbers=weak - proven, names=_names(report))


def _quantities(report: Report) -> Iterator[Quantity]:
    for outcome in report.outcomes:
        yield from outcome.quantities.values()
        yield from _nested(outcome.details)
    for finding in report.findings:
        yield from (q for q in (finding.bound, finding.leakage, finding.mse) if q is not None)


def _nested(data: Any) -> Iterator[Quantity]:
    if not isinstance(data, Mapping):
        return
    if "kind" in data and "value" in data:
        found = quantity(data)
        if found is not None:
            yield found
        return
    for value in data.values():
        yield from _nested(value)


def _names(report: Report) -> set[str]:
    """What people, files and other programs called their own things, and what these said."""
    manifest = report.manifest
    model, data, plan = (manifest.get(k) or {} for k in ("model", "data", "plan"))
    found = {report.run.path.name, *(cut.name for cut in report.cuts)}
    found |= set(report.outputs.values())
    found |= {str(part.get("name", "")) for part in (model, data)}
    found |= {str(data.get("licence", ""))}
    for part, keys in ((model, ("notes",)), (data, ("class_names", "conversions"))):
        for key in keys:
            found |= {str(name) for name in part.get(key) or ()}
    found |= {str(name) for key in ("releases", "attacks", "cuts") for name in plan.get(key) or ()}
    for outcome in report.outcomes:
        found |= {outcome.trial.release, outcome.trial.method, outcome.reason}
        found.add(outcome.trial.method.partition("(")[0])
    found |= {str(item.get("reason", "")) for item in report.summary.get("not_attacked", ())}
    return found - {""}
