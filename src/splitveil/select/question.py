"""A whole question to a run's records, with its answer and what the answer hangs on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from splitveil.errors import BadPlan
from splitveil.select.candidates import Candidate, read_candidates
from splitveil.select.choose import Selection, select
from splitveil.select.energy import Energy
from splitveil.select.knee import Knee
from splitveil.select.limits import Limits
from splitveil.select.link import Link
from splitveil.select.met import CHEAP
from splitveil.select.prefer import Lexicographic, Preference
from splitveil.select.profile import Profile
from splitveil.select.reading import Records
from splitveil.select.scenarios import Scenario, least_regret, regrets, worst_case


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which cut and release fit, in every run and over every link given.

    Several `runs` are audits of one network whose attackers differ, such as one with auxiliary
    images of its own kind and one with shifted ones. Every pair of run and link is a scenario;
    with more than one, a candidate must fit in all, and the rule is least worst regret.

    Raises:
        BadPlan: without a run, if runs are of different networks, or if a knee is asked for in
            several scenarios, since it puts no number on a candidate.
    """

    runs: tuple[Records, ...]
    limits: Limits = field(default_factory=Limits)
    links: tuple[Link, ...] = ()
    profile: Profile | None = None
    energy: Energy | None = None
    prefer: Preference = field(default_factory=Lexicographic)

    def __post_init__(self) -> None:
        if not self.runs:
            raise BadPlan("a choice needs the records of at least one run")
        first = self.runs[0].manifest["model"]
        for other in self.runs[1:]:
            model = other.manifest["model"]
            if model["digest"] != first["digest"]:
                raise BadPlan(
                    f"{other.path} audited {model['name']} ({model['digest'][:12]}), "
                    f"{self.runs[0].path} audited {first['name']} ({first['digest'][:12]}): give "
                    "runs of the same network"
                )
        if isinstance(self.prefer, Knee) and len(self.runs) * max(1, len(self.links)) > 1:
            raise BadPlan("a knee puts no number on a candidate: with several scenarios, weigh")

    def scenarios(self) -> tuple[Scenario, ...]:
        """Every run over every link, the first of each first.

        Raises:
            BadPlan: as `read_candidates`.
        """
        links: Sequence[Link | None] = self.links or (None,)
        return tuple(
            Scenario(
                name=self._name(run, link),
                candidates=read_candidates(
                    run, link=link, profile=self.profile, energy=self.energy
                ),
                records=run,
            )
            for run in self.runs
            for link in links
        )

    def _name(self, run: Records, link: Link | None) -> str:
        parts = [str(run.path)] if len(self.runs) > 1 or link is None else []
        return ", ".join([*parts, *([] if link is None else [link.label])])

    def without(self, attack: str) -> "Question":
        """The question as if an attack had never been tried."""
        return replace(self, runs=tuple(run.without(attack) for run in self.runs))

    def answer(self) -> Selection:
        """Go through every candidate and choose; exact, nothing is sampled or pruned.

        Raises:
            BadPlan: as `read_candidates`.
        """
        scenarios = self.scenarios()
        if len(scenarios) == 1 or isinstance(self.prefer, Knee):
            return select(scenarios[0].candidates, self.limits, self.prefer)
        table = regrets(scenarios, self.limits, self.prefer)
        return replace(
            select(worst_case(scenarios), self.limits, self.prefer),
            chosen=least_regret(table, self.prefer),
            regrets=table,
        )


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What would have been chosen had one attack never been tried.

    `chosen` carries the leakage it would have shown then; `leaks` is the same cut and release with
    its leakage to all attacks.
    """

    attack: str
    chosen: Candidate | None
    leaks: Candidate | None

    def changes(self, chosen: Candidate | None) -> bool:
        """Whether the choice would have been another, given what is chosen with all attacks."""
        return _place(self.chosen) != _place(chosen)

    def sentence(self, chosen: Candidate | None) -> str:
        """How the choice hangs on this attack, given what is chosen with all attacks."""
        if self.chosen is None:
            return f"Without {self.attack}: nothing would be chosen."
        looked = self.chosen.leakage.high
        if not self.changes(chosen):
            return f"Without {self.attack}: the same choice, L up to {looked:.3g}."
        leaks = "" if self.leaks is None else f"; to all attacks {self.leaks.leakage.high:.3g}"
        return (
            f"Without {self.attack}: {self.chosen.label}, which would seem to leak L up to "
            f"{looked:.3g}{leaks}."
        )


def sensitivity(question: Question) -> tuple[Sensitivity, ...]:
    """The answer without each attack that the runs tried, one at a time.

    The last attack that is not cheap cannot be left out, since cheap ones alone choose nothing.

    Raises:
        BadPlan: as `read_candidates`.
    """
    methods = sorted({name for run in question.runs for name in run.methods})
    by_place = {(one.cut, one.release): one for one in worst_case(question.scenarios())}
    found = []
    for name in methods:
        if any(
            all(other in CHEAP for other in run.methods if other != name) for run in question.runs
        ):
            continue
        chosen = question.without(name).answer().chosen
        leaks = None if chosen is None else by_place[chosen.cut, chosen.release]
        found.append(Sensitivity(attack=name, chosen=chosen, leaks=leaks))
    return tuple(found)


def _place(one: Candidate | None) -> tuple[str, str] | None:
    return None if one is None else (one.cut, one.release)
