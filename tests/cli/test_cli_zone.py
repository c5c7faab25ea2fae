"""splitveil zone on records written by hand."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from splitveil.cli import BAD_INPUT, DONE, INCONCLUSIVE, run
from splitveil.quantities import Kind, Quantity
from splitveil.records import Environment, Outcome, Status, Task, Trial

HERE = Environment(
    splitveil="0", python="3", torch="2", platform="p", processor="q", threads=1, device="cpu"
)
NC1 = [10.0, 9.0, 4.0, 1.0]
CENTRES = [0.4, 0.5, 0.7, 0.85]


def number(value: float) -> Quantity:
    return Quantity(value=value, low=value, high=value, unit="", kind=Kind.MEASURED, n=100)


def outcome(task: Task, cut: str, method: str, **content: Any) -> str:
    trial = Trial(scope="s", task=task, cut=cut, release="Identity()", method=method, seed=0)
    done = Outcome(trial=trial, status=Status.DONE, environment=HERE, seconds=1.0, **content)
    return json.dumps(done.to_json())


def error(cut: str, method: str, value: float) -> str:
    quantities = {"mse": number(value), "validation_mse": number(value)}
    return outcome(Task.ATTACK, cut, method, quantities=quantities)


def write(folder: Path, etas: list[float | None], *, nc1: list[float] = NC1) -> Path:
    cuts, replicates = {}, {}
    for index, value in enumerate(nc1):
        spread = {"nc1": number(value), "centre_accuracy": number(CENTRES[index])}
        spread["leak(0.1)"] = number(100.0 / (index + 1))
        cuts[f"c{index}"] = {name: q.to_json() for name, q in spread.items()}
        replicates[f"c{index}"] = {"nc1": [value * (1 + 0.001 * (i % 3)) for i in range(16)]}
    details = {"cuts": cuts, "replicates": replicates, "classes": "labels"}
    details["paper_raw"] = {"radii": {f"c{i}": value for i, value in enumerate(nc1)}}
    lines = [
        outcome(Task.MOMENTS, "*", "moments()", details=details),
        outcome(Task.UTILITY, "*", "accuracy()", quantities={"accuracy": number(0.9)}),
        error("*", "ClassMean()", 0.05),
    ]
    for index, eta in enumerate(etas):
        if eta is not None:
            lines.append(error(f"c{index}", "Ridge()", 0.05 * eta))
    manifest = {
        "model": {"name": "net", "digest": "ab" * 32, "channels": 3, "size": [8, 8]},
        "cuts": [
            {
                "cut": {
                    "id": f"c{index}",
                    "name": f"cut{index}",
                    "kind": "activation",
                    "depth": index / 4,
                    "layout": {"parts": [{"shape": [1000 >> index], "multiplicity": 1}]},
                },
                "edge_parameters": 10 * (index + 1),
                "edge_flops": 100 * (index + 1),
            }
            for index in range(4)
        ],
    }
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    return folder


ETAS: list[float | None] = [0.05, 0.2, 0.6, 0.8]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = run(["zone", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_every_rule_is_told_with_its_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = told(capsys, str(write(tmp_path / "run", ETAS)))
    assert code == DONE
    assert found["robust"] == {"start": "c3", "end": "c3", "undecided": []}
    assert found["post_hoc"] == {
        "jump": "c1",
        "high_fidelity_ends": "c1",  # 3 x 0.0025 < 0.02 <= 3 x 0.01
        "threshold_summed_over_channels": 0.02,
        "threshold_per_value": 0.02 / 3,
    }
    assert found["dimension_only"] == "c1"  # halved everywhere: the first of equals
    last = found["cuts"][3]
    assert last["nc1_fall"] == pytest.approx(0.75)
    assert last["attack_mse_per_value"]["value"] == pytest.approx(0.04)
    assert last["attack_mse_summed"] == pytest.approx(0.12)
    assert (last["falls"], last["unreadable"]) == (True, True)


def test_the_words_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert run(["zone", str(write(tmp_path / "run", ETAS))]) == DONE
    text = " ".join(capsys.readouterr().out.split())
    assert "Zone by the robust rule: cut3 to cut3." in text
    assert (
        "mse summed over channels < 0.02 ends at: cut1 (0.0067 per value with 3 channels)" in text
    )
    assert "number of features alone, D before / here, would say: cut1" in text


def test_no_zone_is_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "run", ETAS, nc1=[10.0, 10.0, 10.0, 10.0])
    code, found = told(capsys, str(path))
    assert code == DONE
    assert found["robust"] == {"start": None, "end": None, "undecided": []}
    assert run(["zone", str(path)]) == DONE
    assert "No zone by the robust rule" in capsys.readouterr().out
    late = write(tmp_path / "late", ETAS)
    code, found = told(capsys, str(late), "--max-edge-parameters", "25")
    assert (code, found["robust"]["start"]) == (DONE, None)


def test_a_cut_that_was_not_attacked_leaves_it_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "run", [0.05, None, None, None])
    code, found = told(capsys, str(path))
    assert code == INCONCLUSIVE
    assert found["robust"]["undecided"] == ["c3"]  # c1 and c2 fail by their class centres
    assert run(["zone", str(path)]) == INCONCLUSIVE
    assert "Undecided by the robust rule: what is known speaks for cut3" in capsys.readouterr().out


def test_a_run_without_moments_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "run", ETAS)
    (path / "records.jsonl").write_text("")
    assert run(["zone", str(path)]) == BAD_INPUT
    assert "holds no moments" in capsys.readouterr().err
    assert run(["zone", str(path), "--max-edge-flops", "many"]) == BAD_INPUT
    assert "--max-edge-flops" in capsys.readouterr().err


def test_it_needs_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path / "run", ETAS)
    code = (
        "import sys\nfrom splitveil.cli import run\n"
        f"assert run(['zone', {str(path)!r}]) == 0\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
