"""Does one trial: the same function wherever trials run."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from splitveil import measures
from splitveil.attacks import ClassMean
from splitveil.attacks.base import Reconstructor
from splitveil.attacks.memory import piecewise
from splitveil.audit.claims import Cell, Found, Setting, claim
from splitveil.audit.environment import this_environment
from splitveil.audit.executors import Done, Work
from splitveil.audit.likeness import whitening_of
from splitveil.audit.plan import ThreatSettings
from splitveil.audit.recipes import called, read_attack, read_release
from splitveil.audit.scoring import CHUNK, Rebuilt, Sent, attempt, details_of, rebuild, scores
from splitveil.audit.scoring import Found as Given
from splitveil.audit.spread import spread
from splitveil.audit.subject import Subject, SubjectFromPlan
from splitveil.data import LabelledImages
from splitveil.errors import BadPlan
from splitveil.estimators import Whitening
from splitveil.models import Utility, load_utility, predict
from splitveil.partition import Cut, Partition
from splitveil.quantities import Quantity
from splitveil.records import Environment, Task, Trial
from splitveil.release import Identity
from splitveil.release.base import Release, ReleaseRecipe
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, WhiteBox, white_box

_CALIBRATION = 2000


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as workers do: sums would round otherwise and change the numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(eq=False)
class Workbench:
    """A loaded subject and the threat model: `do` turns a trial into what came of it.

    `fitted` are releases at hand, by what trials call them; `releases` are recipes to fit as the
    plan writes them, of which trials name the content alone; others are read from their names.
    """

    subject: Subject
    threat: ThreatSettings
    utility_name: str | None
    environment: Environment
    wanted: tuple[str, ...] = ()
    fitted: Mapping[str, Release] = field(default_factory=dict)
    releases: tuple[str, ...] = ()
    _latest: tuple[tuple[str, str], Partition] | None = field(default=None, init=False)

    @cached_property
    def cuts(self) -> Mapping[str, Cut]:
        """The audited cuts by id."""
        return {cut.id: cut for cut in self.subject.chosen(self.wanted)}

    @cached_property
    def recipes(self) -> Mapping[str, ReleaseRecipe]:
        """The plan's releases by what trials call them."""
        return {called(text): read_release(text) for text in self.releases}

    @cached_property
    def utility(self) -> Utility:
        """What the network is for."""
        return load_utility(self.utility_name)

    def do(self, trial: Trial) -> Done:
        """Run a trial; whatever goes wrong inside it becomes its reason."""
        return attempt(trial, self.environment, self._by_task)

    def _by_task(self, trial: Trial) -> Given:
        match trial.task:
            case Task.ATTACK:
                return self._attack(trial)
            case Task.MOMENTS:
                rng = Rng(trial.seed).child("moments", trial.id)
                # the whole menu whatever cuts are attacked: the trial's id names none of them
                cuts = {cut.id: cut for cut in (*self.subject.traced.menu(), *self.cuts.values())}
                return {}, spread(self.subject, list(cuts.values()), rng), {}
            case Task.UTILITY:
                return self._utility(trial), self._wire(trial), {}
            case Task.BOUND:
                found = self._claims(trial)
                return found.quantities, found.details, {}
        raise BadPlan(f"nothing is known of the task {trial.task}")

    def partition(self, trial: Trial) -> Partition:
        """The two halves at a trial's cut with its release fitted; the latest is kept."""
        key = (trial.cut, trial.release)
        if self._latest is None or self._latest[0] != key:
            self._latest = (key, self._split(trial))
        return self._latest[1]

    def _split(self, trial: Trial) -> Partition:
        traced = self.subject.traced
        if trial.cut == "*":
            return traced.split(list(self.cuts.values())[-1])
        output = traced.output
        cut = output if output and output.id == trial.cut else self.cuts[trial.cut]
        if trial.release in self.fitted:
            return traced.split(cut, self.fitted[trial.release])
        plain = traced.split(cut)
        recipe = self.recipes.get(trial.release) or read_release(trial.release)
        if isinstance(recipe, Identity):
            return plain
        images = self.subject.auxiliary.x[:_CALIBRATION]
        return traced.split(cut, recipe.fit(_features(plain, images)))

    def _knowledge(self, partition: Partition) -> WhiteBox:
        auxiliary = self.subject.auxiliary
        return white_box(
            partition,
            Auxiliary(auxiliary.x, auxiliary.y),
            queries=self.threat.queries,
            knows_label=self._knows_label,
            knows_defence=self.threat.knows_defence,
        )

    @property
    def _knows_label(self) -> bool:
        return (
            self.threat.knows_label
            and self.subject.labelled
            and self.subject.auxiliary.y is not None
        )

    def _attack(self, trial: Trial) -> Given:
        partition = self.partition(trial)
        _, attack = read_attack(trial.method)
        rng = Rng(trial.seed).child("attack", trial.id)
        fitted = attack.fit(self._knowledge(partition), rng.child("fit"))
        labels = self._knows_label
        chosen = self._rebuild(fitted, partition, trial, "validation", rng, labels=labels)
        scored = self._rebuild(fitted, partition, trial, "test", rng, labels=labels)
        white = self._whitening
        sent = None if white is None else Sent(white, partition.cut.layout.size)
        numbers = scores(scored, chosen, *self._floor, rng.child("interval"), sent)
        return numbers, details_of(attack, scored), scored.arrays(chosen)

    def _rebuild(
        self,
        fitted: Reconstructor,
        partition: Partition,
        trial: Trial,
        split: str,
        rng: Rng,
        *,
        labels: bool,
    ) -> Rebuilt:
        """Attack one split; what is sent depends on the cut, not on the attack."""
        images: LabelledImages = getattr(self.subject, split)
        sent = Rng(trial.seed).child("sent", trial.cut, trial.release, split)

        def observe(part: slice) -> Observation:
            y = None if images.y is None or not labels else images.y[part]
            z = partition.transmit(images.x[part], sent.child(part.start))
            return Observation(z[:, None, :], partition.cut.layout, y)

        stream = rng.child("rebuild", split)
        return rebuild(fitted, images.x, observe, stream, likeness=split == "test", labels=images.y)

    @cached_property
    def _whitening(self) -> Whitening | None:
        return whitening_of(self.subject.auxiliary.x)

    @cached_property
    def _floor(self) -> tuple[Tensor, str]:
        """Errors of the trivial answer on test images, and its name."""
        auxiliary, test = self.subject.auxiliary, self.subject.test
        labelled = self.subject.labelled and auxiliary.y is not None
        partition = self.subject.traced.split(list(self.cuts.values())[-1])
        knowledge = white_box(partition, Auxiliary(auxiliary.x, auxiliary.y), knows_label=labelled)
        fitted = ClassMean().fit(knowledge, Rng(0))
        z = torch.zeros(1, 1, partition.cut.layout.size, device=test.x.device)
        errors = []
        for start in range(0, len(test), CHUNK):
            x = test.x[start : start + CHUNK]
            y = test.y[start : start + CHUNK] if labelled and test.y is not None else None
            made = fitted(Observation(z.expand(len(x), -1, -1), partition.cut.layout, y), Rng(0))
            errors.append(measures.mse_per_image(made, x))
        return torch.cat(errors), "class mean" if labelled else "mean image"

    def _wire(self, trial: Trial) -> dict[str, object]:
        """Bytes of one image behind a release, before entropy coding."""
        if trial.cut == "*":
            return {}
        partition = self.partition(trial)
        return {"payload": math.ceil(partition.release.bits(partition.cut.layout.size) / 8)}

    @torch.no_grad()
    def _utility(self, trial: Trial) -> dict[str, Quantity]:
        """What the network is good for behind a release, on the test images."""
        test = self.subject.test
        if trial.cut == "*":
            logits = predict(self.subject.model.network, test.x)
            rng = Rng(trial.seed).child("utility", trial.id)
            return utility_of(logits, self.subject, self.utility, rng)
        sent = Rng(trial.seed).child("sent", trial.cut, trial.release, "test")
        return self._behind(self.partition(trial), trial, sent)

    @torch.no_grad()
    def _behind(self, partition: Partition, trial: Trial, sent: Rng) -> dict[str, Quantity]:
        """The network's score on the test images as they arrive through a partition."""
        x = self.subject.test.x
        logits = torch.cat(
            [
                partition.predict(partition.transmit(x[start : start + CHUNK], sent.child(start)))
                for start in range(0, len(x), CHUNK)
            ]
        )
        rng = Rng(trial.seed).child("utility", trial.id)
        return utility_of(logits, self.subject, self.utility, rng)

    def _claims(self, trial: Trial) -> Found:
        """What can be said of every attacker, or by proxies, from the private images."""
        rng = Rng(trial.seed).child("bound", trial.id)
        auxiliary = self.subject.auxiliary
        x = auxiliary.x[:_CALIBRATION]
        setting = Setting(
            images=len(self.subject.validation) + len(self.subject.test),
            cell=lambda: self._cell(trial, rng),
            auxiliary=(x, None if auxiliary.y is None else auxiliary.y[:_CALIBRATION]),
            features=lambda: _features(self.partition(trial), x),
            floor=lambda: float(self._floor[0].mean()),
            scored=lambda release: self._scored(trial, release),
        )
        return claim(trial.method, setting, rng)

    def _cell(self, trial: Trial, rng: Rng) -> Cell:
        validation, test = self.subject.validation, self.subject.test
        x = torch.cat([validation.x, test.x])
        y = None
        if validation.y is not None and test.y is not None:
            y = torch.cat([validation.y, test.y])
        partition = self.partition(trial)
        return Cell(partition, x, _features(partition, x), y, self._knows_label, rng)

    def _scored(self, trial: Trial, release: Release) -> dict[str, Quantity]:
        """What the network is good for behind a release that no trial of its own has."""
        partition = self.subject.traced.split(self.cuts[trial.cut], release)
        return self._behind(partition, trial, Rng(trial.seed).child("scored", trial.id))


def utility_of(logits: Tensor, subject: Subject, utility: Utility, rng: Rng) -> dict[str, Quantity]:
    """Accuracy or the user's own score where there are labels, else agreement with the uncut model.

    The name of the quantity says which.
    """
    test = subject.test
    if test.y is None:
        clean = predict(subject.model.network, test.x)
        return {"agreement": measures.agreement(logits, clean)}
    if utility.name == "top1":
        return {"accuracy": measures.accuracy(logits, test.y)}
    scores = utility(logits, test.y).double()
    return {"utility": measures.mean_of(scores, rng, unit=f"score of {utility.name}")}


@torch.no_grad()
def _features(partition: Partition, x: Tensor) -> Tensor:
    return piecewise(partition.features, x, CHUNK)


@dataclass(frozen=True)
class MakeWorkbench:
    """Sets up a workbench in a worker process."""

    subject: SubjectFromPlan

    def __call__(self) -> Work:
        """Load the subject on one thread and give the function that does trials."""
        torch.set_num_threads(1)
        plan = self.subject.plan
        return Workbench(
            subject=self.subject(),
            threat=plan.threat,
            utility_name=plan.model.utility,
            environment=this_environment(plan.device),
            wanted=plan.cuts,
            releases=plan.named_releases,
        ).do
