"""splitveil select and profile on a whole, tiny audit."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from splitveil.audit.run import run_audit
from splitveil.audit.store import open_run
from splitveil.cli import BAD_INPUT, DONE, GATE_FAILED, INCONCLUSIVE, run

TINY = Path(__file__).resolve().parents[1] / "audit" / "audit_tiny.py"
Cli = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images, a run of all of them and one that leaves some over."""
    folder = tmp_path_factory.mktemp("select")
    shutil.copy(TINY, folder)
    sys.path.insert(0, str(folder))
    try:
        import audit_tiny

        data = audit_tiny.write_images(folder)
        changes: dict[str, object] = {"releases": ["quantise(bits=2)"], "cuts": ["1", "2"]}
        whole = audit_tiny.plan(data, **changes)
        run_audit(whole, folder / "run")
        part = replace(whole, data=replace(whole.data, limit=140))
        run_audit(part, folder / "part")
    finally:
        sys.path.remove(str(folder))
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command with --json; its exit code and what it printed."""

    def call(*words: str) -> tuple[int, dict[str, Any]]:
        code = run([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_the_choice_is_the_least_leaking_one_that_fits(cli: Cli) -> None:
    code, told = cli("select", "run", "--no-reaudit")
    assert code == DONE
    assert {one["state"] for one in told["candidates"]} == {"chosen", "fits"}
    assert len(told["candidates"]) == 4  # two cuts, with and without the release
    least = min(told["candidates"], key=lambda one: one["leakage"]["high"])
    assert told["chosen"]["leakage"]["high"] <= least["leakage"]["high"] + 0.01
    assert told["candidates"][0]["cut"] == told["chosen"]["cut"]
    assert told["reaudit"] is None


def test_nothing_fits_and_the_relaxation_is_true(cli: Cli) -> None:
    limits = ["--bandwidth", "1Mbit", "--rtt", "10ms", "--max-leakage", "99%"]
    code, told = cli("select", "run", *limits, "--max-latency", "5ms")
    assert code == GATE_FAILED
    assert told["chosen"] is None
    first = told["relaxations"][0]
    assert set(first["limits"]) == {"max_latency"}
    relaxed = f"{first['limits']['max_latency']!r}s"
    code, told = cli("select", "run", *limits, "--max-latency", relaxed, "--no-reaudit")
    assert code == DONE
    assert told["chosen"]["cut"] == first["cut"]


def test_the_chosen_cut_is_audited_again_on_images_left_over(cli: Cli) -> None:
    code, told = cli("select", "part", "--min-accuracy", "0.5")
    assert code == DONE
    second = told["reaudit"]
    assert second["untouched"] is True
    assert second["selected"] == told["chosen"]["leakage"]
    assert second["reaudited"] != second["selected"]
    assert second["missing"] == []
    again = open_run(Path(second["run"]))
    assert again.manifest["data"]["digest"] != open_run("part").manifest["data"]["digest"]
    records = (again.path / "records.jsonl").read_bytes()
    assert cli("select", "part", "--min-accuracy", "0.5") == (code, told)  # found, not run, again
    assert (again.path / "records.jsonl").read_bytes() == records


def test_images_of_the_new_audit_had_no_part_in_the_run(place: Path) -> None:
    from splitveil.audit.plan import load_plan
    from splitveil.audit.subject import load_model_and_data
    from splitveil.cli.reaudit import other_images
    from splitveil.rng import Rng

    plan = load_plan(open_run("part").settings)
    _, before = load_model_and_data(plan)
    after, untouched, _ = other_images(plan, before, Rng(1))
    used = {int(i) for part in (before.test, before.validation) for i in part.ids}
    used |= {int(i) for i in before.auxiliary.ids}
    fresh = [int(i) for part in (after.test, after.validation) for i in part.ids]
    assert untouched
    assert len(set(fresh)) == len(fresh)
    assert not used & set(fresh)


def test_without_other_images_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["select", "run", "--min-accuracy", "0.5"]) == DONE
    text = " ".join(capsys.readouterr().out.split())
    assert "Chosen: " in text
    assert "the same images, divided anew" in text
    assert "not that of these images" in text


def test_a_model_that_changed_cannot_be_audited_again(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["model"]["digest"] = "0" * 64
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    assert run(["select", str(tmp_path / "run")]) == INCONCLUSIVE
    assert "has other weights now" in " ".join(capsys.readouterr().out.split())


def test_a_profile_of_this_machine_is_used(cli: Cli, place: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "device.json")
    shape = ["--channels", "1", "--size", "8"]
    code, written = cli("profile", "audit_tiny:net", *shape, "--out", path)
    assert code == DONE
    assert written == json.loads(Path(path).read_text())
    times = {one["id"]: one["edge_seconds"] for one in written["cuts"]}
    code, told = cli("select", "run", "--profile", path, "--no-reaudit")
    assert code == DONE
    assert all(one["edge_seconds"] == times[one["cut"]] for one in told["candidates"])


def test_a_profile_of_another_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "device.json")
    shape = ["--channels", "1", "--size", "8"]
    assert run(["profile", "audit_tiny:untrained", *shape, "--out", path]) == DONE
    assert run(["select", "run", "--profile", path]) == BAD_INPUT
    assert "is of model audit_tiny:untrained" in capsys.readouterr().err


def test_weights_in_place_of_an_order(cli: Cli) -> None:
    code, told = cli("select", "run", "--weigh", "payload=1", "--no-reaudit")
    assert code == DONE
    assert told["chosen"]["payload"] == min(one["payload"] for one in told["candidates"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere is not a run's folder"),
        (["run", "--max-latency", "20"], "--max-latency: expected a time such as 20ms"),
        (["run", "--max-latency", "20ms"], "--max-latency needs --bandwidth"),
        (["run", "--rtt", "20ms"], "--rtt needs --bandwidth"),
        (["run", "--bandwidth", "10MB"], "--bandwidth: expected a data rate"),
        (["run", "--bandwidth", "0Mbit"], "--bandwidth must be above zero"),
        (["run", "--max-payload", "10Mb"], "a byte is a capital B"),
        (["run", "--max-memory", "-1MB"], "--max-memory must be finite and not negative"),
        (["run", "--min-accuracy", "88"], "--min-accuracy: expected a share"),
        (["run", "--max-edge-parameters", "few"], "expected a number such as 250000"),
        (["run", "--profile", "none.json"], "cannot read profile none.json"),
        (["run", "--profile", "audit_tiny.py"], "is no device profile"),
        (["run", "--weigh", "leakage"], "expected weights such as leakage=2"),
        (["run", "--weigh", "leakge=1"], "did you mean leakage"),
        (["run", "--weigh", "payload=1", "--bandwidth", "1Mbit"], "within the latency"),
        (["run", "--weigh", "energy=1"], "energy needs --joules-per-gflop"),
        (["run", "--weigh", "leakage=1", "--knee", "leakage,latency"], "two rules of choice"),
        (["run", "--knee", "leakage"], "expected two objectives"),
        (["run", "--knee", "leakage,latncy"], "did you mean latency"),
        (["run", "--max-energy", "1J"], "--max-energy needs --joules-per-gflop"),
        (["run", "--max-energy", "1W"], "--max-energy: expected an energy"),
        (["run", "--joules-per-gflop", "-1"], "joules per GFLOP"),
        (["run", "--bandwidth-trace", "none.csv"], "cannot read the bandwidth trace"),
        (["run", "--bandwidth", "1Mbit", "--bandwidth", "1000kbit"], "was given twice"),
        (["run", "--also", "nowhere"], "nowhere is not a run's folder"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["select", *words]) == BAD_INPUT
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_profile_needs_a_size(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["profile", "audit_tiny:net"]) == BAD_INPUT
    assert "--channels" in capsys.readouterr().err
    words = ["--channels", "1", "--size", "8", "--out", str(tmp_path / "no" / "device.json")]
    assert run(["profile", "audit_tiny:net", *words]) == BAD_INPUT
    assert run(["profile", "audit_tiny:net", *words[:4], "--device", "abacus"]) == BAD_INPUT
    assert "device 'abacus' cannot be used here" in capsys.readouterr().err


def test_an_alarm_of_the_run_fails_the_gate(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    summary["alarms"] = ["Ridge() at 1 fell below the bound"]
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    assert run(["select", str(tmp_path / "run"), "--no-reaudit"]) == GATE_FAILED
    assert "ALARM: Ridge() at 1 fell below the bound" in capsys.readouterr().out


def test_a_run_without_a_summary_can_be_chosen_from(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    assert run(["select", str(tmp_path / "run"), "--no-reaudit"]) == DONE
    assert "the run did not reach its end" in capsys.readouterr().out


@pytest.mark.parametrize("installed", [True, False])
def test_bundled_images_give_way_to_other_official_ones_where_they_are_installed(
    installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from splitveil.audit.plan import AuditPlan
    from splitveil.cli.reaudit import other_images
    from splitveil.data import load_data
    from splitveil.data.fashion_mnist import PACKAGE
    from splitveil.rng import Rng

    if not installed:
        monkeypatch.setattr("splitveil.cli.reaudit.PACKAGE", tmp_path / "none")
    elif not PACKAGE.is_dir():
        pytest.skip("the Debian package of Fashion-MNIST is not installed")
    before = load_data(None)
    after, untouched, words = other_images(AuditPlan(), before, Rng(1))
    old = {int(i) for part in (before.test, before.validation) for i in part.ids}
    new = {int(i) for part in (after.test, after.validation) for i in part.ids}
    assert untouched is installed
    assert ("no part in the choice" in words) is installed
    assert bool(old & new) is not installed
    assert after.test.x.shape == before.test.x.shape


def test_latency_is_held_against_its_95th_percentile(cli: Cli, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("\n".join(["10"] * 95 + ["0.01"] * 15))
    code, told = cli("select", "run", "--bandwidth-trace", str(trace), "--no-reaudit")
    assert code == DONE
    for one in told["candidates"]:
        assert one["latency_p95"]["value"] > one["latency"]["value"]
        # the slowest 5 % of the trace are 0.01 Mbit/s
        assert one["latency_p95"]["high"] >= 8 * one["payload"] / 1e4
    limit = f"{told['chosen']['latency']['high'] * 1e3:.4g}ms"
    words = ["--bandwidth-trace", str(trace), "--max-latency", limit, "--no-reaudit"]
    assert run(["select", "run", *words]) == GATE_FAILED


def test_joules_are_a_limit_and_can_be_weighed(cli: Cli) -> None:
    joules = ["--joules-per-gflop", "1", "--joules-per-megabyte", "100", "--no-reaudit"]
    code, told = cli("select", "run", *joules, "--weigh", "energy=1")
    assert code == DONE
    least = min(one["energy"] for one in told["candidates"])
    assert told["chosen"]["energy"] == least
    code, told = cli("select", "run", *joules, "--max-energy", f"{0.9e6 * least}uJ")
    assert code == GATE_FAILED
    assert set(told["relaxations"][0]["limits"]) == {"max_energy"}


def test_several_scenarios_end_in_least_worst_regret(
    cli: Cli, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["select", "run", "--also", "part", "--bandwidth", "1Mbit", "--bandwidth", "10Mbit"]
    code, told = cli(*words, "--no-reaudit")
    assert code == DONE
    assert len(told["regrets"][0]["by_scenario"]) == 4
    least = min(one["worst"] for one in told["regrets"] if one["worst"] is not None)
    (chosen,) = [
        one
        for one in told["regrets"]
        if (one["cut"], one["release"]) == (told["chosen"]["cut"], told["chosen"]["release"])
    ]
    assert chosen["worst"] <= least + 0.01
    assert run([*words, "--no-reaudit"]) == DONE
    text = " ".join(capsys.readouterr().out.split())
    assert "least worst regret over 4 scenarios" in text
    places = [(one["cut"], one["release"]) for one in told["candidates"]]
    assert len(set(places)) == len(places)
    assert "Regret: what is lost" in text


def test_the_choice_without_each_attack_is_told(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = cli("select", "run", "--no-reaudit")
    assert all(isinstance(one["changes"], bool) for one in told["sensitivity"])
    run(["select", "run", "--no-reaudit"])
    text = capsys.readouterr().out
    assert "The choice hangs on Ridge, the only attack beyond the cheap ones." in text


def test_the_knee_is_a_rule(cli: Cli) -> None:
    code, told = cli("select", "run", "--knee", "leakage,payload", "--no-reaudit")
    assert code == DONE
    assert told["rule"] == "the knee of the front between leakage and payload"
