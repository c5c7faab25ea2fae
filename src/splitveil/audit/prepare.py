"""All that is known before the first attack: the subject, its cuts, and what each costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from splitveil.audit.environment import this_environment
from splitveil.audit.estimates import Sizes, measure_rate
from splitveil.audit.events import OnEvent, Stage, ignore
from splitveil.audit.grid import ACCURACY, EVERY_CUT
from splitveil.audit.plan import AuditPlan
from splitveil.audit.recipes import called, read_attack
from splitveil.audit.sent import PLAIN
from splitveil.audit.store import scope_of
from splitveil.audit.subject import Subject, load_model_and_data, make_subject
from splitveil.audit.workbench import Workbench
from splitveil.data import Splits
from splitveil.errors import BadPlan
from splitveil.models import LoadedModel, load_utility
from splitveil.partition import Cut, CutCost, measure_costs
from splitveil.records import Environment, Task, Trial


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that is known before the first attack."""

    plan: AuditPlan
    splits: Splits
    subject: Subject
    cuts: tuple[Cut, ...]
    output: Cut | None
    costs: tuple[CutCost, ...]
    environment: Environment
    scope: str
    sizes: Sizes

    @property
    def names(self) -> dict[str, str]:
        """Names of the cuts and the output by id."""
        answer = () if self.output is None else (self.output,)
        return {cut.id: cut.name for cut in (*self.cuts, *answer)}

    @property
    def bench(self) -> Workbench:
        """A workbench in this process."""
        return Workbench(
            subject=self.subject,
            threat=self.plan.threat,
            utility_name=self.plan.model.utility,
            environment=self.environment,
            wanted=self.plan.cuts,
            releases=self.plan.named_releases,
        )


def prepare(
    plan: AuditPlan,
    *,
    on_event: OnEvent = ignore,
    loaded: tuple[LoadedModel, Splits] | None = None,
) -> Prepared:
    """Load and trace, find the cuts and what each costs.

    Raises:
        BadInput: one line with what is wrong with the model, the data or the plan.
        UnsupportedCut: if the model cannot be cut.
    """
    for text in plan.attacks:
        read_attack(text)
    for text in plan.named_releases:
        called(text)
    load_utility(plan.model.utility)
    on_event(Stage("Loading model and data"))
    model, splits = loaded or load_model_and_data(plan)
    on_event(Stage("Finding cuts"))
    subject = make_subject(model, splits, plan.device)
    cuts = subject.chosen(plan.cuts)
    if plan.cuts and not cuts:
        raise BadPlan(
            f"{', '.join(plan.cuts)} is no place to cut: outputs are attacked in every audit, name "
            "a cut beside them"
        )
    if not cuts:
        raise BadPlan(f"model {model.name} has no place to cut: give a deeper one")
    on_event(Stage("Measuring what each cut costs"))
    costs = tuple(measure_costs(subject.traced, cuts, splits.test.x[:1]))
    return Prepared(
        plan=plan,
        splits=splits,
        subject=subject,
        cuts=cuts,
        output=subject.traced.output,
        costs=costs,
        environment=this_environment(plan.device),
        scope=scope_of(
            model=model.digest,
            data=splits.digest,
            threat=asdict(plan.threat),
            utility=plan.model.utility,
        ),
        sizes=_sizes(splits, costs),
    )


def _sizes(splits: Splits, costs: Sequence[CutCost]) -> Sizes:
    return Sizes(
        auxiliary=len(splits.auxiliary),
        validation=len(splits.validation),
        test=len(splits.test),
        shape=tuple(splits.test.x.shape[1:]),
        flops=float(max(cost.total_flops for cost in costs)),
        rate=measure_rate(),
    )


def accuracy_trial(prepared: Prepared) -> Trial:
    """The trial that scores the uncut model."""
    return Trial(
        scope=prepared.scope,
        task=Task.UTILITY,
        cut=EVERY_CUT,
        release=PLAIN,
        method=ACCURACY,
        seed=prepared.plan.seed,
    )
