"""Reads a run's folder into what the report needs, however much of the run there is."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from splitveil.audit.joint import best_bound, error_bounds
from splitveil.audit.sent import PLAIN, sent_by
from splitveil.audit.store import Run, open_audit
from splitveil.errors import BadInput, StorageFailed
from splitveil.quantities import Quantity
from splitveil.records import Outcome, Status, Task

FLOORS = ("MeanImage", "ClassMean", "NearestAuxiliary")
"""Attacks that any claim must beat; drawn as floors, never as the best attack."""

IDENTITY = PLAIN


@dataclass(frozen=True, kw_only=True)
class CutRow:
    """A cut, what it costs and how its features spread."""

    id: str
    name: str
    kind: str
    depth: float
    shape: str
    bytes: Mapping[str, int]
    edge_parameters: int
    edge_flops: int
    total_flops: int
    edge_seconds: Quantity | None
    cloud_seconds: Quantity | None
    spread: Mapping[str, Quantity]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The best attack found at one cut under one release, chosen on validation targets.

    Where only a theorem is known there, `attack` is empty and its numbers are None.
    """

    cut: str
    release: str
    attack: str
    attacks: int
    leakage: Quantity | None
    psnr: Quantity | None
    mse: Quantity | None
    word: str
    bound: Quantity | None
    tail: Quantity | None = None
    utility: Quantity | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is told about a run; missing parts are empty, never invented."""

    run: Run
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]
    cuts: tuple[CutRow, ...]
    findings: tuple[Finding, ...]
    headline: Finding | None
    damage: tuple[str, ...] = field(default=())

    @property
    def demo(self) -> bool:
        """Whether everything shown comes from the bundled demonstration."""
        return self.manifest.get("demo") is True

    @property
    def complete(self) -> bool:
        """Whether the run reached its end."""
        return self.summary.get("complete") is True

    @property
    def sent(self) -> str:
        """The release that features always go through; `IDENTITY` where they go as they are."""
        return sent_by(self.manifest)

    @property
    def started(self) -> str:
        """When the run began, as a person writes it."""
        text = str(self.manifest.get("started", ""))
        try:
            return datetime.fromisoformat(text).strftime("%-d %B %Y, %H:%M %Z").strip()
        except ValueError:
            return text

    def cut(self, cut_id: str) -> CutRow | None:
        """The cut with that id."""
        return next((c for c in self.cuts if c.id == cut_id), None)

    def cut_name(self, cut_id: str) -> str:
        """What a person calls the cut."""
        if cut_id == "*":
            return "all cuts"
        row = self.cut(cut_id)
        return row.name if row else self.outputs.get(cut_id, cut_id)

    @property
    def outputs(self) -> dict[str, str]:
        """Names of the network's outputs by id: channels of their own, no place to cut."""
        found = self.manifest.get("outputs") or ()
        return {one["cut"]["id"]: str(one["cut"]["name"]) for one in found}

    def attacks(self) -> Iterator[Outcome]:
        """Finished attack trials at cuts and across them, those on outputs left out."""
        outputs = self.outputs
        for outcome in self.outcomes:
            trial = outcome.trial
            done = trial.task is Task.ATTACK and outcome.status is Status.DONE
            if done and trial.cut not in outputs:
                yield outcome

    def finding(self, cut_id: str, release: str | None = None) -> Finding | None:
        """The best attack at that cut under that release, by default what is always sent."""
        wanted = self.sent if release is None else release
        return next((f for f in self.findings if f.cut == cut_id and f.release == wanted), None)

    def reach(self) -> list[tuple[CutRow, Finding]]:
        """For each cut the best attack there or deeper, where features go out as they are.

        Whoever sees a shallow cut can compute all that a deeper one sends, so an attack on a deeper
        cut is an attack here too, with the same error. The choice is by validation error. Behind a
        release that is always there, attacks count at their own cut alone.
        """
        errors = self._validation_errors()
        best: Finding | None = None
        found: list[tuple[CutRow, Finding]] = []
        for cut in reversed(self.cuts):
            here = self.finding(cut.id)
            if here is not None and here.leakage is not None:
                known = (
                    best is not None
                    and self.sent == IDENTITY
                    and (
                        errors.get(_key(best), _error(best)) <= errors.get(_key(here), _error(here))
                    )
                )
                best = best if known else here
            elif self.sent != IDENTITY:
                best = None
            if best is not None:
                found.append((cut, best))
        return found[::-1]

    @property
    def reached_by(self) -> str:
        """What `reach` holds, in words."""
        if self.sent == IDENTITY:
            return "best attack here or deeper"
        return f"best attack under {self.sent}"

    def _validation_errors(self) -> dict[tuple[str, str, str], float]:
        errors: dict[tuple[str, str, str], float] = {}
        for outcome in self.attacks():
            trial = outcome.trial
            if "validation_mse" in outcome.quantities:
                error = outcome.quantities["validation_mse"].value
                key = (trial.cut, trial.release, trial.method)
                errors[key] = min(error, errors.get(key, error))
        return errors


def _key(finding: Finding) -> tuple[str, str, str]:
    return finding.cut, finding.release, finding.attack


def _error(finding: Finding) -> float:
    return finding.mse.value if finding.mse is not None else math.inf


def method_name(recipe: str) -> str:
    """`Ridge` for `Ridge(penalties=(0.1,))`."""
    return recipe.partition("(")[0]


def is_trivial(recipe: str) -> bool:
    """Whether a recipe never looks at what was sent."""
    return method_name(recipe) in ("MeanImage", "ClassMean")


def is_floor(recipe: str) -> bool:
    """Whether a recipe is one of the trivial attacks."""
    return method_name(recipe) in FLOORS


def quantity(data: Any) -> Quantity | None:
    """The quantity in plain data, or None where there is none or it cannot be read."""
    if isinstance(data, Quantity):
        return data
    if not isinstance(data, Mapping):
        return None
    try:
        return Quantity.from_json(data)
    except (BadInput, TypeError):
        return None


def bound_of(outcome: Outcome) -> Quantity | None:
    """The largest theorem lower bound on the mean squared error, if there is one."""
    return max(error_bounds(outcome).values(), key=lambda q: q.value, default=None)


def _shape(layout: Any) -> str:
    """`16x32x32`, and `16x32x32 + 8x16x16` where two tensors cross."""
    if not isinstance(layout, Mapping):
        return ""
    parts = layout.get("parts", ())
    shapes = [part.get("shape", ()) for part in parts if isinstance(part, Mapping)]
    return " + ".join("×".join(str(n) for n in shape) for shape in shapes)  # noqa: RUF001


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return int(value) if isinstance(value, (int, float)) else 0


def _cut_row(data: Mapping[str, Any], spread: Mapping[str, Any]) -> CutRow:
    cut = data.get("cut", data)
    return CutRow(
        id=str(cut["id"]),
        name=str(cut["name"]),
        kind=str(cut["kind"]),
        depth=float(cut["depth"]),
        shape=_shape(cut.get("layout")),
        bytes={kind: _number(data, f"bytes_{kind}") for kind in ("fp32", "fp16", "uint8")},
        edge_parameters=_number(data, "edge_parameters"),
        edge_flops=_number(data, "edge_flops"),
        total_flops=_number(data, "total_flops"),
        edge_seconds=quantity(data.get("edge_seconds")),
        cloud_seconds=quantity(data.get("cloud_seconds")),
        spread={k: q for k, v in spread.items() if (q := quantity(v)) is not None},
    )


def _spreads(outcomes: tuple[Outcome, ...]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for outcome in outcomes:
        if outcome.trial.task is Task.MOMENTS and outcome.status is Status.DONE:
            cuts = outcome.details.get("cuts", {})
            found.update({k: v for k, v in cuts.items() if isinstance(v, Mapping)})
    return found


def _bounds(outcomes: tuple[Outcome, ...]) -> dict[tuple[str, str], Quantity]:
    cells = {(o.trial.cut, o.trial.release) for o in outcomes if error_bounds(o)}
    found = {cell: best_bound(outcomes, *cell) for cell in sorted(cells)}
    return {cell: bound for cell, bound in found.items() if bound is not None}


def _finding(data: Mapping[str, Any], bounds: Mapping[tuple[str, str], Quantity]) -> Finding:
    key = (str(data.get("cut", "")), str(data.get("release", IDENTITY)))
    return Finding(
        cut=key[0],
        release=key[1],
        attack=str(data.get("attack", "")),
        attacks=int(data.get("attacks", 1)),
        leakage=quantity(data.get("quantity")),
        psnr=quantity(data.get("psnr")),
        mse=quantity(data.get("mse")),
        word=str(data.get("word", "")),
        bound=quantity(data.get("bound")) or bounds.get(key),
        tail=quantity(data.get("tail")),
        utility=quantity(data.get("utility")),
    )


def _best_so_far(outcomes: tuple[Outcome, ...]) -> Iterator[dict[str, Any]]:
    """Findings of a run without a summary: per cut and release, the best on validation."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        trial = outcome.trial
        if trial.task is Task.ATTACK and outcome.status is Status.DONE and trial.cut != "*":
            groups.setdefault((trial.cut, trial.release), []).append(outcome)
    for (cut, release), group in groups.items():
        strong = [o for o in group if o.headline and not is_floor(o.trial.method)]
        ranked = [o for o in strong if "validation_mse" in o.quantities]
        if not ranked:
            continue
        best = min(ranked, key=lambda o: o.quantities["validation_mse"].value)
        yield {
            "cut": cut,
            "release": release,
            "attack": best.trial.method,
            "attacks": len(strong),
            "quantity": best.quantities.get("leakage"),
            "psnr": best.quantities.get("psnr"),
            "mse": best.quantities.get("mse"),
        }


def _summary(run: Run) -> dict[str, Any]:
    try:
        return run.summary
    except StorageFailed:
        return {}


def _headline(summary: Mapping[str, Any], findings: tuple[Finding, ...]) -> Finding | None:
    index = summary.get("headline")
    if isinstance(index, int) and 0 <= index < len(findings):
        return findings[index]
    return None


def read_report(path: str | Path) -> Report:
    """Read a run's folder.

    An interrupted run has no summary: its findings are then taken from the records as they stand.

    Raises:
        BadPlan: if `path` holds no run.
        StorageFailed: if its manifest or records cannot be read at all.
    """
    run = open_audit(path)
    manifest, summary = run.manifest, _summary(run)
    outcomes = tuple(run.outcomes())
    spreads, bounds = _spreads(outcomes), _bounds(outcomes)
    rows = [_cut_row(c, spreads.get(c.get("cut", c)["id"], {})) for c in manifest.get("cuts", ())]
    cuts = {row.id for row in rows}
    raw = summary.get("leakage") or [f for f in _best_so_far(outcomes) if f["cut"] in cuts]
    findings = tuple(_finding(item, bounds) for item in raw)
    known = {(f.cut, f.release) for f in findings}
    findings += tuple(
        _finding({"cut": cut, "release": release, "attacks": 0}, bounds)
        for cut, release in bounds
        if (cut, release) not in known
    )
    return Report(
        run=run,
        manifest=manifest,
        summary=summary,
        outcomes=outcomes,
        cuts=tuple(sorted(rows, key=lambda c: c.depth)),
        findings=findings,
        headline=_headline(summary, findings),
        damage=tuple(run.damage()),
    )
