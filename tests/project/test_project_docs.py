"""The documentation names what exists, and what it names exists."""

import importlib
import inspect
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from splitveil.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
METHODS = (DOCS / "methods.md").read_text(encoding="utf-8")
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    for parameter in command.params
    for option in (*parameter.opts, *parameter.secondary_opts)
    if option.startswith("--")
]


def catalogue(room: str, base: str) -> list[str]:
    module = importlib.import_module(f"splitveil.{room}")
    family = getattr(importlib.import_module(f"splitveil.{room}.base"), base)
    return [
        name
        for name in module.__all__
        if inspect.isclass(found := getattr(module, name))
        and issubclass(found, family)
        and not inspect.isabstract(found)
    ]


def test_the_command_line_reference_is_current(tmp_path: Path) -> None:
    fresh = tmp_path / "cli.md"
    words = ["typer", "splitveil.cli.app", "utils", "docs", "--name", "splitveil"]
    words += ["--title", "Command line", "--output", str(fresh)]
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True)
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == fresh.read_text(encoding="utf-8"), (
        "run scripts/cli-reference"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    assert f"Example: `splitveil {name}" in (COMMANDS[name].help or "")
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert f"`splitveil {name}" in text or f"\nsplitveil {name}" in text


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_has_help(name: str, option: str) -> None:
    parameter = next(p for p in COMMANDS[name].params if option in (*p.opts, *p.secondary_opts))
    assert parameter.help
    assert option in (DOCS / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("attack", catalogue("attacks", "Attack"))
def test_every_attack_is_in_the_table(attack: str) -> None:
    assert f"| `{attack}()` |" in METHODS


@pytest.mark.parametrize("attack", re.findall(r"^\| `([A-Z]\w+)\(\)` \|", METHODS, re.MULTILINE))
def test_every_attack_in_the_table_exists(attack: str) -> None:
    assert attack in catalogue("attacks", "Attack")


@pytest.mark.parametrize("attack", catalogue("attacks", "Attack"))
def test_the_table_states_the_knowledge_an_attack_requires(attack: str) -> None:
    row = next(line for line in METHODS.splitlines() if line.startswith(f"| `{attack}()` |"))
    level = getattr(importlib.import_module("splitveil.attacks"), attack).requires.__name__
    assert row.split("|")[3].strip().replace("-", "") == level.lower()


@pytest.mark.parametrize("recipe", catalogue("release", "ReleaseRecipe"))
def test_every_release_is_in_the_table(recipe: str) -> None:
    release = importlib.import_module("splitveil.release")
    section = METHODS.partition("## Releases")[2].partition("\n## ")[0]
    written = re.findall(r"^\| `([^`]*)` \|", section, re.MULTILINE)
    assert recipe in {type(release.parse_release(text)).__name__ for text in written}


@pytest.mark.parametrize("measure", importlib.import_module("splitveil.measures").__all__)
def test_every_measure_is_documented(measure: str) -> None:
    assert f"`{measure}`" in METHODS.partition("## Measures")[2].partition("## Releases")[0]


@pytest.mark.parametrize("name", importlib.import_module("splitveil.models.reference").__all__)
def test_every_reference_network_is_in_the_table(name: str) -> None:
    assert f"| `{name}` |" in METHODS


def test_every_room_is_in_the_architecture() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rooms = {
        path.stem
        for path in (ROOT / "src" / "splitveil").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    missing = [room for room in rooms if f"`{room}`" not in page and not room.startswith("__")]
    assert missing == []


def test_every_page_is_in_the_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert [page for page in pages if f": {page}\n" not in contents] == []


def test_the_attack_of_the_page_passes_the_suite_it_names(tmp_path: Path) -> None:
    text = (DOCS / "add-an-attack.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    example = tmp_path / "test_example.py"
    example.write_text("\n".join(textwrap.dedent(block) for block in blocks))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(example)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    assert " passed" in found.stdout


def test_the_settings_file_shows_every_setting() -> None:
    from dataclasses import fields

    from splitveil.audit.plan import AuditPlan, load_plan

    text = (ROOT / "src" / "splitveil" / "cli" / "template.toml").read_text(encoding="utf-8")
    plan = load_plan(tomllib.loads(text))
    assert (plan.budget, plan.seed, plan.device) == ("3m", 0, "cpu")
    for table in (AuditPlan(), plan.model, plan.data, plan.threat):
        for field in fields(table):
            assert re.search(rf"^(?:# |\[)?{field.name}\b", text, re.MULTILINE), field.name
    shown = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    everything = load_plan(tomllib.loads(shown))
    assert everything.cuts == ("conv1", "pool3")
    assert everything.threat.queries == 10000
