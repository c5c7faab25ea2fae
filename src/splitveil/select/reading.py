"""A run's records read once: what selection looks at again and again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from splitveil.audit.store import Run
from splitveil.audit.verdict import PAIRS
from splitveil.errors import BadPlan, StorageFailed
from splitveil.records import Outcome, Status, Task


@dataclass(frozen=True, kw_only=True)
class Records:
    """Manifest, summary and outcomes of a run; the summary is empty where a kill left none."""

    path: Path
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    outcomes: tuple[Outcome, ...]

    @property
    def complete(self) -> bool:
        """Whether the run reached its end."""
        return self.summary.get("complete") is True

    @property
    def alarms(self) -> tuple[str, ...]:
        """Attacks that fell below a bound: one of the two is wrong."""
        return tuple(self.summary.get("alarms", ()))

    @property
    def cuts(self) -> dict[str, str]:
        """Names of the audited cuts by id, in order of depth."""
        cuts = (entry.get("cut", entry) for entry in self.manifest["cuts"])
        return {cut["id"]: cut["name"] for cut in cuts}

    @property
    def utility(self) -> str:
        """What the network was scored by: accuracy, agreement or a measure of the user's own."""
        for one in self.outcomes:
            if one.trial.task is Task.UTILITY and one.quantities:
                return next(iter(one.quantities))
        return "accuracy"

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the attacks that ended at some cut."""
        return tuple(
            sorted(
                {
                    method_name(one.trial.method)
                    for one in self.outcomes
                    if one.trial.task is Task.ATTACK
                    and one.status is Status.DONE
                    and one.trial.cut != "*"
                }
            )
        )

    def without(self, method: str) -> "Records":
        """The records as if an attack had never been tried."""
        kept = (
            one
            for one in self.outcomes
            if one.trial.task is not Task.ATTACK or method_name(one.trial.method) != method
        )
        return replace(self, outcomes=tuple(kept))


def read_records(run: Run) -> Records:
    """What a run's folder holds, finished or interrupted; outputs, no place to cut, are left out.

    Raises:
        BadPlan: if pairs were audited: they come from one cut of a network that is not known.
        StorageFailed: if the manifest or the records cannot be read.
    """
    try:
        summary = run.summary
    except StorageFailed:
        summary = {}
    manifest = run.manifest
    if (manifest.get("threat") or {}).get("knowledge") == PAIRS:
        raise BadPlan(
            f"{run.path} is an audit of pairs, which come from one cut of a network that is not "
            "known: there is nothing to choose between, audit the model itself"
        )
    outputs = {channel["cut"]["id"] for channel in manifest.get("outputs", ())}
    outcomes = tuple(one for one in run.outcomes() if one.trial.cut not in outputs)
    return Records(path=run.path, manifest=manifest, summary=summary, outcomes=outcomes)


def method_name(recipe: str) -> str:
    """`Ridge` for `Ridge(samples=100)`."""
    return recipe.partition("(")[0]
