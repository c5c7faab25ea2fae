"""The built wheel, installed and used from another folder; run by scripts/wheel."""

import json
import subprocess
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

import pytest

import splitveil

COMMAND = Path(sysconfig.get_path("scripts")) / "splitveil"


def run(*arguments: str) -> str:
    found = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_it_is_the_wheel_that_is_tested() -> None:
    assert Path(splitveil.__file__).is_relative_to(sys.prefix)
    assert distribution("splitveil").version == splitveil.__version__


def test_help() -> None:
    assert "audit" in run("--help")


def test_cuts() -> None:
    described = json.loads(run("cuts", "vgg", "--json"))
    assert described["model"] == "vgg"
    assert len(described["cuts"]) > 20


@pytest.mark.parametrize("name", ["vgg", "resnet", "vit", "ir"])
def test_weights_are_in_the_wheel(name: str) -> None:
    assert splitveil.load_model(name).reference


def test_data_and_licences_are_in_the_wheel() -> None:
    package = Path(splitveil.__file__).parent
    assert (package / "data" / "bundled" / "LICENSE-fashion-mnist").is_file()
    assert (package / "py.typed").is_file()
    assert len(splitveil.load_data("demo").test) == 1000
    names = {Path(str(file)).name for file in distribution("splitveil").files or ()}
    assert {"LICENSE", "LICENSE-fashion-mnist"} <= names


def test_a_tiny_audit(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tiny = ["--cut", "pool3", "--attack", "MeanImage()", "--release", "none", "--jobs", "0"]
    described = json.loads(run("audit", "vgg", *tiny, "--out", str(out), "--json"))
    assert Path(described["report"]).is_file()
    assert "DEMO DATA" in Path(described["report"]).read_text(encoding="utf-8")
