"""Originals beside reconstructions: only for the demonstration, or when asked for."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from splitveil.errors import StorageFailed
from splitveil.records import Outcome
from splitveil.report.numbers import number, shortened
from splitveil.report.reading import IDENTITY, Finding, Report, method_name

_COLUMNS = 8
_ROWS = 9
_CELL = 96


@dataclass(frozen=True, eq=False)
class Picture:
    """One small image, as pixels (h, w) or (h, w, 3), its PSNR and what it shows."""

    pixels: np.ndarray
    caption: str
    unit: str
    text: str

    @property
    def uri(self) -> str:
        """The image inside an address, so that a page needs no other file."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, format="PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True, eq=False)
class Row:
    """Pictures side by side: the originals, or what one attack made of them at one cut."""

    name: str
    detail: str
    pictures: tuple[Picture, ...]
    kind: str


def _pixels(image: np.ndarray) -> np.ndarray:
    """(c, h, w) or (h, w), uint8 or float in [0, 1], to what Pillow takes."""
    if image.dtype != np.uint8:
        image = np.round(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    if image.ndim == 3:
        image = image[0] if image.shape[0] == 1 else np.moveaxis(image[:3], 0, -1)
    return np.ascontiguousarray(image)


def _psnr(original: np.ndarray, made: np.ndarray) -> float:
    error = float(((original.astype(float) - made.astype(float)) ** 2).mean()) / 255.0**2
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def _originals(report: Report) -> tuple[list[np.ndarray], list[str]]:
    try:
        found = report.run.artefact("originals")
    except StorageFailed:
        return [], []
    images = [_pixels(image) for image in found.get("images", np.empty(0))[:_COLUMNS]]
    classes = report.manifest.get("data", {}).get("class_names") or []
    codes = found.get("labels")
    labels = []
    for index in range(len(images)):
        code = -1 if codes is None or index >= len(codes) else int(codes[index])
        labels.append(str(classes[code]) if 0 <= code < len(classes) else "")
    return images, labels


def _row(
    outcome: Outcome, originals: list[np.ndarray], report: Report, name: str, kind: str
) -> Row | None:
    try:
        arrays = report.run.artefact(outcome.artefact)
    except StorageFailed:
        return None
    made = arrays.get("reconstructions")
    if made is None or len(made) < len(originals):
        return None
    method = method_name(outcome.trial.method)
    pictures = []
    exact = arrays.get("psnr_test", np.empty(0))
    for index, (original, image) in enumerate(zip(originals, made, strict=False)):
        pixels = _pixels(image)
        ratio = float(exact[index]) if index < len(exact) else _psnr(original, pixels)
        text = f"{name}, {method}: PSNR {number(ratio)} dB"
        pictures.append(Picture(pixels, number(ratio), "dB", text))
    release = "" if outcome.trial.release == IDENTITY else f" · {outcome.trial.release}"
    return Row(name, f"{method}{release}", tuple(pictures), kind)


def _spaced(findings: list[Finding], count: int) -> list[Finding]:
    if len(findings) <= count:
        return findings
    chosen = np.linspace(0, len(findings) - 1, count).round().astype(int)
    return [findings[i] for i in chosen]


def _trial(report: Report, finding: Finding) -> Outcome | None:
    for outcome in report.attacks():
        trial = outcome.trial
        if trial.method != finding.attack or not outcome.artefact:
            continue
        if trial.cut == "*" or (trial.cut, trial.release) == (finding.cut, finding.release):
            return outcome
    return None


def _rows(report: Report, originals: list[np.ndarray]) -> Iterator[Row | None]:
    depth = {cut.id: cut.depth for cut in report.cuts}
    known = sorted((f for f in report.findings if f.cut in depth), key=lambda f: depth[f.cut])
    unbeaten = {found.cut for _, found in report.reach()}
    plain = [
        f for f in known if f.release == report.sent and f.cut in unbeaten and _trial(report, f)
    ]
    noisy = [f for f in known if f.release != report.sent and _trial(report, f)]
    for kind, chosen in (("cut", _spaced(plain, _ROWS)), ("noise", _spaced(noisy, 3))):
        for finding in chosen:
            outcome = _trial(report, finding)
            if outcome is not None:
                yield _row(outcome, originals, report, report.cut_name(finding.cut), kind)
    for outcome in report.attacks():
        if method_name(outcome.trial.method) == "ClassMean" and outcome.artefact:
            yield _row(outcome, originals, report, "class mean", "floor")
            return


def contact_sheet(report: Report) -> tuple[Row, ...]:
    """The originals, then the best attack at up to nine cuts by depth, noisy releases, the floor.

    Empty where the run holds no pictures.
    """
    originals, labels = _originals(report)
    if not originals:
        return ()
    first = tuple(
        Picture(pixels, label, "", f"original{f', {label}' if label else ''}")
        for pixels, label in zip(originals, labels, strict=True)
    )
    made = [row for row in _rows(report, originals) if row is not None]
    if not made:
        return ()
    return (Row("original", "what the device saw", first, "original"), *made)


def sheet_png(rows: tuple[Row, ...]) -> bytes:
    """The contact sheet as one PNG, pixels enlarged without smoothing."""
    columns = max(len(row.pictures) for row in rows)
    margin = 210
    sheet = Image.new("RGB", (margin + columns * (_CELL + 6), len(rows) * (_CELL + 22)), "white")
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        top = r * (_CELL + 22) + 4
        draw.text((8, top + 30), shortened(row.name, 24), fill="#1b1d21", font_size=15)
        draw.text((8, top + 50), shortened(row.detail, 32), fill="#5a5f68", font_size=11)
        for c, picture in enumerate(row.pictures):
            tile = Image.fromarray(picture.pixels).convert("RGB")
            tile = tile.resize((_CELL, _CELL), Image.Resampling.NEAREST)
            left = margin + c * (_CELL + 6)
            sheet.paste(tile, (left, top))
            draw.text(
                (left, top + _CELL + 2),
                shortened(f"{picture.caption} {picture.unit}", 16),
                fill="#5a5f68",
                font_size=11,
            )
    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()
