"""How much each layer matters to the task and along an attack, and what attacks rebuilt."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from splitveil.report.chart import ATTACK_ROLES, Axis, Chart, Marker, Point, Role, Series
from splitveil.report.html import chart_style
from splitveil.report.svg import draw
from splitveil.reproduce.experiment import ArmMissing, Evidence, Scale
from splitveil.reproduce.tldmi.attacked import SHOWN, Attacked, Weighed, attacked_by, importance
from splitveil.reproduce.tldmi.claims import ATTACKS, CHEAP, CHOSEN, KNOWING, NONE
from splitveil.reproduce.tldmi.images import identities
from splitveil.reproduce.tldmi.others import DEFENCES, people_attacked_by
from splitveil.storage import write_whole

_ZOOM, _LEFT = 2, 210
_LINES: tuple[tuple[str, Role, Marker, str], ...] = (
    ("task", Role.BEST, "diamond", ""),
    ("step 0", ATTACK_ROLES[0], "circle", "2 3"),
    ("step 200", ATTACK_ROLES[1], "square", "6 3"),
    ("step 400", ATTACK_ROLES[2], "triangle", ""),
)


def layers(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """Write tldmi-layers.svg and tldmi-layers-invariant.svg: shares of importance by layer, seed 0.

    Raises:
        ArmMissing: if it was not weighed.
    """
    weighed = evidence.take(Weighed())
    for score, name in (("fisher", "tldmi-layers"), ("invariant", "tldmi-layers-invariant")):
        found = {line: importance(weighed, line) for line, *_ in _LINES}
        label = "F" if score == "fisher" else "I"
        series = []
        for line, role, marker, dash in _LINES:
            shares = found[line].shares("fisher" if score == "fisher" else "invariant").tolist()
            points = tuple(
                Point(x=float(k), y=share, low=share, high=share, text=f"{layer}: {share:.3g}")
                for k, (layer, share) in enumerate(zip(found[line].layers, shares, strict=True))
            )
            said = "task" if line == "task" else f"KEDMI, {line}"
            series.append(Series(name=said, role=role, points=points, marker=marker, dash=dash))
        chart = Chart(
            name=name,
            title=f"Where weights matter: shares of {label} by layer",
            description="Shares of importance of each layer, for the task and along an attack.",
            x=Axis(label="layer", scale="category", categories=found["task"].layers),
            y=Axis(label=f"share of {label}", low=0.0),
            series=tuple(series),
        )
        drawn = draw(chart, width=760.0, height=400.0, name=name, style=chart_style(), heading=True)
        write_whole(folder / f"{name}.svg", str(drawn).encode())


def sheet(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """Write tldmi-sheet.png: one image of ten characters by each attack, undefended and frozen.

    The same bytes for the same arms; attacks that were not run are left out.

    Raises:
        ArmMissing: if no attack was run.
    """
    attacks = attacked_by(scale)
    rows = {
        attack if defence == NONE else f"{attack}, frozen": attacks(defence=defence, attack=attack)
        for attack in (*ATTACKS, CHEAP, KNOWING)
        for defence in (NONE, CHOSEN)
    }
    _picture(evidence, rows, folder / "tldmi-sheet.png")


def people_sheet(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """Write tldmi-people.png: one image of ten people by one attack, a row each defence.

    Raises:
        ArmMissing: if no person was attacked.
    """
    attacks = people_attacked_by(scale)
    rows = {
        f"{CHEAP}, {said}": attacks(defence=defence, attack=CHEAP)
        for defence, said in DEFENCES.items()
    }
    _picture(evidence, rows, folder / "tldmi-people.png")


def _picture(evidence: Evidence, rows: Mapping[str, Attacked], path: Path) -> None:
    """Private pictures above what each arm rebuilt; the same bytes for the same arms."""
    found = {said: evidence.find(arm) for said, arm in rows.items()}
    shown = {said: one.arrays["images"] for said, one in found.items() if one is not None}
    if not shown:
        raise ArmMissing("no attack was run")
    (kind,) = {arm.networks.kind for arm in rows.values()}
    private = identities(kind).judges
    assert private.y is not None  # noqa: S101 - identities are classes
    each = len(private) // len(private.y.unique())
    real = private.x[::each][:SHOWN].mul(255).byte().numpy()
    shown = {"private": real, **shown}
    cell = real.shape[-1] * _ZOOM
    size = (_LEFT + SHOWN * (cell + 2), len(shown) * (cell + 2))
    picture = Image.new("L", size, 255)
    pen = ImageDraw.Draw(picture)
    for place, (said, images) in enumerate(shown.items()):
        top = place * (cell + 2)
        pen.text((4, top + cell // 2 - 6), said, fill=0)
        for column, image in enumerate(images):
            small = Image.fromarray(np.ascontiguousarray(image[0]))
            small = small.resize((cell, cell), Image.Resampling.NEAREST)
            picture.paste(small, (_LEFT + column * (cell + 2), top))
    picture.save(path, optimize=True)
