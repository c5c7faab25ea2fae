"""Each room keeps to its place: the contracts hold, and break when a breach is planted."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "splitveil"
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {c["id"]: c for c in CONFIG["contracts"]}


def there(room: str) -> bool:
    return (SOURCE / room).is_dir() or (SOURCE / f"{room}.py").is_file()


LAYERS = [
    [room for name in layer.split("|") if there(room := name.strip(" ()"))]
    for layer in CONTRACTS["rooms"]["layers"]
]
ROOMS = [room for layer in LAYERS for room in layer]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
TOP = ROOMS[0]
SIBLINGS = [(layer[0], other) for layer in LAYERS for other in layer[1:]]
LIGHT = CONTRACTS["light"]["source_modules"]


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(package: Path, module: str, line: str) -> str:
    """Add an import to a module, or a new module with it to a package; say where it is."""
    place = package.joinpath(*module.split(".")[1:])
    if place.is_dir():
        place, module = place / "planted.py", f"{module}.planted"
    else:
        place = place.with_suffix(".py")
    with place.open("a") as file:
        file.write(f"\n{line}\n")
    return module


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("breached")
    shutil.copy(ROOT / "pyproject.toml", root)
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.npz", "*.gz")
    shutil.copytree(SOURCE, root / "src" / "splitveil", ignore=ignore)
    return root


@pytest.fixture(scope="module")
def honest(copy: Path) -> subprocess.CompletedProcess[str]:
    return lint(copy)


@pytest.fixture(scope="module")
def breaches(copy: Path, honest: subprocess.CompletedProcess[str]) -> tuple[dict[str, str], str]:
    """Every breach at once, in one copy of the package, and what the linter says of them."""
    package = copy / "src" / "splitveil"
    (package / TOP / "planted.py").write_text('"""A room on top."""\n')
    planted = {
        room: plant(package, f"splitveil.{room}", f"import splitveil.{TOP}.planted")
        for room in ROOMS[1:]
    }
    for left, right in SIBLINGS:
        plant(package, f"splitveil.{left}", f"import splitveil.{right}")
    for module in LIGHT:
        plant(package, module, "import torch")
    plant(package, f"splitveil.{TOP}", "import torchvision")
    (package / "homeless.py").write_text('"""A room nobody placed."""\n')
    first = lint(copy)
    assert first.returncode == 1
    assert "splitveil.homeless" in first.stdout + first.stderr
    (package / "homeless.py").unlink()
    found = lint(copy)
    assert found.returncode == 1, found.stdout + found.stderr
    return planted, " ".join(found.stdout.split())


def test_the_contracts_hold(honest: subprocess.CompletedProcess[str]) -> None:
    assert honest.returncode == 0, honest.stdout + honest.stderr


@pytest.mark.parametrize("room", ROOMS[1:])
def test_a_room_that_imports_what_stands_above_it_is_caught(
    room: str, breaches: tuple[dict[str, str], str]
) -> None:
    planted, report = breaches
    assert f"{planted[room]} -> splitveil.{TOP}.planted" in report


@pytest.mark.parametrize(("left", "right"), SIBLINGS)
def test_rooms_on_one_line_that_see_each_other_are_caught(
    left: str, right: str, breaches: tuple[dict[str, str], str]
) -> None:
    assert f"splitveil.{left} is not allowed to import splitveil.{right}" in breaches[1]


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_room_that_imports_torch_is_caught(
    module: str, breaches: tuple[dict[str, str], str]
) -> None:
    assert f"{module} is not allowed to import torch:" in breaches[1]


def test_the_core_may_not_import_torchvision(breaches: tuple[dict[str, str], str]) -> None:
    assert "splitveil is not allowed to import torchvision:" in breaches[1]


@pytest.mark.parametrize("module", [*LIGHT, "splitveil", "splitveil.cli.app"])
def test_light_modules_start_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert found.returncode == 0, found.stderr.decode()
