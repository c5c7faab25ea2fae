"""The page says what the run holds, whatever the run, and nothing that it does not."""

import base64
import html
import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from run_folders import NOISE, Builder, around, pictures

from splitveil.errors import BadPlan
from splitveil.quantities import Kind, Quantity
from splitveil.records import Task
from splitveil.report import write_report
from splitveil.report.numbers import number
from splitveil.report.reading import read_report

Make = Callable[..., Builder]
BLOCKS = {"p", "li", "td", "th", "dt", "dd", "h1", "h2", "h3", "figcaption", "small", "text"}
BLOCKS |= {"title", "desc", "div", "span", "button", "strong", "code", "pre", "style", "script"}
VOID = {"meta", "link", "img"}


@pytest.fixture(autouse=True)
def quick_rasters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing PNG files takes most of the time and one test is enough for it."""
    if request.node.name != "test_figures_and_tables_lie_beside_the_page":
        monkeypatch.setattr("splitveil.report.html.png", lambda chart: b"PNG")


class Reader(HTMLParser):
    """Collects the text of each block, attributes, and checks that tags nest."""

    def __init__(self) -> None:
        HTMLParser.__init__(self)
        self.blocks: list[str] = []
        self.stack: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.stack[-1] not in ("style", "script"):
            self.blocks.append(data.strip())


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert not reader.stack
    return reader


def text_of(page: Path) -> str:
    return "\n".join(read(page).blocks)


def test_report_names_every_cut_trial_and_number(builder: Make) -> None:
    run = builder().fill()
    text = text_of(write_report(run.write()))
    for i in range(run.cuts):
        assert run.cut_names(i) in text
    for outcome in run.outcomes:
        assert outcome.trial.method in text
        for q in outcome.quantities.values():
            assert number(q.value) in text
    for fact in ("DEMO DATA", "honest but curious", "2.13.0", "ab" * 32, "killed", 'budget = "3m"'):
        assert fact in text
    for item in run.summary["not_tested"]:
        assert item in text


def test_report_asks_nothing_of_the_network(builder: Make) -> None:
    page = write_report(builder().fill().write())
    source = page.read_text(encoding="utf-8")
    for tag, name, value in read(page).attributes:
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert value.startswith(("#", "data:")), (tag, name, value)
    assert not re.findall(r"url\(|@import|fetch\(|XMLHttp|<iframe|<object|<embed", source)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', source)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert not re.findall(r'https?://(?!www\.w3\.org/2000/svg")', source)


def test_the_script_matches_its_hash(builder: Make) -> None:
    import hashlib

    source = write_report(builder().fill().write()).read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", source, re.S)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in source


@pytest.mark.parametrize("cuts", [1, 2, 100])
def test_any_number_of_cuts(builder: Make, cuts: int) -> None:
    run = builder(cuts=cuts, images=False).fill()
    text = text_of(write_report(run.write()))
    assert all(run.cut_names(i) in text for i in range(cuts))


def test_an_empty_run_says_so(builder: Make) -> None:
    run = builder(finished=False, images=False)
    text = text_of(write_report(run.write()))
    assert "no attack has finished" in text
    assert "did not finish" in text
    assert "No trial has ended." in text


def test_a_run_without_cuts_or_model(builder: Make) -> None:
    path = builder(finished=False, images=False).write()
    (path / "manifest.json").write_text("{}")
    (path / "records.jsonl").unlink()
    (path / "splitveil.toml").unlink()
    text = text_of(write_report(path))
    assert "The run names no cuts." in text
    assert "DEMO DATA" not in text


def test_an_interrupted_run_shows_what_it_found(builder: Make) -> None:
    run = builder(finished=False).fill()
    del run.outcomes[18:]
    text = text_of(write_report(run.write()))
    assert "interrupted" in text
    assert "the audit stopped before it got there" in text
    assert "best attack here or deeper" in text


def test_a_damaged_line_is_an_alarm(builder: Make) -> None:
    path = builder(images=False).fill().write()
    with (path / "records.jsonl").open("a") as file:
        file.write('{"id": "half')
    assert "cut short" in text_of(write_report(path))


def test_unlabelled_data(builder: Make) -> None:
    text = text_of(write_report(builder(labels=False).fill().write()))
    assert "does not know the true label" in text


def test_infinite_numbers_are_shown_and_not_drawn(builder: Make) -> None:
    run = builder(cuts=3, images=False).fill()
    endless = Quantity.exact(float("inf"), unit="dB", kind=Kind.MEASURED, n=500)
    run.add(Task.ATTACK, run.cut_id(0), "Exact()", quantities={"psnr": endless, "mse": endless})
    details = {"cuts": {run.cut_id(1): {"radius": endless.to_json(), "nc1": endless.to_json()}}}
    run.add(Task.MOMENTS, "*", "more()", details=details)
    page = write_report(run.write())
    assert "∞" in text_of(page)
    assert not re.findall(
        r'="[^"]*\b(inf|nan)\b', page.read_text(encoding="utf-8").split("<svg")[1]
    )
    for file in (page.parent / "figures").glob("*.json"):
        json.loads(file.read_text(), parse_constant=pytest.fail)


HOSTILE = '<script>alert("x")</script>&\'"${{7*7}}{% x %}\x07'


def test_names_from_users_are_text(builder: Make) -> None:
    run = builder(cuts=4, model=HOSTILE, cut_names=lambda i: f"{HOSTILE}{i}").fill()
    run.summary["verdict"] = HOSTILE
    run.summary["not_tested"] = [HOSTILE]
    page = write_report(run.write())
    source = page.read_text(encoding="utf-8")
    assert source.count("<script") == 1
    assert (
        html.escape('<script>alert("x")', quote=False).encode()
        in html.unescape(source).replace("<", "&lt;").replace(">", "&gt;").encode()
    )
    assert "7*7" in source
    read(page)
    for file in (page.parent / "figures").glob("*.svg"):
        assert b"<script" not in file.read_bytes()


def encodings(pixels: np.ndarray) -> list[bytes]:
    """A middle row of an image: raw, as base64 at each offset, as JSON numbers and as hex."""
    row = pixels.reshape(-1, pixels.shape[-1])[pixels.shape[-2] // 2].tobytes()
    coded = [base64.b64encode(row[shift:])[4:36] for shift in range(3)]
    listed = json.dumps(list(row))[1:-1].encode()
    return [row, *coded, listed, listed.replace(b" ", b""), row.hex().encode()]


def files_of(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and "artefacts" not in p.parts]


def test_own_data_gives_no_picture(builder: Make) -> None:
    path = builder(demo=False).fill().write()
    write_report(path, show_images=True)
    page = write_report(path)
    source = page.read_text(encoding="utf-8")
    assert "data:image" not in source
    assert "<img" not in source
    assert "<image" not in source
    assert "--show-images" in source
    assert not (path / "figures" / "pictures.png").exists()
    needles = [needle for image in pictures() for needle in encodings(image)]
    for file in files_of(path):
        content = file.read_bytes()
        assert not any(needle in content for needle in needles), file
        assert b"data:image" not in content, file


def test_the_search_finds_pictures_where_they_are(builder: Make) -> None:
    page = write_report(builder(demo=False).fill().write(), show_images=True)
    assert page.read_text(encoding="utf-8").count("data:image/png") > 16
    assert (page.parent / "figures" / "pictures.png").exists()
    image = pictures()[3]
    assert all(needle in encodings(image)[0] for needle in encodings(image)[:1])


def test_pictures_are_the_stored_ones(builder: Make) -> None:
    import io

    from PIL import Image

    page = write_report(builder().fill().write())
    first = re.search(r"data:image/png;base64,([^\"]+)", page.read_text(encoding="utf-8"))
    assert first
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(first[1]))))
    assert np.array_equal(shown, pictures()[0, 0])


def test_the_demonstration_can_hide_pictures(builder: Make) -> None:
    page = write_report(builder().fill().write(), show_images=False)
    assert "data:image" not in page.read_text(encoding="utf-8")


def test_files_are_private(builder: Make) -> None:
    path = builder(demo=False).fill().write()
    page = write_report(path, show_images=True)
    for file in (page, *(path / "figures").iterdir(), *(path / "tables").iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


PROMISES = re.compile(r"\b(bound|bounds|bounded by|guarantee\w*|certif\w*)\b", re.I)
CLAIMS = re.compile(r"\b(safe|anonymous|anonymi[sz]ed|compliant|secure)\b", re.I)


def test_no_measured_number_stands_beside_a_promise(builder: Make) -> None:
    run = builder(images=False).fill()
    text = text_of(write_report(run.write()))
    proven: set[str] = set()
    others: set[str] = set()
    spreads = next(o for o in run.outcomes if o.trial.task is Task.MOMENTS).details["cuts"]
    quantities = [q for o in run.outcomes for q in o.quantities.values()]
    quantities += [Quantity.from_json(q) for cut in spreads.values() for q in cut.values()]
    for q in quantities:
        (proven if q.is_bound else others).add(number(q.value))
    sentences = [s for block in text.splitlines() for s in re.split(r"(?<=[.:;])\s", block)]
    found = [s for s in sentences if PROMISES.search(s)]
    assert found
    for sentence in found:
        numbers = set(re.findall(r"\d+\.\d+", sentence))
        assert not numbers & (others - proven), sentence
    assert not CLAIMS.search(text)


def test_a_theorem_is_shown_as_one_sided(builder: Make) -> None:
    text = text_of(write_report(builder(images=False).fill().write()))
    assert "≥ 0.0191" in text
    assert "no attack above" in text


def test_an_attack_below_a_theorem_raises_an_alarm(builder: Make) -> None:
    run = builder(images=False).fill()
    bad: dict[str, object] = {
        "attack": "Ridge()",
        "cut": run.cut_id(0),
        "release": NOISE,
        "message": "m",
    }
    bad["mse"] = around(0.01, 0.001, "mse").to_json()
    bad["bound"] = around(0.02, 0.001, "mse").to_json()
    run.summary["alarms"] = [bad]
    assert "One of the two is wrong" in text_of(write_report(run.write()))


def test_the_best_line_counts_deeper_attacks(builder: Make) -> None:
    report = read_report(builder(images=False).fill().write())
    values = [best.leakage.value for _, best in report.reach() if best.leakage]
    assert len(values) == 8
    assert values == sorted(values, reverse=True)
    here = [f.leakage.value for f in report.findings if f.release == "Identity()" and f.leakage]
    assert here != sorted(here, reverse=True)
    assert all(high >= low for high, low in zip(values, here, strict=True))


def test_figures_and_tables_lie_beside_the_page(builder: Make) -> None:
    path = builder(images=False).fill().write()
    write_report(path)
    names = ("leakage", "sandwich", "radius", "nc1", "rho", "payload", "edge")
    assert {f.name for f in (path / "figures").iterdir()} == {
        f"{name}.{end}" for name in names for end in ("svg", "png", "json")
    }
    data = json.loads((path / "figures" / "leakage.json").read_text())
    assert len(data["series"][0]["points"]) == 8
    lines = (path / "tables" / "cuts.csv").read_text().splitlines()
    assert len(lines) == 9


def test_writing_twice_gives_the_same_bytes(builder: Make) -> None:
    path = builder(cuts=3).fill().write()
    first = write_report(path).read_bytes()
    assert write_report(path).read_bytes() == first


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match=r"manifest\.json"):
        write_report(tmp_path)


def test_the_report_needs_no_torch() -> None:
    code = "import sys, splitveil.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
