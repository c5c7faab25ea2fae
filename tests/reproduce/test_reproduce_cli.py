"""The command: previews without running, prints findings, and ends with an honest code."""

import json
from pathlib import Path

import pytest
import reproduce_toys as toys

from splitveil import reproduce as room
from splitveil.cli import run
from splitveil.reproduce import PAPERS
from splitveil.reproduce import run as runner


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toys.RAN.clear()
    monkeypatch.setattr(runner, "load_paper", lambda name: toys.PAPER)


def test_the_preview_prints_claims_thresholds_and_minutes_and_runs_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["reproduce", "gpz", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "gpz.C14" in text
    assert ">= 0.4" in text
    assert "CPU minutes on one core declared" in " ".join(text.split())


def test_the_preview_as_json_chooses_claims(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "gpz", "--dry-run", "--json", "--claims", "C1,C4"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in described["claims"]] == ["gpz.C1", "gpz.C4"]


@pytest.mark.parametrize("paper", PAPERS)
def test_a_scale_that_changes_nothing_is_refused(
    paper: str, capsys: pytest.CaptureFixture[str]
) -> None:
    described = {}
    for scale in ("small", "paper"):
        code = run(["reproduce", paper, "--dry-run", "--json", "--scale", scale])
        printed = capsys.readouterr()
        if code == 0:
            described[scale] = json.loads(printed.out)["arms"]
        else:
            assert (code, scale) == (2, "paper")
            assert f"{paper} is run at scale small alone" in " ".join(printed.err.split())
    if "paper" in described:
        assert described["paper"] != described["small"]


@pytest.mark.usefixtures("toy")
def test_findings_are_printed_and_a_failed_arm_is_inconclusive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", "toy", "--seeds", "2", "--out", str(tmp_path)]) == 3
    text = " ".join(capsys.readouterr().out.split())
    assert "holds" in text
    assert "not run" in text
    assert "bring something" in text
    assert run(["reproduce", "toy", "--claims", "C1", "--seeds", "2", "--out", str(tmp_path)]) == 0
    assert len(toys.RAN) == 3


@pytest.mark.usefixtures("toy")
def test_findings_as_json_are_all_that_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", "toy", "--claims", "C1", "--json", "--out", str(tmp_path)]) == 0
    stored = json.loads(capsys.readouterr().out)
    assert stored["findings"][0]["verdict"] == "holds"
    assert stored["complete"] is True


def test_an_unknown_paper_or_claim_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "gbz"]) == 2
    assert "did you mean gpz" in capsys.readouterr().err
    assert run(["reproduce", "gpz", "--claims", "C99"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_paper_loads_and_lists_each_claim_once() -> None:
    for name in room.PAPERS:
        paper = room.load_paper(name)
        ids = [claim.id for claim in paper.claims]
        assert len(set(ids)) == len(ids)
        assert all(one.startswith(f"{name}.") for one in ids)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("verb", ["report", "select", "zone"])
def test_its_folder_is_no_audit(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["reproduce", "toy", "--claims", "C1", "--json", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert run([verb, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "reproduces claims of toy" in said
    assert "findings.md" in said
    assert not (tmp_path / "report.html").exists()
