"""Three answers: consistent with honest, suspicious, inconclusive."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from splitveil.errors import BadPlan
from splitveil.quantities import Quantity
from splitveil.vetting.null import Null

MAIN = "linear_probe"
"""The statistic chosen before any panel was seen."""
MOST_BEHIND = 0.03
CANNOT_SEE = (
    "Codes that neither probe reads: a network may hide what it sends from both, and an adversary "
    "who knows this test can train it to.",
    "Whether a difference is malice: training unlike the shadows', another architecture or other "
    "images may look the same.",
    "What leaks from a network that nobody meant to leak: an honest one leaks too; audit it.",
    "What else a Python model does when it is loaded: that runs its code.",
    "The statistic of Malekzadeh and Gündüz 2022 could not be recovered from what is public. "
    "This is not it: here what images of one class differ in is read off the outputs, and honest "
    "networks trained for the purpose say how much of it is usual.",
)


class Answer(StrEnum):
    """What vetting says of a network."""

    CONSISTENT = "CONSISTENT WITH HONEST"
    SUSPICIOUS = "SUSPICIOUS"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, kw_only=True)
class Vetting:
    """What was found of a network against honest ones.

    `p_values` has one for each statistic, uncorrected, for reading; `p_main` and `p_joint` decide:
    `p` is twice the smaller (Bonferroni), at most 1. `reasons` say why an answer is not another.
    """

    answer: Answer
    reasons: tuple[str, ...]
    statistics: Mapping[str, Quantity]
    p_values: Mapping[str, float]
    p_main: float
    p_joint: float
    p: float
    level: float
    accuracy: Quantity
    null: Null
    cannot_see: tuple[str, ...] = CANNOT_SEE

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        main = self.statistics[MAIN]
        usual = self.null.values[MAIN]
        figures = (
            f"T3 {main.value:.2f}, against "
            f"{min(usual):.2f} to {max(usual):.2f} in {len(self.null)} honest networks"
        )
        if self.answer is Answer.INCONCLUSIVE:
            return f"{self.answer}: {'; '.join(self.reasons)} (p would be {self.p:.3g}; {figures})."
        return f"{self.answer} (p = {self.p:.3g}): {figures}."

    def to_json(self) -> dict[str, Any]:
        """Plain data, with infinities as strings."""
        return {
            "answer": str(self.answer),
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "statistics": {name: q.to_json() for name, q in self.statistics.items()},
            "p_values": dict(self.p_values),
            "p_main": self.p_main,
            "p_joint": self.p_joint,
            "p": self.p,
            "level": self.level,
            "main": MAIN,
            "accuracy": self.accuracy.to_json(),
            "null": self.null.to_json(),
            "cannot_see": list(self.cannot_see),
        }


def judge(
    statistics: Mapping[str, Quantity],
    accuracy: Quantity,
    null: Null,
    *,
    images: str,
    cut: str = "",
    level: float = 0.05,
) -> Vetting:
    """Compare a network's statistics with those of honest ones and give one of three answers.

    Suspicious if p <= level. Inconclusive, whatever p is, if the honest networks are on average
    more than 3 points less accurate, if they are too few for p to reach the level, or if they were
    measured at other images or elsewhere in the network.

    Args:
        statistics: of the network, from `measure`; the main one must be there.
        accuracy: of the network at the same images.
        null: the honest networks.
        images: digest of the images that the network was measured at.
        cut: where was looked, "" for the outputs.
        level: the share of honest networks, drawn as those of the null, called suspicious at most.

    Raises:
        BadPlan: if the level is not in (0, 1), or null and network share no statistic.
    """
    if not 0 < level < 1:
        raise BadPlan(f"the level is a share of honest networks in (0, 1), got {level}")
    values = {name: q.value for name, q in statistics.items()}
    p_values = {name: null.p_value(name, v) for name, v in values.items() if name in null.values}
    p_main = null.p_value(MAIN, values[MAIN])
    p_joint = null.joint_p_value(values)
    p = min(1.0, 2 * min(p_main, p_joint))
    reasons = []
    if null.images != images or null.cut != cut:
        reasons.append(
            "the honest networks were measured at other images or elsewhere in the network: train "
            "shadows on yours"
        )
    behind = accuracy.value - null.accuracy
    if behind > MOST_BEHIND:
        reasons.append(
            f"the honest networks are {100 * behind:.1f} points less accurate than the model, more "
            f"than {100 * MOST_BEHIND:.0f}: train them longer or on more images"
        )
    if 2 * null.least_p > level:
        reasons.append(
            f"{len(null)} honest networks allow no p below {2 * null.least_p:.2g}: train at least "
            f"{_needed(level)}"
        )
    if reasons:
        answer = Answer.INCONCLUSIVE
    else:
        answer = Answer.SUSPICIOUS if p <= level else Answer.CONSISTENT
        if behind < -MOST_BEHIND:
            reasons.append(
                f"The model is {-100 * behind:.1f} points less accurate than the honest networks, "
                "which may change the statistics by itself."
            )
    return Vetting(
        answer=answer,
        reasons=tuple(reasons),
        statistics=statistics,
        p_values=p_values,
        p_main=p_main,
        p_joint=p_joint,
        p=p,
        level=level,
        accuracy=accuracy,
        null=null,
    )


def _needed(level: float) -> int:
    return math.ceil(2 / level - 1 - 1e-9)
