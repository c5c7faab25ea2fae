"""A paper's claims as numbers with thresholds, and what was found of them; no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from splitveil.errors import BadInput
from splitveil.quantities import Quantity


class Verdict(StrEnum):
    """What an interval says of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One number that a claim is about: it lies in [low, high] for every one of `subjects`.

    `subjects` are what the number is read of, mostly networks; without any, one reading of any
    name will do. Written down before the run that answers it.

    Raises:
        BadInput: if the range is empty or unlimited on both sides, or there is no name.
    """

    measured: str
    low: float | int = -math.inf
    high: float | int = math.inf
    subjects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.measured or not self.low <= self.high or self.low == -self.high == -math.inf:
            raise BadInput(
                f"a criterion needs a name and a range limited on one side or both, got "
                f"'{self.measured}' in [{self.low}, {self.high}]"
            )

    @property
    def range(self) -> str:
        """`>= 4`, `<= -0.8` or `in [0.7, 1.4]`."""
        if math.isinf(self.high):
            return f">= {self.low:g}"
        return f"<= {self.high:g}" if math.isinf(self.low) else f"in [{self.low:g}, {self.high:g}]"

    def of(self, found: Quantity) -> Verdict:
        """HOLDS with the whole interval inside the range, FAILS with all of it outside."""
        if found.low >= self.low and found.high <= self.high:
            return Verdict.HOLDS
        outside = found.high < self.low or found.low > self.high
        return Verdict.FAILS if outside else Verdict.UNDECIDED

    def __str__(self) -> str:
        where = f" ({', '.join(self.subjects)})" if self.subjects else ""
        return f"{self.measured} {self.range}{where}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something a paper says, with the numbers that decide it.

    `id` is the paper's name and the claim's, such as "gpz.C1"; `statement` is one sentence;
    `criteria` are what must hold, all of them; `source` says where the claim stands and whose the
    threshold is; `expected` is what is predicted of it before the run, if anything.

    Raises:
        BadInput: if there is no criterion, or two are about a number of the same name.
    """

    id: str
    statement: str
    criteria: tuple[Criterion, ...]
    source: str
    expected: str = ""

    def __post_init__(self) -> None:
        names = [one.measured for one in self.criteria]
        if not names or len(set(names)) < len(names):
            raise BadInput(f"claim {self.id} needs criteria, each of another number, got {names}")

    def to_json(self) -> dict[str, Any]:
        """Plain data; infinities become the strings "inf" and "-inf"."""
        data = asdict(self)
        for one in data["criteria"]:
            for end in ("low", "high"):
                one[end] = str(one[end]) if math.isinf(one[end]) else one[end]
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Claim":
        """The inverse of `to_json`.

        Raises:
            BadInput: if a field is missing, unknown or of the wrong type.
        """
        try:
            criteria = tuple(
                Criterion(
                    measured=one["measured"],
                    low=float(one["low"]),
                    high=float(one["high"]),
                    subjects=tuple(one["subjects"]),
                )
                for one in data["criteria"]
            )
            return Claim(**{**data, "criteria": criteria})
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not a claim: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A quantity with the name of what was measured and of what it was measured on."""

    measured: str
    subject: str
    quantity: Quantity

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "measured": self.measured,
            "subject": self.subject,
            "quantity": self.quantity.to_json(),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Reading":
        """The inverse of `to_json`.

        Raises:
            BadInput: if a field is missing or of the wrong type.
        """
        try:
            return Reading(
                measured=str(data["measured"]),
                subject=str(data["subject"]),
                quantity=Quantity.from_json(data["quantity"]),
            )
        except (KeyError, TypeError) as error:
            raise BadInput(f"not a reading: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of a claim.

    `quantities` that bear the name of a criterion decide the claim; others stand beside them.
    `seeds` is how many repetitions stand behind the intervals, `note` what a reader must know, the
    reason for what is missing first. The verdict follows from the intervals and cannot be set.
    """

    claim: Claim
    quantities: tuple[Reading, ...] = ()
    seeds: int = 0
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the intervals say; see `decide`."""
        return decide(self.claim, self.quantities)

    @property
    def was_run(self) -> bool:
        """Whether its arms ended, even if they left nothing that decides the claim."""
        return self.seeds > 0 or any(self.criterion(one) is not None for one in self.quantities)

    def criterion(self, reading: Reading) -> Criterion | None:
        """The criterion that a reading answers, if any."""
        return next((c for c in self.claim.criteria if c.measured == reading.measured), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the verdict among them."""
        return {
            "claim": self.claim.to_json(),
            "verdict": self.verdict,
            "was_run": self.was_run,
            "quantities": [one.to_json() for one in self.quantities],
            "seeds": self.seeds,
            "note": self.note,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Finding":
        """The inverse of `to_json`; the stored verdict must be what the intervals say.

        Raises:
            BadInput: if a field is missing or of the wrong type, or the verdict is another.
        """
        try:
            found = Finding(
                claim=Claim.from_json(data["claim"]),
                quantities=tuple(Reading.from_json(one) for one in data["quantities"]),
                seeds=int(data["seeds"]),
                note=str(data["note"]),
            )
            stored = Verdict(data["verdict"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not a finding: {error!r}") from error
        if stored is not found.verdict:
            raise BadInput(
                f"finding {found.claim.id} was altered: it says '{stored}', its intervals say "
                f"'{found.verdict}'"
            )
        return found


def decide(claim: Claim, readings: Sequence[Reading]) -> Verdict:
    """What intervals say of a claim.

    FAILS if any reading lies wholly outside its criterion's range; else HOLDS if every criterion
    was read, on all of its subjects, and every reading lies wholly inside; else UNDECIDED. No
    correction for the number of readings is made: with many of them FAILS comes more easily than
    at the level of a single interval.
    """
    verdicts: list[Verdict] = []
    for criterion in claim.criteria:
        own = [one for one in readings if one.measured == criterion.measured]
        verdicts += [criterion.of(one.quantity) for one in own]
        if not own or not set(criterion.subjects) <= {one.subject for one in own}:
            verdicts.append(Verdict.UNDECIDED)
    for verdict in (Verdict.FAILS, Verdict.UNDECIDED):
        if verdict in verdicts:
            return verdict
    return Verdict.HOLDS
