"""splitveil audit and report, end to end on a small grid."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from splitveil.cli import DONE, STOPPED, run

GRID = ["--cut", "pool3", "--attack", "MeanImage()", "--release", "none"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "run"
    assert run(["audit", "vgg", *GRID, "--jobs", "0", "--out", str(folder)]) == DONE
    return folder


def again(out: Path) -> list[str]:
    return ["audit", "vgg", *GRID, "--jobs", "0", "--out", str(out)]


def test_the_report_of_the_demonstration_says_so_and_shows_pictures(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "DEMO DATA" in page
    assert "data:image" in page


def test_a_finished_run_is_not_run_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (out / "records.jsonl").read_bytes()
    assert run([*again(out), "--json"]) == DONE
    printed = capsys.readouterr()
    assert (out / "records.jsonl").read_bytes() == before
    described = json.loads(printed.out)
    assert described["complete"] is True
    assert Path(described["report"]) == out / "report.html"
    assert described["headline"]["quantity"]["unit"] == "share"


def test_the_accuracy_comes_before_any_attack(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(again(out)) == DONE
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    accuracy = next(i for i, line in enumerate(lines) if line.startswith("Accuracy on the labels"))
    trials = next(i for i, line in enumerate(lines) if "trials at 1 cut" in line)
    assert accuracy < trials
    verdict, report = printed.out.strip().splitlines()[-2:]
    assert "pool3" in verdict
    assert report == f"Report: {out / 'report.html'}"


def test_a_record_cut_short_is_set_aside_and_made_again(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = out / "records.jsonl"
    whole = records.read_bytes()
    records.write_bytes(whole[:-40])
    assert run(again(out)) == DONE
    printed = capsys.readouterr().err
    assert "Note: line" in printed
    assert "Error" not in printed
    ids = [json.loads(line)["id"] for line in records.read_text().splitlines()]
    assert sorted(ids) == sorted(json.loads(line)["id"] for line in whole.splitlines())
    assert (out / "records.damaged").exists()


def test_report_hides_pictures_when_asked(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(out), "--hide-images", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out)["report"] == str(out / "report.html")
    assert "data:image" not in (out / "report.html").read_text(encoding="utf-8")
    assert run(["report", str(out), "--show-images"]) == DONE
    assert "data:image" in (out / "report.html").read_text(encoding="utf-8")


def test_a_dry_run_attacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["audit", "vgg", *GRID, "--dry-run", "--json"]) == DONE
    described = json.loads(capsys.readouterr().out)
    assert described["cuts"] == ["pool3"]
    assert described["trials"] == sum(described["by_method"].values())
    assert described["seconds"] > 0
    assert run(["audit", "vgg", *GRID, "--dry-run"]) == DONE
    assert "Nothing was attacked" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_a_report_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["audit", "vgg", "--attack", "NearestAuxiliary()", "--release", "none"]
    words += ["--cut", "conv1", "--cut", "pool1", "--cut", "pool3", "--jobs", "1", "--out", "run"]
    command = [sys.executable, "-m", "splitveil", *words]
    with subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "trials at" in line:
                break
        time.sleep(1)  # the line is printed just before the first trial is handed out
        process.send_signal(signal.SIGINT)
        output, error = process.communicate()
    assert process.returncode == STOPPED, error
    assert error.strip().splitlines()[-1].startswith("Error: stopped; run the same command")
    assert "Traceback" not in error
    assert "Report: run/report.html" in output
    assert (tmp_path / "run" / "report.html").is_file()
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == DONE, found.stderr
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    ids = [json.loads(line)["id"] for line in lines]
    assert len(ids) == len(set(ids))
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["complete"] is True
