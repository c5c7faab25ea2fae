"""Writes a run's report: one HTML file that needs nothing else, and its figures beside it."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from splitveil.errors import BadPlan
from splitveil.report import figures, proved, story, tables
from splitveil.report.chart import Chart
from splitveil.report.likeness import likeness_table
from splitveil.report.outputs import outputs_table
from splitveil.report.palette import DARK, LIGHT, variables
from splitveil.report.pictures import Row, contact_sheet, sheet_png
from splitveil.report.raster import png
from splitveil.report.reading import Report, read_report
from splitveil.report.svg import draw
from splitveil.report.words import check_page
from splitveil.report.zone import zone_section
from splitveil.storage import storing, write_whole

_SIZES = {
    "leakage": (("wide", 990.0, 400.0), ("middle", 640.0, 360.0), ("narrow", 300.0, 320.0)),
    "sandwich": (("wide", 990.0, 0.0), ("middle", 640.0, 0.0), ("narrow", 300.0, 0.0)),
    "spread": (("any", 310.0, 190.0),),
    "cost": (("wide", 480.0, 330.0), ("middle", 560.0, 330.0), ("narrow", 300.0, 300.0)),
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A chart at each width it is needed in; style sheets show one of them."""

    chart: Chart
    variants: tuple[tuple[str, Markup], ...]
    heading: bool
    caption: str = ""


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("splitveil.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _source(name: str) -> str:
    environment = _environment()
    if environment.loader is None:
        raise BadPlan("the report's templates are missing: install splitveil again")
    return environment.loader.get_source(environment, name)[0]


def chart_style() -> str:
    """The style sheet of a figure: light, and dark on a screen that asks for it."""
    return (
        f":root{{{variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
        f"{_source('chart.css')}"
    )


def page_from(template: str, context: dict[str, Any]) -> str:
    """One of our pages with its style and script; everything in `context` is escaped."""
    script = _source("sort.js")
    shared = {
        "style": Markup(chart_style() + _source("report.css")),  # noqa: S704 our own files
        "script": Markup(script),  # noqa: S704 our own file
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return _environment().get_template(template).render({**context, **shared})


def _drawn(section: str, chart: Chart) -> Drawn:
    variants = tuple(
        (css, draw(chart, width=width, height=height, name=f"{chart.name}-{css}"))
        for css, width, height in _SIZES[section]
    )
    return Drawn(chart, variants, heading=section in ("spread", "cost"))


def _headline(report: Report) -> tuple[str, str]:
    """The verdict's first sentence, and the rest."""
    text = story.verdict_text(report)
    word = story.verdict_word(report)
    if word and text.startswith(word):
        text = text[len(word) :].lstrip(" :.-")
    first, stop, rest = text.partition(". ")
    return f"{first}{stop.strip()}", rest


def _settings(report: Report) -> str:
    try:
        return (report.run.path / "splitveil.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def render(report: Report, rows: tuple[Row, ...], *, show_images: bool) -> str:
    """The page as text; everything that comes from the run is escaped."""
    charts = figures.charts(report)
    drawn = {k: [_drawn(k, chart) for chart in found] for k, found in charts.items()}
    headline, lede = _headline(report)
    manifest = report.manifest
    context: dict[str, Any] = {
        "report": report,
        "model": (manifest.get("model") or {}).get("name", "a model"),
        "data": (manifest.get("data") or {}).get("name", "data"),
        "version": manifest.get("splitveil", ""),
        "word": story.verdict_word(report),
        "headline": headline,
        "lede": lede,
        "floor": story.floor_name(report),
        "alarms": story.alarms(report),
        "key_figures": story.key_figures(report),
        "threat_sentence": story.threat_sentence(report),
        "threat": story.threat_facts(report),
        "leakage": next(iter(drawn["leakage"]), None),
        "sandwich": next(iter(drawn["sandwich"]), None),
        "spread": drawn["spread"],
        "cost": drawn["cost"],
        "zone": zone_section(report),
        "rows": rows,
        "show_images": show_images,
        "run_name": report.run.path.name,
        "releases": tables.release_table(report),
        "proved": proved.proved_cells(report),
        "noise": proved.noise_table(report),
        "proxies": proved.proxy_section(report),
        "cuts": tables.cut_table(report),
        "likeness": likeness_table(report),
        "outputs": outputs_table(report),
        "trials": tables.trial_table(report),
        "not_attacked": story.not_attacked(report),
        "weaknesses": story.weaknesses(report),
        "not_tested": [str(item) for item in report.summary.get("not_tested", ())],
        "failures": story.failures(report),
        "provenance": story.provenance(report),
        "settings": _settings(report),
    }
    return page_from("report.html.j2", context)


def _write(path: Path, content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    write_whole(path, data)


def _write_figures(report: Report, folder: Path, rows: tuple[Row, ...]) -> None:
    style = chart_style()
    charts = [chart for found in figures.charts(report).values() for chart in found]
    for chart in charts:
        data = json.dumps(chart.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        _write(folder / f"{chart.name}.json", data + "\n")
        _write(
            folder / f"{chart.name}.svg",
            draw(chart, width=760.0, height=380.0, name=chart.name, style=style, heading=True),
        )
        _write(folder / f"{chart.name}.png", png(chart))
    if rows:
        _write(folder / "pictures.png", sheet_png(rows))
    kept = {f"{chart.name}.{end}" for chart in charts for end in ("json", "svg", "png")}
    _remove_stale(folder, kept | ({"pictures.png"} if rows else set()))


def _remove_stale(folder: Path, kept: set[str]) -> None:
    """Drop what an earlier report left: pictures above all."""
    for name in ("leakage", "sandwich", "radius", "nc1", "rho", "payload", "edge", "pictures"):
        for end in ("json", "svg", "png"):
            if f"{name}.{end}" not in kept:
                (folder / f"{name}.{end}").unlink(missing_ok=True)


def write_report(run_path: str | os.PathLike[str], *, show_images: bool | None = None) -> Path:
    """Write `report.html` into a run's folder, with figures/ and tables/ beside it.

    The page is one file: no script, font, style or picture is fetched from anywhere. An
    interrupted run gives a page that says what is missing.

    Args:
        run_path: the run's folder.
        show_images: whether originals and reconstructions are shown. None shows them for the
            bundled demonstration only: a report on your own data then holds no picture.

    Returns:
        Path of the HTML file.

    Raises:
        BadPlan: if there is no run at `run_path`.
        MislabelledClaim: if the page would call something a bound that is none; nothing is written.
        StorageFailed: if the run cannot be read or the report cannot be written.
    """
    report = read_report(Path(run_path))
    shown = report.demo if show_images is None else show_images
    rows = contact_sheet(report) if shown else ()
    folder = report.run.path
    source = render(report, rows, show_images=shown)
    check_page(source, report)
    for name in ("figures", "tables"):
        with storing(folder / name):
            (folder / name).mkdir(exist_ok=True)
    _write_figures(report, folder / "figures", rows)
    _write(folder / "tables" / "cuts.csv", tables.cut_table(report).to_csv())
    _write(folder / "tables" / "trials.csv", tables.trial_table(report).to_csv())
    page = folder / "report.html"
    _write(page, source)
    return page
