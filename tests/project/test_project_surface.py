"""The public face: complete, sorted, loaded when used, and true in its examples."""

import doctest
import importlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import splitveil

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "splitveil"


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in sorted(SOURCE.rglob("*.py")) if path.stem != "__main__"}
MODULES = sorted(PATHS)
PACKAGES = [name for name, path in PATHS.items() if path.stem == "__init__"]
WITH_EXAMPLES = [m for m in MODULES if ">>> " in PATHS[m].read_text(encoding="utf-8")]
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if ">>> " in page.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_every_name_in_it_exists(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert list(public) == sorted(public)
    assert [missing for missing in public if not hasattr(module, missing)] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_imports_names_lists_them(name: str) -> None:
    module = importlib.import_module(name)
    imported = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and getattr(value, "__module__", "").startswith(f"{name}.")
        and isinstance(value, type)
    }
    assert imported <= set(getattr(module, "__all__", imported))


def test_every_lazy_name_is_public_and_every_public_name_is_typed() -> None:
    public = set(splitveil.__all__) - {"__version__"}
    assert public - {"audit"} == set(splitveil._HOMES)  # the room `audit` is called by its verb
    text = PATHS["splitveil"].read_text(encoding="utf-8")
    assert [name for name in public if f"import {name} as {name}\n" not in text] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="find_cutz"):
        splitveil.find_cutz  # noqa: B018 - the look-up is the test


def test_importing_the_package_imports_no_room() -> None:
    code = "import sys, splitveil; print([m for m in sys.modules if m.startswith('splitveil.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_in_pages_are_true(page: Path) -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testfile(str(page), module_relative=False, optionflags=flags).failed == 0


def test_help_is_quick_and_starts_without_torch() -> None:
    code = (
        "import sys\n"
        "from splitveil.cli import run\n"
        "code = run(['--help'])\n"
        "sys.exit(code or 10 * any(m in sys.modules for m in ('torch', 'numpy', 'matplotlib')))"
    )
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # processor time, since other tests run beside this one
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert found.returncode == 0, found.stderr.decode()
        assert b"audit" in found.stdout
    assert min(times) < 0.5
