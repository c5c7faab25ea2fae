"""Findings as a page of Markdown; no torch."""

from collections.abc import Iterator, Sequence

from splitveil.quantities import Quantity
from splitveil.reproduce.claims import Finding

_HEAD = ("claim", "verdict", "measured", "of", "claimed", "found, 95 %")


def table(findings: Sequence[Finding]) -> str:
    """One row a number: those that decide a claim first, then, in italics, those beside them."""
    lines = [_row(_HEAD), _row(["---"] * len(_HEAD))]
    for finding in findings:
        lines += _rows(finding)
    return "\n".join(lines) + "\n"


def notes(findings: Sequence[Finding]) -> str:
    """A list of what a reader must know of each finding, empty where there is nothing."""
    return "".join(f"- {f.claim.id}: {f.note}\n" for f in findings if f.note)


def _rows(finding: Finding) -> Iterator[str]:
    verdict = f"**{finding.verdict}**" if finding.was_run else "not run"
    first = (finding.claim.id, verdict)
    ordered = sorted(finding.quantities, key=lambda one: finding.criterion(one) is None)
    for one in ordered:
        criterion = finding.criterion(one)
        name = one.measured if criterion is not None else f"*{one.measured}*"
        claimed = "" if criterion is None else criterion.range
        yield _row((*first, name, one.subject, claimed, shown(one.quantity)))
        first = ("", "")
    if not ordered:
        yield _row((*first, "", "", "", ""))


def shown(found: Quantity) -> str:
    """`0.41 [0.38, 0.44]`, without the unit: the name of what was measured says it."""
    if found.low == found.high:
        return f"{found.value:.3g}"
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
