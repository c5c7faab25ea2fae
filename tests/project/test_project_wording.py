"""No page of the documentation calls a model, a proxy or a measured number a bound."""

from pathlib import Path

import pytest

from splitveil.report.wording import breaches, text_of_markdown

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_claim_no_more_than_theorems_bear(page: Path) -> None:
    text = text_of_markdown(page.read_text(encoding="utf-8"))
    assert [str(breach) for breach in breaches(text)] == []
    assert list(breaches(f"{text}\nThe leakage is guaranteed."))
