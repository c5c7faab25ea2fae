"""One page on what the classes of a model look like, from the record of a campaign."""

import json
from collections.abc import Mapping
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
        page = page_from("class_inversion.html.j2", _context(record, table, rows))
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise BadData(f"{path} holds a damaged record: remove it and run again") from error
    check_wording(text_of_page(page), names=_names(record))
    write_whole(path / "class-inversion.html", page.encode())
    write_whole(path / "class-inversion.csv", table.to_csv().encode())
    if rows:
        write_whole(path / "contact-sheet.png", sheet_png(rows))
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
        Column(name="taken for the class by all judges", unit="share", kind="measured"),
        Column(name="beyond public images", unit="share", kind="measured"),
        *(Column(name=f"by {one}", unit="share", kind="measured") for one in judges),
        Column(name="to the nearest private image", unit="squared, features", kind="measured"),
        Column(name="KID", unit="squared MMD", kind="measured"),
        Column(name="FID", unit="squared, features", kind="measured"),
        Column(name="queries"),
        Column(name="time a class", unit="CPU s"),
        Column(name="until half are taken for it", unit="CPU s a class"),
    ]
    rows = [_row(name, one, judges) for name, one in _ordered(record)]
    classes = len(record["classes"])
    return Table(
        name="inversion",
        caption=f"{classes} classes, 95 % intervals over classes. Distances, KID and FID are "
        f"in features of {judges[0]}; FID is too large where images are few. Queries include "
        "those of priors and students.",
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
    best = max(found, key=lambda name: found[name].value)
    said = (
        f"{best} drew images that every judge takes for the class in {_share(found[best])} of "
        f"cases, the best public images are in {_share(public)}"
    )
    net = attacks[best]["net_accuracy"]
    if net is None or Quantity.from_json(net).low <= 0:
        return f"{said}. That is not beyond chance."
    return f"{said}."


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
    return tuple(
        Row(
            name,
            "",
            tuple(
                _picture(image, _class_name(names, classes[place]), name)
                for place, image in enumerate(stored[name])
            ),
            "original" if name == "private" else "cut",
        )
        for name in order
        if name in stored
    )


def _class_name(names: list[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)


def _picture(image: np.ndarray, name: str, row: str) -> Picture:
    pixels = image[0] if len(image) == 1 else np.moveaxis(image[:3], 0, -1)
    large = pixels.repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    return Picture(np.ascontiguousarray(large), name, "", f"{row}, class {name}")


def _names(record: Mapping[str, Any]) -> set[str]:
    return {
        record["model"].get("name", ""),
        record.get("data", {}).get("name", ""),
        *record["attacks"],
        *record.get("class_names", ()),
    } - {""}
