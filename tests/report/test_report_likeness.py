"""The table of likeness holds the best attack's figures at each cut, and nothing invented."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from run_folders import Builder, around, share

from splitveil.quantities import Quantity
from splitveil.records import Task
from splitveil.report.html import render
from splitveil.report.likeness import likeness_table
from splitveil.report.reading import read_report

Make = Callable[..., Builder]


def _figures(index: int) -> dict[str, Quantity]:
    return {
        "r_squared": around(0.9 - 0.01 * index, 0.001, "share"),
        "found": share(0.5),
        "found_chance": share(0.002),
        "band mean": around(0.001, 0.0001, "mse per value"),
    }


def test_a_row_for_each_attacked_cut_with_the_best_attacks_figures(builder: Make) -> None:
    run = builder(images=False).fill()
    run.outcomes = [
        replace(o, quantities={**o.quantities, **_figures(i)}) if o.trial.task is Task.ATTACK else o
        for i, o in enumerate(run.outcomes)
    ]
    report = read_report(Path(run.write()))
    table = likeness_table(report)
    assert table is not None
    best = {f.cut: f for f in report.findings if f.release == "Identity()"}
    assert [row[0].text for row in table.rows] == [c.name for c in report.cuts if c.id in best]
    for row, cut in zip(table.rows, (c for c in report.cuts if c.id in best), strict=True):
        (own,) = (
            o
            for o in report.outcomes
            if o.trial.cut == cut.id
            and o.trial.method == best[cut.id].attack
            and o.trial.release == "Identity()"
        )
        assert row[4].key == repr(own.quantities["r_squared"].value)
        assert row[5].text == "–"  # noqa: RUF001 - no figure, so a dash
    assert "a blind guess gets 0.002" in table.caption
    assert "How like the originals" in render(report, (), show_images=False)


def test_records_without_the_figures_have_no_table(builder: Make) -> None:
    report = read_report(Path(builder(images=False).fill().write()))
    assert likeness_table(report) is None
    assert "How like the originals" not in render(report, (), show_images=False)
