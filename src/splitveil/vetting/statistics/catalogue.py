"""The catalogue of statistics; each is larger where there is more to suspect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.vetting.statistics.answers import Answers
from splitveil.vetting.statistics.kernel_probe import kernel_probe
from splitveil.vetting.statistics.linear_probe import linear_probe
from splitveil.vetting.statistics.residual_gradient import last_layer_gain, residual_gradient
from splitveil.vetting.statistics.saliency import saliency
from splitveil.vetting.statistics.spread import effective_rank, spread

Measure: TypeAlias = Callable[[Answers, Rng], Quantity]


@dataclass(frozen=True)
class Statistic:
    """A function of answers, what it is called on paper, and what it needs to see."""

    measure: Measure
    label: str
    meaning: str
    needs: str = ""


STATISTICS: Mapping[str, Statistic] = {
    "kernel_probe": Statistic(
        kernel_probe,
        "kernel probe",
        "share of what tells images of a class apart that a smooth map reads off",
    ),
    "linear_probe": Statistic(
        linear_probe, "T3, linear probe", "the same by a linear map, of the widest components"
    ),
    "spread": Statistic(
        spread, "T2, spread", "spread within classes over spread between class means"
    ),
    "effective_rank": Statistic(
        effective_rank, "T2b, effective rank", "directions in which images of a class differ"
    ),
    "residual_gradient": Statistic(
        residual_gradient,
        "T1, residual gradient",
        "pull of the task on the last layer, over its weights",
        needs="last",
    ),
    "last_layer_gain": Statistic(
        last_layer_gain,
        "T1b, last-layer gain",
        "share of the task's loss that the last layer alone could still shed",
        needs="last",
    ),
    "saliency": Statistic(
        saliency,
        "T4, saliency",
        "pull of pixels on losing scores over that on the winner's",
        needs="slopes",
    ),
}


def measure(answers: Answers, rng: Rng) -> dict[str, Quantity]:
    """Every statistic that the answers allow, by name."""
    return {
        name: one.measure(answers, rng.child(name))
        for name, one in STATISTICS.items()
        if not one.needs or getattr(answers, one.needs) is not None
    }
