"""What a detector is shown, and what it is."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from splitveil.data import LabelledImages
from splitveil.errors import BadPlan
from splitveil.models import PixelModel
from splitveil.rng import Rng
from splitveil.vetting.looking import look
from splitveil.vetting.statistics.catalogue import STATISTICS

_RNG = Rng(0, ("vetting",))


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A network of the panel as a detector sees it, and labelled images to try it on.

    `vicious` is known for those to learn from, and None for those to be told.
    """

    name: str
    network: PixelModel
    images: LabelledImages
    vicious: bool | None = None


@runtime_checkable
class Detector(Protocol):
    """Scores a network; the larger, the more suspicious.

    A detector that learns has `fit(cases)` as well, called once with the train part.
    """

    def __call__(self, case: Case) -> float:
        """The score of one network, not NaN."""


@dataclass(frozen=True)
class ByStatistic:
    """One of splitveil's own statistics as a detector; it learns nothing."""

    name: str

    def __call__(self, case: Case) -> float:
        """The statistic's value at the outputs."""
        one = STATISTICS[self.name]
        answers, _ = look(case.network, case.images, seeing=(one.needs,))
        if one.needs and getattr(answers, one.needs) is None:
            raise BadPlan(f"{case.name} does not allow {self.name}")
        return one.measure(answers, _RNG.child(self.name)).value
