"""One page on what the classes of a model look like, from the record of a campaign."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from splitveil.errors import BadData
from splitveil.quantities import Quantity
from splitveil.report.html import page_from
from splitveil.report.numbers import full, grouped, interval, number
from splitveil.report.pictures import Picture, Row, sheet_png
from splitveil.report.story import Fact
from splitveil.report.tables import EMPTY, Cell, Column, Table, shown_quantity
from splitveil.report.wording import check_wording, text_of_page
from splitveil.storage import write_whole

_AGREED = "accuracy@1 by all"
_ENLARGED = 3
_TAKEN, _NOT_TAKEN = "✓", "✗"


def write_class_inversion(path: Path, *, show_images: bool) -> Path:
    """Write class-inversion.html, .csv and, where images may be shown, contact-sheet.png.

    Raises:
        BadData: if the folder holds no record of a campaign, or a damaged one.
        MislabelledClaim: if the page would call something a bound that is none.
        StorageFailed: if it cannot be written.
    """
    record = _read(path)
    try:
        table = inversion_table(record)
        rows = _rows(path, record) if show_images else ()
        context = _context(record, table, rows)
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise BadData(f"{path} holds a damaged record: remove it and run again") from error
    page = page_from("class_inversion.html.j2", context)
    check_wording(text_of_page(page), names=_names(record))
    write_whole(path / "class-inversion.html", page.encode())
    write_whole(path / "class-inversion.csv", table.to_csv().encode())
    if rows:
        write_whole(path / "contact-sheet.png", sheet_png(_on_paper(rows, record["classes"])))
    return path / "class-inversion.html"


def _read(path: Path) -> dict[str, Any]:
    file = path / "class-inversion.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadData(f"no record in {file}: run `splitveil invert-classes`") from error
    except ValueError as error:
        raise BadData(f"{file} is damaged: remove it and run again") from error
    if not isinstance(found, dict) or "attacks" not in found:
        raise BadData(f"{file} is no record of training-data inversion")
    return found


def inversion_table(record: Mapping[str, Any]) -> Table:
    """A row for each baseline and attack."""
    judges = [*record["judges"]]
    columns = [
        Column(name="images", numeric=False),
        Column(name="by all judges", unit="share", kind="measured"),
        Column(name="beyond public", unit="share", kind="measured"),
        *(Column(name=f"by {one}", unit="share", kind="measured") for one in judges),
        Column(name="nearest", unit="squared", kind="measured"),
        Column(name="KID", unit="squared MMD", kind="measured"),
        Column(name="FID", unit="squared", kind="measured"),
        Column(name="queries"),
        Column(name="time", unit="CPU s"),
        Column(name="until half", unit="CPU s"),
    ]
    rows = [_row(name, one, judges) for name, one in _ordered(record)]
    classes = len(record["classes"])
    return Table(
        name="inversion",
        caption=f"{classes} classes, 95 % intervals over classes. Shares are of images taken for "
        "their class: 1 is all of them. Beyond public: the share that is added to the best "
        "public images, of what they leave. Nearest: distance to the nearest private image of the "
        f"class. Distances, KID and FID are in features of {judges[0]}, smaller is closer; FID is "
        "too large where images are few. Queries include those of priors and students. Times are "
        "those of the search for one class: whole, and until half of the images are taken.",
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _ordered(record: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [*record["baselines"].items(), *record["attacks"].items()]


def _row(name: str, one: Mapping[str, Any], judges: list[str]) -> tuple[Cell, ...]:
    found = {key: Quantity.from_json(value) for key, value in one["quantities"].items()}
    net = one.get("net_accuracy")
    seconds, queries = one.get("processor_seconds_per_class"), one.get("queries")
    half = one.get("seconds_to", {}).get("0.5")
    first = judges[0]
    return (
        Cell(text=name),
        shown_quantity(found[_AGREED]),
        EMPTY if net is None else shown_quantity(Quantity.from_json(net)),
        *(shown_quantity(found[f"accuracy@1 by {judge}"]) for judge in judges),
        shown_quantity(found[f"nearest distance by {first}"]),
        shown_quantity(found.get(f"KID by {first}")),
        shown_quantity(found.get(f"FID by {first}")),
        EMPTY if queries is None else Cell(text=grouped(queries), key=str(queries)),
        EMPTY if seconds is None else Cell(text=number(seconds), key=repr(seconds)),
        EMPTY if half is None else Cell(text=number(half), key=repr(half)),
    )


def headline(record: Mapping[str, Any]) -> str:
    """What was found, in a sentence no stronger than it bears."""
    attacks = record["attacks"]
    if not attacks:
        return "No attack came to an end."
    public = Quantity.from_json(record["baselines"]["best public image"]["quantities"][_AGREED])
    found = {name: Quantity.from_json(one["quantities"][_AGREED]) for name, one in attacks.items()}
    nets = {name: _net(one) for name, one in attacks.items()}
    best = max(found, key=lambda name: (found[name].value, nets[name]))
    said = (
        f"Every judge takes {_share(found[best])} of the images by {best} for their class, and "
        f"{_share(public)} of the best public images."
    )
    return said if nets[best] > 0 else f"{said} The difference may be chance."


def _net(one: Mapping[str, Any]) -> float:
    """The least that an attack adds to public images."""
    net = one["net_accuracy"]
    return -math.inf if net is None else Quantity.from_json(net).low


def _share(one: Quantity) -> str:
    return f"{number(one.value)} {interval(one)}".strip()


def _context(record: Mapping[str, Any], table: Table, rows: tuple[Row, ...]) -> dict[str, Any]:
    notes = [*record["notes"]]
    notes += [f"{name}: {note}" for name, one in record["attacks"].items() for note in one["notes"]]
    if not record["complete"]:
        notes.append("The run was stopped before its end: the same command goes on.")
    return {
        "model": record["model"].get("name", "a model"),
        "data": record.get("data", {}).get("name", "private images"),
        "headline": headline(record),
        "notes": notes,
        "access": record["access"],
        "budget": None if record["budget"] is None else grouped(record["budget"]),
        "table": table,
        "rows": rows,
        "failures": record["failures"],
        "robust": [_fact(_radius(key), one) for key, one in record["robust"].items()],
        "judges": [_fact(name, one) for name, one in record["judges"].items()],
        "version": record.get("splitveil", ""),
    }


def _radius(key: str) -> str:
    return "as it is" if float(key) == 0 else f"within ±{key} a pixel"


def _fact(name: str, one: Mapping[str, Any]) -> Fact:
    return Fact(name=name, value=full(Quantity.from_json(one)))


def _rows(path: Path, record: Mapping[str, Any]) -> tuple[Row, ...]:
    stored = load((path / "sheet.safetensors").read_bytes())
    names = record.get("class_names") or []
    classes = record["classes"]
    order = ["private", "best public image", *record["attacks"]]
    shown = record.get("shown", {})
    return tuple(
        Row(
            name,
            "",
            tuple(
                _picture(image, _class_name(names, classes[place]), name, taken)
                for place, (image, taken) in enumerate(
                    zip(stored[name], shown.get(name, [None] * len(stored[name])), strict=True)
                )
            ),
            "original" if name == "private" else "cut",
        )
        for name in order
        if name in stored
    )


def _class_name(names: list[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)


def _picture(image: np.ndarray, name: str, row: str, taken: bool | None) -> Picture:
    pixels = image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1)
    large = pixels.repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    said = f"{row}, class {name}"
    if taken is not None:
        said += f": {'every judge takes' if taken else 'not every judge takes'} it for that"
    mark = {True: _TAKEN, False: _NOT_TAKEN, None: ""}[taken]
    return Picture(np.ascontiguousarray(large), name, mark, said)


def _on_paper(rows: tuple[Row, ...], classes: list[int]) -> tuple[Row, ...]:
    """Captions that the font of a picture has: a class's number where its name is of other letters.

    Pages show every letter.
    """
    return tuple(
        replace(
            row,
            pictures=tuple(
                replace(
                    one,
                    caption=one.caption if one.caption.isascii() else f"class {label}",
                    unit={_TAKEN: "yes", _NOT_TAKEN: "no"}.get(one.unit, ""),
                )
                for one, label in zip(row.pictures, classes, strict=False)
            ),
        )
        for row in rows
    )


def _names(record: Mapping[str, Any]) -> set[str]:
    return {
        record["model"].get("name", ""),
        record.get("data", {}).get("name", ""),
        *record["attacks"],
        *record.get("class_names", ()),
    } - {""}
