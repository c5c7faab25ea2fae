"""The zone section says what the rules found in the records; without moments there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import Builder

from splitveil.report.reading import read_report
from splitveil.report.zone import zone_section
from splitveil.select.reading import read_records
from splitveil.select.zone import find_zone

Make = Callable[..., Builder]


def test_the_section_repeats_the_rules(builder: Make) -> None:
    run = builder(images=False).fill()
    report = read_report(Path(run.write()))
    section = zone_section(report)
    assert section is not None
    zone = find_zone(read_records(report.run))
    told = {fact.name: fact.value for fact in section.rules}
    assert zone.jump is not None
    assert told["Jump of the attack's error"] == report.cut_name(zone.jump)
    assert zone.shrinks_most is not None
    assert told["Number of values alone"] == report.cut_name(zone.shrinks_most)
    assert [row[0].text for row in section.table.rows] == [cut.name for cut in report.cuts]


def test_records_without_replicates_have_no_zone(builder: Make) -> None:
    section = zone_section(read_report(Path(builder(images=False).fill().write())))
    assert section is not None
    assert section.answer.startswith("No zone")
    assert {fact.value for fact in section.rules if fact.name == "Robust rule"} == {"none"}


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_without_moments_has_no_section(builder: Make, *, finished: bool) -> None:
    run = builder(finished=finished, images=False)
    assert zone_section(read_report(Path(run.write()))) is None
