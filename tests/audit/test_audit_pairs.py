import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audit_pairs_toys as toys
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from splitveil.attacks import Ridge
from splitveil.audit.pairs.case import read_case
from splitveil.audit.plan import load_plan
from splitveil.audit.run import preview, run_audit
from splitveil.audit.store import Run, open_run
from splitveil.cli import BAD_INPUT, DONE
from splitveil.cli import run as command
from splitveil.errors import BadPlan
from splitveil.records import Outcome, Status
from splitveil.report import write_report
from splitveil.rng import Rng


def method(outcome: Outcome) -> str:
    return outcome.trial.method.partition("(")[0]


def by_method(run: Run) -> dict[str, Outcome]:
    return {method(o): o for o in run.outcomes()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    attacks = ["Ridge()", "NearestAuxiliary()", "PatchRidge()", "Likelihood()"]
    return run_audit(toys.plan(toys.files(folder), attacks=attacks), folder / "run")


def test_ridge_gives_what_least_squares_by_hand_gives(run: Run, folder: Path) -> None:
    """The record's error is that of fitting on the attacker's file and scoring on the other."""
    case = read_case(
        [str(folder / "aux.npz"), str(folder / "target.npz")], pixel_range=None, seed=0
    )
    own, test = case.auxiliary, case.test
    assert own.y is not None
    assert test.y is not None
    fitted = Ridge().fit(case.knowledge(knows_label=True), Rng(0))
    penalty = fitted.penalty  # type: ignore[attr-defined]
    x, z = own.x.flatten(1).double(), own.z.double()
    means = [(z[own.y == k].mean(0), x[own.y == k].mean(0)) for k in range(toys.CLASSES)]
    zs = torch.cat([z[own.y == k] - m for k, (m, _) in enumerate(means)])
    xs = torch.cat([x[own.y == k] - m for k, (_, m) in enumerate(means)])
    weight = torch.linalg.solve(zs.T @ zs + penalty * torch.eye(zs.shape[1]).double(), zs.T @ xs)
    made = torch.stack(
        [
            means[int(k)][1] + (row.double() - means[int(k)][0]) @ weight
            for row, k in zip(test.z, test.y, strict=True)
        ]
    ).clamp(0, 1)
    expected = float((made - test.x.flatten(1)).square().mean())
    found = by_method(run)["Ridge"].quantities["mse"]
    assert found.value == pytest.approx(expected, rel=1e-3)
    assert found.n == 60
    assert by_method(run)["Ridge"].quantities["leakage"].low > 0.8


def test_floors_and_splits(run: Run, folder: Path) -> None:
    found = by_method(run)
    floor = found["ClassMean"].quantities
    assert floor["leakage"].value == 0
    assert found["MeanImage"].quantities["mse"].value > floor["mse"].value
    data = run.manifest["data"]
    assert (data["auxiliary"], data["validation"], data["test"]) == (150, 30, 60)
    case = read_case(
        [str(folder / "aux.npz"), str(folder / "target.npz")], pixel_range=None, seed=0
    )
    both = torch.cat([case.validation.x, case.test.x]).flatten(1)
    assert len(torch.unique(both, dim=0)) == 90


def test_an_attack_that_needs_the_network_is_an_outcome_and_the_audit_goes_on(run: Run) -> None:
    (failed,) = (o for o in run.outcomes() if o.status is Status.FAILED)
    assert failed.reason.startswith("KnowledgeMissing: Likelihood needs WhiteBox knowledge")
    assert run.summary["complete"]
    assert run.summary["failures"][0]["reason"] == failed.reason


def test_verdict_and_report_speak_of_pairs(run: Run) -> None:
    summary = run.summary
    assert summary["verdict"].startswith(
        "RECOVERED. At cut given an attacker with 150 pairs (z, x)"
    )
    assert "whole model" not in summary["verdict"]
    assert any("holds the network" in text for text in summary["not_tested"])
    page = write_report(run.path).read_text()
    assert "holds no part of the model" in page
    assert "target.npz, with aux.npz" in page
    assert "data:image/png" not in page
    shown = write_report(run.path, show_images=True).read_text()
    assert "data:image/png" in shown


def test_the_settings_repeat_the_run(run: Run, tmp_path: Path) -> None:
    again = run_audit(load_plan(run.path / "splitveil.toml"), tmp_path / "again")
    for name, outcome in by_method(run).items():
        assert by_method(again)[name].quantities == outcome.quantities


def test_a_killed_run_goes_on_and_gives_the_same_records(tmp_path: Path) -> None:
    flag = tmp_path / "kill"
    flag.touch()
    settings = {
        "pairs": toys.files(tmp_path),
        "attacks": ["NearestAuxiliary()", f"audit_pairs_toys:Killed(if_exists='{flag}')"],
        "jobs": 0,
    }
    out = tmp_path / "run"
    command = [sys.executable, toys.__file__, str(out), json.dumps(settings)]
    assert subprocess.run(command, cwd=Path(toys.__file__).parent, check=False).returncode == -9
    kept = {o.trial.id for o in open_run(out).outcomes()}
    assert len(kept) == 3
    flag.unlink()
    resumed = run_audit(load_plan(settings), out)
    whole = run_audit(load_plan(settings), tmp_path / "whole")
    assert {o.trial.id: o.quantities for o in resumed.outcomes()} == {
        o.trial.id: o.quantities for o in whole.outcomes()
    }
    assert kept < {o.trial.id for o in resumed.outcomes()}


def test_default_attacks_and_workers(tmp_path: Path) -> None:
    given = toys.files(tmp_path)
    settings = {"pairs": given, "jobs": 1}
    run = run_audit(load_plan(settings), tmp_path / "run")
    assert {method(o) for o in run.outcomes() if o.status is Status.DONE} == {
        "MeanImage",
        "ClassMean",
        "NearestAuxiliary",
        "NearestFeatures",
        "PatchRidge",
        "Ridge",
        "PartialLeastSquares",
        "Decoder",
    }


def test_vectors_and_features_without_axes(tmp_path: Path) -> None:
    own, private = (toys.pairs(n, s, maps=False) for n, s in ((150, 1), (90, 2)))
    for part in (own, private):
        part["x"] = 10 * part["x"].reshape(len(part["x"]), -1) - 3
        del part["y"]
    plan = toys.plan(toys.files(tmp_path, own, private), attacks=[])
    run = run_audit(plan, tmp_path / "run")
    found = by_method(run)
    assert "psnr" not in found["Ridge"].quantities
    assert found["Ridge"].quantities["leakage"].low > 0.8
    assert [e["method"].partition("(")[0] for e in run.summary["not_attacked"]] == ["PatchRidge"]
    assert "no map" in run.summary["not_attacked"][0]["reason"]
    assert write_report(run.path, show_images=True).exists()


@pytest.mark.parametrize("stored", ["channels last", "no channels", "bytes", "safetensors"])
def test_the_same_images_however_stored(tmp_path: Path, stored: str) -> None:
    own, private = toys.pairs(40, 1), toys.pairs(30, 2)
    for part in (own, private):
        part["x"] = np.round(part["x"] * 255).astype(np.float32) / 255
    plain = read_case(toys.files(tmp_path, own, private), pixel_range=None, seed=0)
    change: Callable[[NDArray[Any]], NDArray[Any]] = {
        "channels last": lambda x: np.moveaxis(x, 1, 3),
        "no channels": lambda x: x[:, 0],
        "bytes": lambda x: np.round(x * 255).astype(np.uint8),
        "safetensors": lambda x: x,
    }[stored]
    names = []
    for name, part in (("a", own), ("b", private)):
        arrays = {k: np.ascontiguousarray(v) for k, v in part.items()}
        arrays["x"] = np.ascontiguousarray(change(part["x"]))
        if stored == "safetensors":
            save_file(arrays, tmp_path / f"{name}.safetensors")
            names.append(str(tmp_path / f"{name}.safetensors"))
        else:
            names.append(toys.save(tmp_path / f"{name}.npz", arrays))
    found = read_case(names, pixel_range=None, seed=0)
    torch.testing.assert_close(found.test.x, plain.test.x, atol=1e-6, rtol=0)
    assert torch.equal(found.test.z, plain.test.z)
    assert (found.digests == plain.digests) == (stored == "safetensors")
    assert bool(found.conversions) == (stored == "bytes")


def test_a_folder_of_other_pairs_is_refused(run: Run, tmp_path: Path) -> None:
    plan = toys.plan(toys.files(tmp_path, private=toys.pairs(90, 3)))
    with pytest.raises(BadPlan, match="audit of other settings"):
        run_audit(plan, run.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "vgg"}}, "no room for model"),
        ({"data": {"size": 32}}, "no room for data"),
        ({"cuts": ["conv1"]}, "no room for cuts"),
        ({"releases": ["none"]}, "no room for releases"),
        ({"threat": {"queries": 5}}, "no room for threat.queries"),
    ],
)
def test_settings_that_pairs_have_no_use_for(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadPlan, match=message):
        run_audit(toys.plan(["a.npz", "b.npz"], **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pairs_are_two_files() -> None:
    with pytest.raises(BadPlan, match="pairs are two files"):
        toys.plan(["a.npz"])


def test_a_dry_run_counts_what_a_run_does(tmp_path: Path) -> None:
    asked = toys.plan(toys.files(tmp_path))
    found = preview(asked)
    run = run_audit(asked, tmp_path / "run")
    assert {trial.id for trial in found.trials} == {o.trial.id for o in run.outcomes()}
    assert found.cuts == ("given",)
    assert found.seconds > 0
    assert found.bytes > 1e8


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "--pairs", *toys.files(tmp_path), "--attack", "Ridge()", "--jobs", "0"]
    assert command([*words, "--out", str(tmp_path / "run"), "--json"]) == DONE
    said = json.loads(capsys.readouterr().out)
    assert said["headline"]["word"] == "RECOVERED"
    assert Path(said["report"]).exists()
    assert command([*words, "--size", "8"]) == BAD_INPUT
    assert "pairs leave no room for data" in capsys.readouterr().err


def test_every_verb_works_on_pairs_or_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", "--pairs", *toys.files(tmp_path), "--attack", "Ridge()", "--jobs", "0"]
    folder = str(tmp_path / "run")
    assert command([*words, "--dry-run"]) == DONE
    assert "3 trials at 1 cut:" in capsys.readouterr().out
    assert not Path(folder).exists()
    assert command([*words, "--out", folder]) == DONE
    assert command(["report", folder]) == DONE
    capsys.readouterr()
    for verb in ("select", "zone"):
        assert command([verb, folder]) == BAD_INPUT
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "there is nothing to choose between, audit the model itself" in said
