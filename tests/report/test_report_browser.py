"""The page in a real browser: it fits, sorts, follows the theme, and complains of nothing."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import Builder

from splitveil.report import write_report
from splitveil.report.palette import DARK, LIGHT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

MEASURE = """
<pre id="measured"></pre><script>
const problems = [];
addEventListener("error", (e) => problems.push(String(e.message)));
addEventListener("securitypolicyviolation", (e) => problems.push(e.violatedDirective));
addEventListener("load", () => {
  const told = {};
  for (const width of [320, 390, 768, 1280]) {
    const frame = document.getElementById("w" + width);
    const page = frame.contentDocument;
    const root = page.documentElement;
    const shown = [...page.querySelectorAll("svg.chart")].filter((s) => s.getClientRects().length);
    const wide = (e) => e.getBoundingClientRect();
    told[width] = {
      overflow: root.scrollWidth - root.clientWidth,
      charts: shown.length,
      clipped: shown.flatMap((s) => [...s.querySelectorAll("text")].filter(
        (t) => wide(t).left < wide(s).left - 1 || wide(t).right > wide(s).right + 1
      )).map((t) => t.textContent),
      type: Math.min(...shown.flatMap((s) => [...s.querySelectorAll("text")].map(
        (t) => 11.5 * wide(s).width / s.viewBox.baseVal.width))),
      ground: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
      ink: frame.contentWindow.getComputedStyle(page.querySelector(".chart text")).fill,
    };
  }
  const page = document.getElementById("w1280").contentDocument;
  const table = page.querySelector("#cuts table");
  const column = () => [...table.tBodies[0].rows].map((r) => Number(r.cells[1].dataset.key));
  table.tHead.rows[0].cells[1].querySelector("button").click();
  told.down = column();
  table.tHead.rows[0].cells[1].querySelector("button").click();
  told.up = column();
  told.problems = problems;
  document.getElementById("measured").textContent = JSON.stringify(told);
});
</script>
"""


def measure(page: Path, profile: Path, *flags: str) -> tuple[dict[str, Any], str]:
    """Open the page in frames of several widths and bring back what a script measured there."""
    frames = "".join(
        f'<iframe id="w{w}" src="{page.name}" style="width:{w}px;height:900px;border:0"></iframe>'
        for w in (320, 390, 768, 1280)
    )
    outer = page.with_name("outer.html")
    outer.write_text(f"<!doctype html><body>{frames}{MEASURE}")
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
        "--log-level=0",
        "--virtual-time-budget=4000",
        f"--user-data-dir={profile}",
        *flags,
        "--dump-dom",
        outer.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'id="measured">(\{.*?\})</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(found[1]), done.stderr


def rgb(colour: str) -> str:
    """A colour as a browser tells it."""
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


@pytest.fixture
def page(builder: Callable[..., Builder], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("splitveil.report.html.png", lambda chart: b"PNG")
    return write_report(builder(cuts=20).fill().write())


def test_the_page_fits_every_screen(page: Path, tmp_path: Path) -> None:
    told, log = measure(page, tmp_path / "profile")
    for width in ("320", "390", "768", "1280"):
        assert told[width]["overflow"] <= 0, width
        assert told[width]["clipped"] == [], width
        assert told[width]["charts"] == 7
        assert told[width]["type"] >= 9, width
    assert told["down"] == sorted(told["down"], reverse=True)
    assert told["up"] == sorted(told["up"])
    assert told["problems"] == []
    assert told["1280"]["ground"] == rgb(LIGHT["paper"])
    assert told["1280"]["ink"] in [rgb(LIGHT[name]) for name in ("ink", "soft")]
    assert "CONSOLE" not in log


def test_the_page_follows_the_theme(page: Path, tmp_path: Path) -> None:
    told, _ = measure(page, tmp_path / "dark", "--blink-settings=preferredColorScheme=0")
    assert told["1280"]["ground"] == rgb(DARK["paper"])
    assert told["1280"]["ink"] in [rgb(DARK[name]) for name in ("ink", "soft")]
