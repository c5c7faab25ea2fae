"""The commands do what their help says."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import splitveil
from splitveil.audit.plan import default_folder, load_plan
from splitveil.cli import BAD_INPUT, DONE, run
from splitveil.cli.audit import settle
from splitveil.cli.options import key, names, numbers
from splitveil.cli.progress import clock
from splitveil.errors import BadPlan

PROCESS = [sys.executable, "-m", "splitveil"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == DONE
    assert capsys.readouterr().out == f"splitveil {splitveil.__version__}\n"


def test_nothing_asked_shows_what_there_is() -> None:
    found = subprocess.run(PROCESS, capture_output=True, text=True, check=False)
    assert found.returncode == BAD_INPUT
    assert "audit" in found.stdout + found.stderr


def test_cuts_as_json_is_json_alone_and_in_order_of_depth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["cuts", "vgg", "--json"]) == DONE
    described = json.loads(capsys.readouterr().out)
    depths = [cost["cut"]["depth"] for cost in described["cuts"]]
    assert depths == sorted(depths)
    assert described["input"] == [1, 32, 32]
    assert described["parameters"] == splitveil.load_model("vgg").parameters


def test_cuts_as_a_table_names_every_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert run(["cuts", "vgg"]) == DONE
    table = capsys.readouterr().out
    model = splitveil.load_model("vgg")
    example = splitveil.load_data("demo").test.x[:2]
    for cut in splitveil.find_cuts(model.network, example):
        assert f"{cut.name} " in table


def test_the_prefix_family_holds_the_menu(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cuts", "vgg", "--json"]) == DONE
    menu = {cost["cut"]["id"] for cost in json.loads(capsys.readouterr().out)["cuts"]}
    assert run(["cuts", "vgg", "--all", "--json"]) == DONE
    family = {cost["cut"]["id"] for cost in json.loads(capsys.readouterr().out)["cuts"]}
    assert menu <= family


def test_init_writes_settings_that_an_audit_takes(folder: Path) -> None:
    assert run(["init"]) == DONE
    plan = settle({"model": {"name": "splitveil.toml"}, "seed": None})
    assert plan.model.name == "vgg"
    assert plan == load_plan(
        {"model": {"name": "vgg"}, "data": {"source": "demo"}, "budget": "3m", "seed": 0}
    )
    (folder / "splitveil.toml").write_text("seed = 3")
    assert run(["init", "--force"]) == DONE
    assert "seed = 0" in (folder / "splitveil.toml").read_text()


def test_options_win_over_the_settings_file(folder: Path) -> None:
    (folder / "mine.toml").write_text(
        'seed = 3\nbudget = "30m"\n[model]\nname = "resnet"\n[data]\nsize = 32\n'
    )
    plan = settle(
        {
            "model": {"name": "mine.toml", "mean": (), "classes": ("a", "b")},
            "data": {"source": None, "channels": 1},
            "seed": 0,
            "budget": None,
            "cuts": [],
        }
    )
    assert (plan.seed, plan.budget, plan.model.name) == (0, "30m", "resnet")
    assert (plan.data.size, plan.data.channels) == (32, 1)
    assert plan.model.classes == ("a", "b")


def test_the_folder_depends_on_what_is_audited_and_not_on_the_effort() -> None:
    demo = load_plan({})
    assert default_folder(demo) == Path("splitveil-audit/vgg-demo")
    assert default_folder(load_plan({"budget": "30m", "cuts": ["conv1"], "jobs": 1})) == Path(
        "splitveil-audit/vgg-demo"
    )
    others = [
        {"seed": 1},
        {"model": {"name": "resnet"}},
        {"model": {"weights": "w.safetensors"}},
        {"data": {"source": "a/photos"}},
        {"data": {"limit": 9}},
        {"threat": {"knows_label": False}},
    ]
    folders = {default_folder(load_plan(other)) for other in others}
    assert len(folders) == len(others)
    assert default_folder(demo) not in folders
    assert all(len(path.parts) == 2 for path in folders)


def test_numbers_names_and_keys(folder: Path) -> None:
    assert numbers("0.5, 1e-3", "--mean") == (0.5, 0.001)
    assert numbers(None, "--mean") == ()
    (folder / "names.txt").write_text("cat\n\ndog \n")
    assert names("names.txt", "--classes") == names("cat, dog", "--classes") == ("cat", "dog")
    assert (key("logits"), key("-1"), key(None)) == ("logits", -1, None)
    with pytest.raises(BadPlan, match="at least two"):
        names("", "--classes")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (7.0, "0:07"), (725.0, "12:05"), (11045.0, "3:04:05"), (-2.0, "0:00")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_output_may_be_cut_short() -> None:
    line = f"{shlex.join(PROCESS)} cuts vgg --json | head -n 1; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert found.stdout == "{\n"
    assert found.stderr == ""
