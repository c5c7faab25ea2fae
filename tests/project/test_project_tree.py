"""The tree: scripts, licences, sizes, and nothing of the machine it was written on."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["demo", "test", "check", "wheel", "environment", "cli-reference"]


def tracked() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [
        p for name in found.stdout.decode().split("\0") if name and (p := ROOT / name).is_file()
    ]


def test_the_readme_names_two_commands_for_a_fresh_machine() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## On a fresh machine")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", section, flags=re.DOTALL)
    assert [line for block in blocks for line in block.strip().splitlines()] == [
        "bash scripts/demo",
        "bash scripts/test",
    ]
    assert "bash scripts/test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*(f"scripts/{name}" for name in SCRIPTS), ".ci/run"])
def test_scripts_run_and_parse(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / path)], check=True)


def test_no_file_is_large() -> None:
    assert [p for p in tracked() if p.stat().st_size > 5 * 2**20] == []


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    machine = re.compile(rb"(?<![\w./-])/(?:work|home|root|Users)/\w")
    texts = [p for p in tracked() if p.suffix not in {".safetensors", ".npz", ".png", ".gz"}]
    assert [p for p in texts if machine.search(p.read_bytes())] == []


def test_no_registry_is_named() -> None:
    host = re.compile(rb"--(?:extra-)?index-url|--find-links|--trusted-host")
    looked = [p for p in tracked() if p.suffix in {"", ".txt", ".toml", ".cfg"}]
    assert [p for p in looked if host.search(p.read_bytes())] == []


def test_licences_are_there_and_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    for name in project["license-files"]:
        assert (ROOT / name).is_file()


def test_every_dependency_is_pinned_within_its_range() -> None:
    lines = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"].values()
    wanted = [entry for group in groups for entry in group if isinstance(entry, str)]
    for text in [*project["project"]["dependencies"], *wanted]:
        requirement = Requirement(text)
        assert pins[requirement.name.lower()] in requirement.specifier


def test_the_version_is_told_once() -> None:
    import splitveil

    assert version("splitveil") == splitveil.__version__
