"""What a defence is made of: components that one training puts together."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from splitveil.shapes import Images, Labels, Logits

PerBatch: TypeAlias = Callable[["Batch"], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """One batch in training: images, labels, the network's answers, how far training has come.

    `progress` in [0, 1) is the share of the epochs done.
    """

    x: Images
    y: Labels
    logits: Logits
    progress: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """What a component may look at before training: the source network in eval, its classes."""

    source: nn.Module
    classes: int
    class_names: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """What a component adds to one training; whatever is None it leaves to others.

    The loss is mean_i w_i (-Σ_c q_ic ln p_ic) + Σ terms. `targets` gives q (n, k), at most one
    component's; `weights` gives w (n), several multiply; `term` gives a scalar. `groups` (k) maps
    classes to what counts as the same answer; `notes` are sentences a reader should see.
    """

    targets: PerBatch | None = None
    weights: PerBatch | None = None
    term: PerBatch | None = None
    groups: Tensor | None = None
    notes: tuple[str, ...] = ()


class Component(ABC):
    """One component of a defence: an immutable dataclass of settings whose `repr` rebuilds it.

    Components know nothing of each other; `harden` trains one network with all of them.
    """

    name: ClassVar[str]
    reference: ClassVar[str]

    @abstractmethod
    def prepare(self, setting: Setting) -> Part:
        """What this component adds to the training of a network like `setting.source`.

        Raises:
            BadPlan: if the settings cannot be met by this network.
        """

    @abstractmethod
    def __str__(self) -> str:
        """The form `parse_components` reads."""
