"""What is proved at each cut, how much noise plain features would need, and what only ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from splitveil.audit.joint import NEGLIGIBLE, joint_level, shown_level
from splitveil.errors import MislabelledClaim
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.records import Outcome, Status, Task
from splitveil.report.numbers import full, number
from splitveil.report.reading import IDENTITY, Report, method_name, quantity
from splitveil.report.tables import EMPTY, Cell, Column, Table, shown_quantity

_ERROR, _NATS, _CHANCE = "MSE per pixel", "nat an image", "probability"

_CLAIMS: Mapping[str, tuple[str, str]] = {
    "mse_bound": ("error of any attacker", "handed a gallery that holds the hidden image"),
    "mse_bound_success": ("error of any attacker", "from the chance of landing near an image"),
    "named_at_most": ("share of images any attacker names", "in a gallery, its size in the notes"),
    "anonymity": ("images as likely as the true one", "exponential of what is left unknown"),
    "variational": ("information sent", "from a marginal fitted on other images"),
    "log_det": ("information sent", "from the covariance of features"),
    "leave_one_out_high": ("information sent", "from groups of images, the true one left out"),
    "capacity": ("information sent", "from clip and noise alone, whatever the images"),
    "payload": ("information sent", "from the number of bits alone"),
    "beyond_label": ("information sent beyond the label", "from one marginal a class"),
    "leave_one_out_low": ("information sent", "from groups of images"),
    "leak_floor": ("information sent", "an attacker did name the images so often"),
    "retention": ("entropy power of the images left", "needs no prior, limits no error by itself"),
    "near_blind": ("chance of landing near an image", "by a blind guess, within 20 dB PSNR"),
    "near_by_noise": ("chance of landing near an image", "from clip and noise, within 20 dB PSNR"),
    "near_by_information": ("chance of landing near an image", "from the information, same radius"),
}

_MODELS: Mapping[str, str] = {
    "van_trees": "least error, from Jacobians",
    "efroimovich": "entropy power left, from Jacobians",
    "shannon": "least error, from entropies",
    "label_side": "least error within classes, from entropies",
    "budget": "leak budget, all images one heap",
    "budget_by_class": "leak budget, class by class",
    "gallery_low": "information about an even choice among some private images, at least",
    "gallery_high": "information about an even choice among some private images, at most",
}

_PROXIES: Mapping[str, str] = {
    "distance_correlation": "distance correlation",
    "hsic": "HSIC",
    "mine": "MINE",
    "nwj": "NWJ",
    "info_nce": "InfoNCE",
    "club": "CLUB",
    "dfil": "dFIL",
}


@dataclass(frozen=True)
class ProvedCell:
    """One cut under one release: all that is proved there, and what holds for models."""

    place: str
    joint: str
    table: Table
    models: Table | None


@dataclass(frozen=True)
class ProxySection:
    """Proxies by cut and release, and the same estimators where the answer is known."""

    table: Table
    ladder: Table | None


def _claim_trials(report: Report, method: str) -> list[Outcome]:
    depth = {cut.id: cut.depth for cut in report.cuts}
    found = [
        o
        for o in report.outcomes
        if o.trial.task is Task.BOUND
        and o.status is Status.DONE
        and method_name(o.trial.method) == method
    ]
    return sorted(found, key=lambda o: (o.trial.release, depth.get(o.trial.cut, -1.0)))


def vacuous(q: Quantity) -> bool:
    """Whether a claim says nothing: an error of 0 at least, a chance of 1 at most."""
    if q.direction is Direction.LOWER:
        return q.value < (1 + 1e-9 if q.unit == "images" else NEGLIGIBLE)
    return q.unit in ("share", "probability") and q.value >= 1


def proved_cell(name: str, q: Quantity) -> Cell:
    """The number of a claim.

    Raises:
        MislabelledClaim: if it is a model, proxy or measured number.
    """
    if not q.is_bound:
        raise MislabelledClaim(
            f"{name} is {q.kind} and cannot stand among what is proved: report a bug"
        )
    cell = shown_quantity(q, css="quiet" if vacuous(q) else "bound")
    return cell if not vacuous(q) else Cell(text="says nothing", title=full(q), css="quiet")


def proved_cells(report: Report) -> list[ProvedCell]:
    """Every cell with claims: shallow to deep, one release after another."""
    twins = {(o.trial.cut, o.trial.release): o for o in _claim_trials(report, "twin")}
    cells: list[ProvedCell] = []
    for outcome in _claim_trials(report, "bounds"):
        trial = outcome.trial
        claims = {n: q for n, q in outcome.quantities.items() if n in _CLAIMS and q.is_bound}
        if not claims:
            continue
        others = dict(outcome.quantities)
        twin = twins.get((trial.cut, trial.release))
        others |= dict(twin.quantities) if twin else {}
        cells.append(
            ProvedCell(
                place=f"{report.cut_name(trial.cut)}, {trial.release}",
                joint=shown_level(joint_level(claims.values())),
                table=_claims_table(len(cells), claims),
                models=_models_table(len(cells), others),
            )
        )
    return cells


def _claims_table(place: int, claims: Mapping[str, Quantity]) -> Table:
    rows = []
    for name, (text, means) in _CLAIMS.items():
        if (q := claims.get(name)) is None:
            continue
        side = "at least" if q.direction is Direction.LOWER else "at most"
        rows.append(
            (
                Cell(text=f"{text}, {side}", small=means, css="wrap"),
                proved_cell(name, q),
                Cell(text=q.unit),
                Cell(text=str(q.kind), small="" if q.level == 1 else f"at {shown_level(q.level)}"),
                Cell(text="; ".join(q.assumptions), css="wrap"),
            )
        )
    return Table(
        name=f"proved-{place}",
        caption="Against every attacker, known or unknown.",
        columns=(
            Column(name="claim", numeric=False),
            Column(name="value"),
            Column(name="unit", numeric=False),
            Column(name="kind", numeric=False),
            Column(name="it rests on", numeric=False),
        ),
        rows=tuple(rows),
    )


def _models_table(place: int, found: Mapping[str, Quantity]) -> Table | None:
    rows = [
        (
            Cell(text=text),
            shown_quantity(found[name]),
            Cell(text=found[name].unit),
            Cell(text="; ".join(found[name].assumptions), css="wrap"),
        )
        for name, text in _MODELS.items()
        if name in found and found[name].kind in (Kind.MODEL, Kind.PROXY)
    ]
    if not rows:
        return None
    return Table(
        name=f"models-{place}",
        caption="For a declared source of images, which is not your data.",
        columns=(
            Column(name="what", numeric=False),
            Column(name="value", kind="model"),
            Column(name="unit", numeric=False),
            Column(name="it rests on", numeric=False),
        ),
        rows=tuple(rows),
    )


def noise_table(report: Report) -> Table | None:
    """For cuts whose features go out as they are: the noise it would take, and its price."""
    rows = []
    head = report.headline.cut if report.headline else ""
    for outcome in _claim_trials(report, "noise_needed"):
        found, details = outcome.quantities, outcome.details
        without = details.get("without") or {}
        reason = str(without.get("noise", "")) if isinstance(without, Mapping) else ""
        there = next((q for name, q in found.items() if name.endswith("_there")), None)
        noise = found.get("noise")
        rows.append(
            (
                Cell(
                    text=report.cut_name(outcome.trial.cut),
                    small="least leaking cut" if outcome.trial.cut == head else "",
                ),
                Cell(text="none", title=str(details.get("words", "")), css="quiet"),
                Cell(
                    text=number(noise.value),
                    small=str(details.get("release", "")),
                    key=repr(noise.value),
                )
                if noise
                else Cell(text="not found", small=reason, css="quiet"),
                proved_cell("bought", found["bought"]) if "bought" in found else EMPTY,
                shown_quantity(there),
                proved_cell("leak_floor", found["leak_floor"]) if "leak_floor" in found else EMPTY,
                proved_cell("payload", found["payload"]) if "payload" in found else EMPTY,
            )
        )
    if not rows:
        return None
    return Table(
        name="noise",
        caption="Features sent as they are: what is proved now, and the noise it would take.",
        columns=(
            Column(name="cut", numeric=False),
            Column(name="error no attack beats now", numeric=False),
            Column(
                name="noise before a theorem bites", unit="rms of the features", kind="measured"
            ),
            Column(name="error no attack beats there", unit=_ERROR, kind="theorem"),
            Column(name="accuracy there", unit="share", kind="measured"),
            Column(name="sent now, at least", unit=_NATS, kind="theorem"),
            Column(name="sent now, at most", unit=_NATS, kind="theorem"),
        ),
        rows=tuple(rows),
    )


def proxy_section(report: Report) -> ProxySection | None:
    """The proxies' own table with their calibration, or None where none was asked for."""
    trials = _claim_trials(report, "proxies")
    if not trials:
        return None
    names = [n for n in _PROXIES if any(n in o.quantities for o in trials)]
    units = {n: next(o.quantities[n].unit for o in trials if n in o.quantities) for n in names}
    table = Table(
        name="proxies",
        caption="Proxies of what is sent.",
        columns=(
            Column(name="cut and release", numeric=False),
            *(Column(name=_PROXIES[n], unit=units[n], kind="proxy") for n in names),
        ),
        rows=tuple(
            (
                Cell(text=report.cut_name(o.trial.cut), small=_sent(o.trial.release)),
                *(shown_quantity(o.quantities.get(n)) for n in names),
            )
            for o in trials
        ),
    )
    return ProxySection(table, _ladder(report, names))


def _sent(release: str) -> str:
    return "as it is" if release == IDENTITY else release


def _ladder(report: Report, names: list[str]) -> Table | None:
    trials = _claim_trials(report, "calibration")
    found: Any = trials[-1].details.get("ladders") if trials else None
    if not isinstance(found, Mapping):
        return None
    shown = [n for n in names if n in found]
    steps = sorted({float(rung["nats"]) for n in shown for rung in found[n]})
    by_step = {
        (n, float(rung["nats"])): quantity(rung["found"]) for n in shown for rung in found[n]
    }
    return Table(
        name="ladder",
        caption="The same estimators on Gaussian pairs whose information is known.",
        columns=(
            Column(name="true information", unit="nat"),
            *(Column(name=_PROXIES[n], kind="proxy") for n in shown),
        ),
        rows=tuple(
            (
                Cell(text=number(s), key=repr(s)),
                *(shown_quantity(by_step.get((n, s))) for n in shown),
            )
            for s in steps
        ),
    )
