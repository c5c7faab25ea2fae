"""splitveil zone: where features stop telling images of one class apart, by each rule."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from rich.table import Table

    from splitveil.select import CutEvidence, Records, Zone

_ROOMY = 110
_SPARED = ("z", "leak drop", "sum")
"""What a terminal of fewer columns than `_ROOMY` has no room for."""


def zone(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of an audit, finished or not.")
    ],
    *,
    max_edge_parameters: Annotated[
        str | None,
        typer.Option(metavar="COUNT", help="The zone ends where the device has more, as 250k."),
    ] = None,
    max_edge_flops: Annotated[
        str | None,
        typer.Option(metavar="COUNT", help="The zone ends where the device computes more, as 5M."),
    ] = None,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Show the golden partition zone of a run.

    By the robust rule, by the paper's own, by the error of the attacks, and by the number of
    features alone, with the evidence of every cut. "No zone" is an answer. A zone proposes where
    to look, and proves nothing: see `splitveil select`. Exit code 0 if the records decide it, zone
    or none; 3 if a cut that might start one was not measured or attacked far enough.

    Example: `splitveil zone splitveil-audit/vgg-demo`
    """
    import json

    from splitveil.audit.store import open_audit
    from splitveil.cli import DONE, INCONCLUSIVE
    from splitveil.select import find_zone, read_records
    from splitveil.select.units import count

    most = {
        name: None if text is None else int(count(text, f"--max-edge-{name.removeprefix('most_')}"))
        for name, text in (
            ("most_parameters", max_edge_parameters),
            ("most_flops", max_edge_flops),
        )
    }
    records = read_records(open_audit(run))
    found = find_zone(records, **most)
    decided = found.start is not None or not found.undecided
    if json_:
        typer.echo(json.dumps(_plain(records, found, decided), indent=1))
    else:
        _show(records, found, decided)
    raise typer.Exit(DONE if decided else INCONCLUSIVE)


def _plain(records: "Records", found: "Zone", decided: bool) -> dict[str, Any]:
    from splitveil.select.zone import HIGH_FIDELITY

    channels = int(records.manifest["model"]["channels"])
    return {
        "run": str(records.path),
        "decided": decided,
        "robust": {"start": found.start, "end": found.end, "undecided": list(found.undecided)},
        "paper_raw": list(found.paper_raw),
        "post_hoc": {
            "jump": found.jump,
            "high_fidelity_ends": found.post_hoc,
            "threshold_summed_over_channels": HIGH_FIDELITY,
            "threshold_per_value": HIGH_FIDELITY / channels,
        },
        "dimension_only": found.shrinks_most,
        "sentences": list(found.sentences),
        "cuts": [_evidence(one) for one in found.evidence],
    }


def _evidence(one: "CutEvidence") -> dict[str, Any]:
    centre, error = one.centre_accuracy, one.attack_mse
    return {
        "cut": one.cut,
        "name": one.name,
        "kind": one.kind,
        "features": one.features,
        "compared_with": one.before,
        "nc1_fall": None if one.fall is None else -math.expm1(-one.fall.log),
        "nc1_fall_z": None if one.fall is None else _finite(one.fall.z),
        "leak_drop": dict(one.leak_drop),
        "shrink": one.shrink,
        "centre_accuracy": None if centre is None else centre.to_json(),
        "eta": one.eta,
        "attack": one.attack,
        "attack_mse_per_value": None if error is None else error.to_json(),
        "attack_mse_summed": one.attack_mse_summed,
        "edge_parameters": one.edge_parameters,
        "edge_flops": one.edge_flops,
        "falls": one.falls,
        "unreadable": one.unreadable,
    }


def _show(records: "Records", found: "Zone", decided: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_table(records, found, console.width))
    for line in _lines(records, found, decided):
        console.print(line, markup=False, soft_wrap=True)


def _table(records: "Records", found: "Zone", width: int) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{records.manifest['model']['name']}: evidence of {len(found.evidence)} cuts",
        caption="fall: of nc1 from the last cut of its kind, share; centre: nearest-class-centre "
        "accuracy; eta, attack: error of Ridge and of the best attack, the class mean's being 1; "
        "mse: the best attack's per value; sum: over channels; D: features before / here",
        pad_edge=False,
    )
    columns = {
        name: column
        for name, column in _columns(found).items()
        if width >= _ROOMY or name not in _SPARED
    }
    for name in columns:
        words = name in ("cut", "starts")
        table.add_column(
            name, justify="left" if words else "right", style="bold" if name == "cut" else None
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table


def _columns(found: "Zone") -> dict[str, list[str]]:
    cuts = found.evidence
    return {
        "cut": [one.name for one in cuts],
        "fall": [_number(None if o.fall is None else -math.expm1(-o.fall.log)) for o in cuts],
        "z": [_number(None if o.fall is None else o.fall.z, ".1f") for o in cuts],
        "leak drop": [_leak(one.leak_drop) for one in cuts],
        "centre": [
            _number(None if (q := one.centre_accuracy) is None else q.value) for one in cuts
        ],
        "eta": [_number(one.eta) for one in cuts],
        "attack": [_number(one.attack) for one in cuts],
        "mse": [_number(None if (q := one.attack_mse) is None else q.value, ".4f") for one in cuts],
        "sum": [_number(one.attack_mse_summed, ".4f") for one in cuts],
        "D": [_number(one.shrink) for one in cuts],
        "starts": [_starts(found, one) for one in cuts],
    }


def _starts(found: "Zone", one: "CutEvidence") -> str:
    """By which rules the zone, or what each calls one, begins or ends here."""
    rules = {
        "robust": one.cut == found.start,
        "robust end": one.cut == found.end,
        "paper": one.cut in found.paper_raw,
        "jump": one.cut == found.jump,
        "mse": one.cut == found.post_hoc,
        "D": one.cut == found.shrinks_most,
    }
    named = [rule for rule, here in rules.items() if here]
    return ", ".join(named) or ("?" if one.cut in found.undecided else "")


def _lines(records: "Records", found: "Zone", decided: bool) -> Iterable[str]:
    from splitveil.select.zone import HIGH_FIDELITY, HIGH_FIDELITY_RULE

    names = {one.cut: one.name for one in found.evidence}

    def named(*cuts: str | None) -> str:
        return ", ".join(names[cut] for cut in cuts if cut is not None) or "none"

    if found.start is not None:
        yield f"Zone by the robust rule: {named(found.start)} to {named(found.end)}."
    elif decided:
        yield "No zone by the robust rule: no cut meets all three of its conditions."
    else:
        yield (
            "Undecided by the robust rule: what is known speaks for "
            f"{named(*found.undecided)}, but not everything is known there."
        )
    channels = int(records.manifest["model"]["channels"])
    yield f"The paper's rule (largest drops of R²c; it always answers): {named(*found.paper_raw)}."
    yield f"Post hoc, jump of the best attack's error: {named(found.jump)}."
    yield (
        f"Post hoc, {HIGH_FIDELITY_RULE} ends at: {named(found.post_hoc)} "
        f"({HIGH_FIDELITY / channels:.4f} per value with {channels} "
        f"channel{'s' if channels > 1 else ''})."
    )
    yield f"The number of features alone, D before / here, would say: {named(found.shrinks_most)}."
    yield from (f"{text[0].upper()}{text[1:]}." for text in found.sentences)


def _leak(drops: Mapping[str, float]) -> str:
    """The drop at the middle one of the noises, in bits per input value."""
    if not drops:
        return ""
    noises = sorted(drops, key=float)
    noise = noises[len(noises) // 2]
    return f"{drops[noise]:.2f}"


def _number(value: float | int | None, form: str = ".2f") -> str:
    return "" if value is None else format(value, form)


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
