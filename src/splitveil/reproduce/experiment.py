"""What an experiment is: claims, arms that measure, and a judgement of what they measured."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from splitveil.audit.store import Run
from splitveil.errors import BadData, BadPlan, UnknownName
from splitveil.quantities import Quantity
from splitveil.records import Outcome, Status, Task, Trial
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Claim, Finding

SMALL, PUBLISHED = "small", "paper"


class ArmMissing(BadData):
    """An arm that a judgement needs has not ended well."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is run: `name` "small" or "paper", and how many repetitions."""

    name: str = SMALL
    seeds: int = 3

    def __post_init__(self) -> None:
        if self.name not in (SMALL, PUBLISHED):
            raise UnknownName("scale", self.name, (SMALL, PUBLISHED))
        if self.seeds < 1:
            raise BadPlan(f"seeds must be at least 1, got {self.seeds}")

    @property
    def small(self) -> bool:
        """Whether this is the smallest scale that answers."""
        return self.name == SMALL


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What an arm measured: quantities, other plain data, and arrays stored beside the record."""

    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Arm(ABC):
    """One resumable unit of work with a record of its own: a frozen recipe of plain settings.

    Equal arms are one arm, however many experiments name it. Its record is found again by `repr`,
    so every setting that changes the result is a field. All randomness comes from
    `Rng(self.seed).child(...)`.
    """

    seed: int = 0

    @property
    @abstractmethod
    def minutes(self) -> float:
        """Declared CPU minutes on one core."""

    @abstractmethod
    def run(self, bench: Bench) -> Measured:
        """Measure; an exception becomes the reason of a failed outcome."""

    def trial(self, scope: str) -> Trial:
        """The key of this arm's record."""
        return Trial(
            scope=scope,
            task=Task.EXPERIMENT,
            cut="*",
            release="identity()",
            method=repr(self),
            seed=self.seed,
        )


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the arms of a run's folder measured, read back from the disk."""

    store: Run
    scope: str
    outcomes: Mapping[str, Outcome]

    @staticmethod
    def of(store: Run, scope: str) -> "Evidence":
        """Everything in a folder."""
        return Evidence(store, scope, {one.trial.id: one for one in store.outcomes()})

    def outcome(self, arm: Arm) -> Outcome | None:
        """What came of an arm, None if it has not run."""
        return self.outcomes.get(arm.trial(self.scope).id)

    def find(self, arm: Arm) -> Measured | None:
        """What an arm measured, None if it has not run or has failed."""
        outcome = self.outcome(arm)
        if outcome is None or outcome.status is not Status.DONE:
            return None
        arrays = self.store.artefact(outcome.artefact) if outcome.artefact else {}
        return Measured(quantities=outcome.quantities, details=outcome.details, arrays=arrays)

    def take(self, arm: Arm) -> Measured:
        """What an arm measured.

        Raises:
            ArmMissing: with the reason, if it has not run or has failed.
        """
        found = self.find(arm)
        if found is None:
            outcome = self.outcome(arm)
            reason = "has not run" if outcome is None else f"failed: {outcome.reason}"
            raise ArmMissing(f"{arm!r} {reason}")
        return found

    def cpu_minutes(self, arms: Sequence[Arm]) -> float:
        """CPU minutes that these arms really took."""
        found = [one for arm in arms if (one := self.outcome(arm)) is not None]
        return math.fsum(float(one.details.get("cpu_seconds", 0)) for one in found) / 60


Judge: TypeAlias = Callable[[Evidence], tuple[Finding, ...]]
Draw: TypeAlias = Callable[[Evidence, Scale, Path], None]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Claims that are answered together, the arms they need, in order, and the judgement.

    `judge` gives one finding a claim, from the arms' records alone. An `ArmMissing` that it raises
    leaves its claims undecided, with the reason.
    """

    claims: tuple[Claim, ...]
    arms: tuple[Arm, ...]
    judge: Judge

    @property
    def minutes(self) -> float:
        """Declared CPU minutes of all arms."""
        return math.fsum(arm.minutes for arm in self.arms)

    def findings(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding a claim, whatever is missing."""
        try:
            return self.judge(evidence)
        except ArmMissing as error:
            return tuple(Finding(claim=claim, note=str(error)) for claim in self.claims)


Make: TypeAlias = Callable[[Scale], Experiment]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper: all claims that were written down, the experiments that answer them, pictures.

    `makes` and `draws` are plain tuples: a new experiment is one more entry. `revision` is raised
    when arms compute something else than before, so that old records are not taken for new ones.
    `scales` are those at which anything differs.
    """

    name: str
    title: str
    claims: tuple[Claim, ...]
    makes: tuple[Make, ...]
    draws: tuple[Draw, ...] = ()
    revision: int = 1
    scales: tuple[str, ...] = (SMALL,)

    def plan(self, scale: Scale, wanted: Sequence[str] = ()) -> "Plan":
        """The experiments that answer the wanted claims, all by default.

        Claims may be named with or without the paper's name: "C1" or "gpz.C1".

        Raises:
            UnknownName: if a wanted claim does not exist.
            BadPlan: if the paper is not run at this scale.
        """
        if scale.name not in self.scales:
            only = " or ".join(self.scales)
            raise BadPlan(
                f"{self.name} is run at scale {only} alone, not {scale.name}: choose that"
            )
        known = {claim.id: claim for claim in self.claims}
        ids = [name if name in known else f"{self.name}.{name}" for name in wanted] or list(known)
        for name, key in zip(wanted or ids, ids, strict=True):
            if key not in known:
                raise UnknownName("claim", name, known)
        made = (make(scale) for make in self.makes)
        experiments = []
        for one in made:
            if not {claim.id for claim in one.claims} <= set(known):
                raise BadPlan(f"{self.name} answers a claim that it does not list: {one.claims}")
            if any(claim.id in ids for claim in one.claims):
                experiments.append(one)
        return Plan(
            paper=self,
            scale=scale,
            claims=tuple(known[key] for key in dict.fromkeys(ids)),
            experiments=tuple(experiments),
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does: the claims asked for and the experiments that answer them."""

    paper: Paper
    scale: Scale
    claims: tuple[Claim, ...]
    experiments: tuple[Experiment, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm once, in the order of the experiments."""
        return tuple(dict.fromkeys(arm for one in self.experiments for arm in one.arms))

    @property
    def minutes(self) -> float:
        """Declared CPU minutes of all arms."""
        return math.fsum(arm.minutes for arm in self.arms)

    def findings(self, evidence: Evidence) -> tuple[Finding, ...]:
        """One finding a claim asked for; one that no experiment answers says so."""
        found = {f.claim.id: f for one in self.experiments for f in one.findings(evidence)}
        missing = "not run: no experiment answers this claim yet"
        return tuple(
            found.get(claim.id, Finding(claim=claim, note=missing)) for claim in self.claims
        )
