"""Many candidates at once, and the example of the documentation."""

import re
from pathlib import Path

import numpy as np
import pytest
from select_candidates import candidate, quantity
from select_runs import accuracy, attack, write_run

from splitveil.select import Limits, front, select

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_a_front_of_many_is_that_of_its_parts() -> None:
    """More candidates than one block compares."""
    draws = np.random.default_rng(3).uniform(0, 0.9, (700, 2))
    pool = [
        candidate(f"{i}", leakage=quantity(a, a), latency=quantity(b, b, "s"), accuracy=None)
        for i, (a, b) in enumerate(draws.tolist())
    ]
    least, expected = np.inf, set()
    for one in sorted(pool, key=lambda one: one.leakage.value):  # a staircase in two dimensions
        assert one.latency is not None
        if one.latency.value < least:
            least = one.latency.value
            expected.add(one.cut)
    assert {one.cut for one in front(pool)} == expected
    halves = [*front(pool[:350]), *front(pool[350:])]
    assert {one.cut for one in front(halves)} == expected
    assert front([]) == ()
    assert select([], Limits()).relaxations == ()


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(
        tmp_path / "splitveil-audit" / "vgg-demo",
        [accuracy("*", 0.9), attack("late", "Ridge()", 0.3)],
    )
    section = PAGE.read_text(encoding="utf-8").partition("## Choose a cut")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    exec("import splitveil as sv\n" + code, {})
    assert "name='late'" in capsys.readouterr().out
