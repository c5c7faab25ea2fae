"""Rewrite requirements/constraints.txt from the versions installed here.

Keeps what splitveil and its development groups need, directly or not, and nothing else:

    .venv/bin/python scripts/pin.py
"""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Pinned versions of everything the scripts install; rewrite with scripts/pin.py.
# torch is installed first and alone: a range would pull gigabytes of CUDA.
"""


def wanted() -> list[str]:
    """What pyproject.toml asks for by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"].values()
    named = [entry for group in groups for entry in group if isinstance(entry, str)]
    return [*project["project"]["dependencies"], *named, "pip"]


def children(requirement: Requirement) -> list[Requirement]:
    """What an installed distribution needs on this machine, with the extras asked of it."""
    found = [Requirement(text) for text in distribution(requirement.name).requires or ()]
    extras = {"", *requirement.extras}
    return [
        child
        for child in found
        if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras)
    ]


def main() -> None:
    queue = [Requirement(text) for text in wanted()]
    seen: set[tuple[str, frozenset[str]]] = set()
    pins: dict[str, str] = {}
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        key = name, frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            pins[name] = distribution(name).version.partition("+")[0]
        except PackageNotFoundError as error:
            raise SystemExit(f"{name} is not installed here: run scripts/test first") from error
        queue += children(requirement)
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    (ROOT / "requirements" / "constraints.txt").write_text(HEADER + "".join(lines))
    print(f"{len(lines)} versions pinned")


if __name__ == "__main__":
    main()
