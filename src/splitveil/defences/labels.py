"""Label distributions: what the network is trained to answer, in place of the plain label."""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from splitveil.defences.base import Batch, Component, Part, PerBatch, Setting
from splitveil.errors import BadPlan, UnknownName


class LabelDistribution(Component):
    """Targets q over classes, trained towards by -Σ_c q_c ln p_c."""

    @abstractmethod
    def targets(self, setting: Setting) -> PerBatch:
        """What gives q (n, k) for a batch."""

    def groups(self, setting: Setting) -> Tensor | None:
        """Classes that count as one answer, or None where each is its own."""
        return None

    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know."""
        return ()

    def prepare(self, setting: Setting) -> Part:
        if setting.classes < 2:
            raise BadPlan("label distributions need a network of at least two outputs")
        return Part(targets=self.targets(setting), groups=self.groups(setting), notes=self.notes())


@dataclass(frozen=True)
class OneHot(LabelDistribution):
    """q = 1 at the label, 0 elsewhere. As p approaches q, tr H -> 0 and contraction stalls."""

    name: ClassVar[str] = "onehot"
    reference: ClassVar[str] = "the usual cross-entropy"

    def targets(self, setting: Setting) -> PerBatch:
        return lambda batch: _one_hot(batch, setting.classes)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Smoothed(LabelDistribution):
    """q_y = 1 - α, every other q_c = α / (K - 1); α < 0 makes it negative smoothing.

    The α of this form is (K - 1) / K times that of the other common one, which spreads α over all
    K classes. α > 0 has its stationary point at p = q, where tr H = 1 - (1-α)² - α²/(K-1) > 0, so
    classes go on contracting.

    For α < 0 q is no distribution and the loss has no minimum: logits grow until weight decay or
    precision stops them, and R_c² grows with their norm. Add `LogitDecay`.

    Raises:
        BadPlan: if α is not in (-1, 1).
    """

    name: ClassVar[str] = "smooth"
    reference: ClassVar[str] = "Szegedy et al. 2016; Golden Partition Zone, arXiv 2506.15412"

    alpha: float

    def __post_init__(self) -> None:
        if not -1 < self.alpha < 1:
            raise BadPlan(f"smooth: alpha must lie between -1 and 1, got {self.alpha}")

    def targets(self, setting: Setting) -> PerBatch:
        k = setting.classes
        if self.alpha >= (k - 1) / k:
            raise BadPlan(
                f"{self}: with {k} classes alpha must stay below {(k - 1) / k:.3g}, where the "
                "label is no more likely than the others"
            )
        table = torch.full((k, k), self.alpha / (k - 1)).fill_diagonal_(1 - self.alpha)
        return lambda batch: table.to(batch.logits)[batch.y]

    def notes(self) -> tuple[str, ...]:
        if self.alpha >= 0:
            return ()
        return (
            f"{self}: the targets are no distribution and the loss has no minimum; logits grow "
            "until weight decay or precision stops them (add logit-decay to give it one).",
        )

    def __str__(self) -> str:
        return f"{self.name}({self.alpha:g})"


@dataclass(frozen=True)
class Coarse(LabelDistribution):
    """q uniform over the classes of the label's group: the network need not tell them apart.

    Groups hold class names or numbers; classes left out stay alone. Accuracy is counted by groups,
    so it cannot be set beside that of fine labels.

    Raises:
        BadPlan: if a class is in two groups, or a group is empty.
    """

    name: ClassVar[str] = "coarse"
    reference: ClassVar[str] = "Golden Partition Zone, arXiv 2506.15412 (number of classes)"

    together: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        named = [name for group in self.together for name in group]
        if not named or not all(self.together) or len(set(named)) < len(named):
            raise BadPlan(
                "coarse: name each class once, in groups that are not empty, such as "
                "coarse(0,2,4,6|5,7,9)"
            )

    def targets(self, setting: Setting) -> PerBatch:
        group = self.groups(setting)
        same = (group[:, None] == group).double()
        table = same / same.sum(1, keepdim=True)
        return lambda batch: table.to(batch.logits)[batch.y]

    def groups(self, setting: Setting) -> Tensor:
        group = torch.arange(setting.classes)
        taken: set[int] = set()
        for names in self.together:
            members = [_position(name, setting) for name in names]
            if taken & set(members) or len(set(members)) < len(members):
                raise BadPlan(f"{self}: a class is named twice, by name and by number")
            taken |= set(members)
            group[members] = members[0]
        if len(group.unique()) < 2:
            raise BadPlan(f"{self}: all classes are in one group, so nothing can be learnt")
        return group

    def notes(self) -> tuple[str, ...]:
        return (f"{self}: accuracy counts answers within the label's group as right.",)

    def __str__(self) -> str:
        return f"{self.name}({'|'.join(','.join(group) for group in self.together)})"


@dataclass(frozen=True)
class Distilled(LabelDistribution):
    """q = share · softmax(teacher(x) / T) + (1 - share) · one-hot; the teacher is the source model.

    The loss is the plain cross-entropy with these targets, without the factor T². The teacher
    answers every batch anew, which costs one forward pass.

    Raises:
        BadPlan: if T is not positive or the share not in (0, 1].
    """

    name: ClassVar[str] = "distil"
    reference: ClassVar[str] = "Hinton et al. 2015"

    temperature: float = 1.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0 or not 0 < self.share <= 1:
            raise BadPlan(
                "distil: temperature must be positive and share in (0, 1], got "
                f"{self.temperature}, {self.share}"
            )

    def targets(self, setting: Setting) -> PerBatch:
        teacher = deepcopy(setting.source).eval().requires_grad_(False)

        def mixed(batch: Batch) -> Tensor:
            with torch.no_grad():
                soft = (teacher.to(batch.x.device)(batch.x) / self.temperature).softmax(1)
            return self.share * soft + (1 - self.share) * _one_hot(batch, setting.classes)

        return mixed

    def __str__(self) -> str:
        share = f",{self.share:g}" if self.share < 1 else ""
        return f"{self.name}({self.temperature:g}{share})"


@dataclass(frozen=True)
class Ramp(LabelDistribution):
    """q = (1 - w) one-hot + w q', w rising from 0 to `reach` between two shares of training.

    It rises linearly; from `end` on w is 1. With `smooth` this is a schedule of α; the published
    one of negative smoothing climbs half the way, then jumps:
    ramp(smooth(-0.05),0.5,0.75,reach=0.5). `end` before `start` is refused; equal ones switch.

    Raises:
        BadPlan: if not 0 <= start <= end <= 1, or `reach` is not in [0, 1].
    """

    name: ClassVar[str] = "ramp"
    reference: ClassVar[str] = "a schedule over any label distribution; Struppek et al. 2024"

    labels: LabelDistribution
    start: float = 0.0
    end: float = 1.0
    reach: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.reach <= 1:
            raise BadPlan(f"ramp: reach must lie between 0 and 1, got {self.reach}")
        if not 0 <= self.start <= self.end <= 1:
            raise BadPlan(
                f"ramp: start and end must be rising shares of training in [0, 1], got "
                f"{self.start}, {self.end}"
            )

    def weight(self, progress: float) -> float:
        """The weight w at a share of training."""
        if progress >= self.end:
            return 1.0
        done = 0.0 if progress <= self.start else progress - self.start
        return self.reach * done / (self.end - self.start) if done else 0.0

    def targets(self, setting: Setting) -> PerBatch:
        full = self.labels.targets(setting)

        def mixed(batch: Batch) -> Tensor:
            w = self.weight(batch.progress)
            return (1 - w) * _one_hot(batch, setting.classes) + w * full(batch)

        return mixed

    def groups(self, setting: Setting) -> Tensor | None:
        return self.labels.groups(setting)

    def notes(self) -> tuple[str, ...]:
        return self.labels.notes()

    def __str__(self) -> str:
        reach = f",{self.reach:g}" if self.reach < 1 else ""
        return f"{self.name}({self.labels},{self.start:g},{self.end:g}{reach})"


def _one_hot(batch: Batch, classes: int) -> Tensor:
    return one_hot(batch.y, classes).to(batch.logits)


def _position(name: str, setting: Setting) -> int:
    names: Sequence[str] = setting.class_names
    if name in names:
        return names.index(name)
    if name.isdigit() and int(name) < setting.classes:
        return int(name)
    raise UnknownName("class of coarse", name, names or map(str, range(setting.classes)))
