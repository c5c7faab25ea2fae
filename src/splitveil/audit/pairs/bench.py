"""Does one trial of an audit of pairs."""

from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from splitveil.attacks import ClassMean
from splitveil.attacks.base import Reconstructor
from splitveil.audit.environment import this_environment
from splitveil.audit.executors import Done, Work
from splitveil.audit.likeness import whitening_of
from splitveil.audit.pairs.case import Case, read_case
from splitveil.audit.pairs.reading import Examples
from splitveil.audit.plan import AuditPlan
from splitveil.audit.recipes import read_attack
from splitveil.audit.scoring import Found, Rebuilt, Sent, attempt, details_of, rebuild, scores
from splitveil.audit.subject import device_of
from splitveil.errors import BadData
from splitveil.estimators import Whitening
from splitveil.measures import mse_per_image
from splitveil.records import Environment, Trial
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs


def observed_of(examples: Examples, knowledge: Pairs, part: slice) -> Observation:
    """What is intercepted of some private pairs."""
    y = examples.y[part] if knowledge.knows_label and examples.y is not None else None
    return Observation(examples.z[part, None, :], knowledge.layout, y)


def floor_of(knowledge: Pairs, test: Examples) -> tuple[Tensor, str]:
    """Errors of the trivial answer on each private input, and its name."""
    made: Targets = ClassMean().fit(knowledge, Rng(0))(
        observed_of(test, knowledge, slice(None)), Rng(0)
    )
    return mse_per_image(made, test.x), "class mean" if knowledge.knows_label else "mean image"


@dataclass(eq=False)
class PairsBench:
    """Pairs and who attacks them: `do` turns a trial into what came of it."""

    case: Case
    knows_label: bool
    environment: Environment

    def do(self, trial: Trial) -> Done:
        """Run a trial; whatever goes wrong inside it becomes its reason."""
        return attempt(trial, self.environment, self._attack)

    @cached_property
    def knowledge(self) -> Pairs:
        """The attacker's."""
        return self.case.knowledge(knows_label=self.knows_label and self.case.labelled)

    @cached_property
    def floor(self) -> tuple[Tensor, str]:
        """Errors of the trivial answer; the class mean wherever labels exist, known or not."""
        knowledge = self.case.knowledge(knows_label=self.case.labelled)
        return floor_of(knowledge, self.case.test)

    @cached_property
    def _whitening(self) -> Whitening | None:
        return whitening_of(self.knowledge.auxiliary.x)

    def _attack(self, trial: Trial) -> Found:
        rng = Rng(trial.seed).child("attack", trial.id)
        attack = read_attack(trial.method)[1]
        fitted = attack.fit(self.knowledge, rng.child("fit"))
        chosen = self._rebuild(fitted, "validation", rng)
        scored = self._rebuild(fitted, "test", rng)
        white = self._whitening
        sent = None if white is None else Sent(white, self.knowledge.layout.size)
        numbers = scores(scored, chosen, *self.floor, rng.child("interval"), sent)
        return numbers, details_of(attack, scored), scored.arrays(chosen)

    def _rebuild(self, fitted: Reconstructor, split: str, rng: Rng) -> Rebuilt:
        examples: Examples = getattr(self.case, split)
        observe = partial(observed_of, examples, self.knowledge)
        stream = rng.child("rebuild", split)
        return rebuild(
            fitted, examples.x, observe, stream, likeness=split == "test", labels=examples.y
        )


def open_bench(plan: AuditPlan) -> PairsBench:
    """Read the pairs that a plan names and set up what attacks them.

    Raises:
        BadData: one line with what is wrong with the files.
        BadPlan: if there is no such device.
    """
    pixel_range = plan.data.pixel_range
    case = read_case(
        plan.pairs,
        pixel_range=(pixel_range[0], pixel_range[1]) if pixel_range else None,
        seed=plan.seed,
    )
    return PairsBench(
        case.to(device_of(plan.device)), plan.threat.knows_label, this_environment(plan.device)
    )


@dataclass(frozen=True)
class MakePairsBench:
    """Reads in a worker what the parent has read already, and refuses anything else."""

    plan: AuditPlan
    digests: tuple[str, str]

    def __call__(self) -> Work:
        """Read the pairs on one thread and give the function that does trials.

        Raises:
            BadData: if a file was changed meanwhile.
        """
        torch.set_num_threads(1)
        bench = open_bench(self.plan)
        if bench.case.digests != self.digests:
            raise BadData("a file of pairs was changed during the audit: run it again")
        return bench.do
