"""What was tried and what came of it, as plain data: one JSON line a trial, no torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from splitveil.errors import BadInput
from splitveil.quantities import Quantity


class Status(StrEnum):
    """How a trial ended."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


class Task(StrEnum):
    """What a trial does."""

    UTILITY = "utility"
    MOMENTS = "moments"
    ATTACK = "attack"
    BOUND = "bound"
    EXPERIMENT = "experiment"


def digest(data: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of canonical JSON.

    Raises:
        BadInput: if a number in `data` is NaN or infinite, or something in it is not plain data.
    """
    try:
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"a record holds what JSON cannot: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One cell of the grid; equal settings give equal ids on every machine.

    `scope` is the digest of everything shared by an audit's trials: model weights, data, split,
    pixel convention, threat model. `cut` is a cut's id, or "*" for one pass over all cuts.
    `release` and `method` are recipes as they print.
    """

    scope: str
    task: Task
    cut: str
    release: str
    method: str
    seed: int

    @property
    def id(self) -> str:
        """Content address of the trial."""
        return digest(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where a trial ran."""

    splitveil: str
    python: str
    torch: str
    platform: str
    processor: str
    threads: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial.

    `quantities` are the numbers; `details` is other plain data (per-class values, losses);
    `artefact` names a safetensors file beside the records, with per-image errors and pictures.
    A failed or skipped trial carries its `reason` and no quantities.
    """

    trial: Trial
    status: Status
    environment: Environment
    seconds: float
    reason: str = ""
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    artefact: str = ""

    @property
    def headline(self) -> bool:
        """Whether its error may stand for the strongest attack: one made to please may not."""
        return bool(self.details.get("headline", True))

    def to_json(self) -> dict[str, Any]:
        """Plain data with the trial's id first and a checksum of the whole last."""
        data: dict[str, Any] = {
            "id": self.trial.id,
            "trial": asdict(self.trial),
            "status": self.status,
            "reason": self.reason,
            "seconds": self.seconds,
            "quantities": {name: q.to_json() for name, q in self.quantities.items()},
            "details": dict(self.details),
            "artefact": self.artefact,
            "environment": asdict(self.environment),
        }
        return {**data, "check": digest(data)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Outcome":
        """The inverse of `to_json`; the stored id and checksum must be the content's own.

        Raises:
            BadInput: if a field is missing, or the id or the checksum does not match the content.
        """
        content = {name: value for name, value in data.items() if name != "check"}
        try:
            trial = Trial(**{**data["trial"], "task": Task(data["trial"]["task"])})
            outcome = Outcome(
                trial=trial,
                status=Status(data["status"]),
                environment=Environment(**data["environment"]),
                seconds=float(data["seconds"]),
                reason=data["reason"],
                quantities={k: Quantity.from_json(q) for k, q in data["quantities"].items()},
                details=data["details"],
                artefact=data["artefact"],
            )
            stored = data["id"]
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not an outcome: {error!r}") from error
        if stored != trial.id:
            raise BadInput(f"record {stored} was altered: its content hashes to {trial.id}")
        if data.get("check") != digest(content):
            raise BadInput(f"record {stored} was altered: its checksum does not match its content")
        return outcome
