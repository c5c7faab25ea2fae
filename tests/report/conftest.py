from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import Builder


@pytest.fixture
def builder(tmp_path: Path) -> Callable[..., Builder]:
    """Make a builder for a fresh folder."""

    def make(**changes: Any) -> Builder:
        return Builder(path=tmp_path / "run", **changes)

    return make
