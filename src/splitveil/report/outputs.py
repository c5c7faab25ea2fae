"""What the network's own answer gave away, as a table: outputs are channels, not cuts."""

from collections.abc import Mapping
from math import prod
from typing import Any

from splitveil.audit.verdict import Finding, answers
from splitveil.report.reading import Report, method_name
from splitveil.report.tables import Cell, Column, Table, sample_sizes, shown_quantity

_NUMBERS = ("leakage", "tail_leakage", "psnr", "mse", "ssim", "r_squared", "found", "risk")
_COLUMNS = (
    Column(name="output", numeric=False),
    Column(name="values", unit="an image"),
    Column(name="best attack", numeric=False),
    Column(name="leakage L", unit="share", kind="measured"),
    Column(name="worst 1 %", unit="leakage L, share", kind="measured"),
    Column(name="PSNR", unit="dB", kind="measured"),
    Column(name="MSE", unit="per pixel", kind="measured"),
    Column(name="SSIM", kind="measured"),
    Column(name="R²", unit="share", kind="measured"),
    Column(name="found again", unit="share", kind="measured"),
    Column(name="risk", unit="ratio", kind="measured"),
)


def outputs_table(report: Report) -> Table | None:
    """A row for each channel of the output; None where none was attacked."""
    found = answers(report.outcomes, report.manifest)
    if not found:
        return None
    sizes = {one["name"]: _values(one["cut"]["layout"]) for one in report.manifest["outputs"]}
    size = sample_sizes([one.leakage for _, one in found])
    return Table(
        name="outputs",
        caption=f"The best attack on each output. {size} test images, 95 % intervals.",
        columns=_COLUMNS,
        rows=tuple(_row(name, sizes[name], one) for name, one in found),
    )


def _row(name: str, size: int, finding: Finding) -> tuple[Cell, ...]:
    method = finding.best.trial.method
    inner = method.removeprefix("LogScores(attack=")
    detail = "on logarithms, " if inner != method else ""
    return (
        Cell(text=name, small="output"),
        Cell(text=str(size), key=str(size)),
        Cell(
            text=method_name(inner),
            small=f"{detail}best of {finding.attacks}",
            title=method,
        ),
        *(shown_quantity(finding.best.quantities.get(n)) for n in _NUMBERS),
    )


def _values(layout: Mapping[str, Any]) -> int:
    """Values an image, over all parts."""
    return sum(part.get("multiplicity", 1) * prod(part["shape"]) for part in layout["parts"])
