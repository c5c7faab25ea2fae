"""How like the originals the best attack's pictures are at each cut, as a table."""

from splitveil.quantities import Quantity
from splitveil.report.reading import Report, method_name
from splitveil.report.tables import Cell, Column, Table, sample_sizes, shown_quantity

_NUMBERS = (
    "psnr_of_mean",
    "ssim",
    "r_squared",
    "r_squared_in_class",
    "found",
    "found_in_class",
)
_BANDS = ("band mean", "band 0-0.125", "band 0.125-0.25", "band 0.25-0.5", "band 0.5-1")
_RISKS = ("risk", "channel_used")
_COLUMNS = (
    Column(name="cut", numeric=False),
    Column(name="best attack here", numeric=False),
    Column(name="PSNR of the mean error", unit="dB", kind="measured"),
    Column(name="SSIM", kind="measured"),
    Column(name="R²", unit="share", kind="measured"),
    Column(name="R² in class", unit="share", kind="measured"),
    Column(name="found again", unit="share", kind="measured"),
    Column(name="found in class", unit="share", kind="measured"),
    Column(name="mean grey", unit="MSE per pixel", kind="measured"),
    Column(name="up to 1/8", unit="MSE per pixel", kind="measured"),
    Column(name="to 1/4", unit="MSE per pixel", kind="measured"),
    Column(name="to 1/2", unit="MSE per pixel", kind="measured"),
    Column(name="finest", unit="MSE per pixel", kind="measured"),
    Column(name="risk", unit="ratio", kind="measured"),
    Column(name="channel used", unit="share", kind="measured"),
)


def likeness_table(report: Report) -> Table | None:
    """A row for each attacked cut, on what is always sent; None where no record has the figures."""
    best = {f.cut: f.attack for f in report.findings if f.release == report.sent}
    numbers: dict[str, dict[str, Quantity]] = {
        outcome.trial.cut: dict(outcome.quantities)
        for outcome in report.outcomes
        if outcome.trial.release == report.sent
        and best.get(outcome.trial.cut) == outcome.trial.method
        and "r_squared" in outcome.quantities
    }
    rows = tuple(
        (
            Cell(text=cut.name, key=repr(cut.depth)),
            Cell(text=method_name(best[cut.id]), title=best[cut.id]),
            *(shown_quantity(numbers[cut.id].get(name)) for name in (*_NUMBERS, *_BANDS, *_RISKS)),
        )
        for cut in report.cuts
        if cut.id in numbers
    )
    if not rows:
        return None
    size = sample_sizes([found.get("r_squared") for found in numbers.values()])
    chance = _chance(numbers)
    return Table(
        name="likeness",
        caption=f"{size} test images, 95 % intervals. Found again: the original is the nearest of "
        f"all of them{chance}. Bands of frequency sum to the MSE. Risk: how much nearer "
        "than the mean image, every direction of 99 % of the variance alike; channel used: of what "
        "as many principal components would give.",
        columns=_COLUMNS,
        rows=rows,
    )


def _chance(numbers: dict[str, dict[str, Quantity]]) -> str:
    for found in numbers.values():
        if "found_chance" in found:
            blind = f"a blind guess gets {found['found_chance'].value:.2g}"
            if "found_in_class_chance" in found:
                blind += f", in its class {found['found_in_class_chance'].value:.2g}"
            return f" ({blind})"
    return ""
