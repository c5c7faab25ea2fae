"""Detectors of one's own, tried on the panel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from splitveil.data import LabelledImages
from splitveil.errors import BadPlan
from splitveil.naming import one_line, resolve
from splitveil.vetting.cases import ByStatistic, Case, Detector
from splitveil.vetting.discriminant import Discriminant
from splitveil.vetting.panel_nets import Member, read_panel
from splitveil.vetting.roc_curve import Roc, roc
from splitveil.vetting.statistics.catalogue import STATISTICS

LEARNING: Mapping[str, Callable[[], Detector]] = {"discriminant": Discriminant}
"""Detectors that ship and learn from the panel's train part."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How a detector did on the test part, score by score."""

    detector: str
    roc: Roc
    scores: tuple[tuple[Member, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "detector": self.detector,
            "auc": self.roc.area.to_json(),
            "found_at_false_alarms": {f"{k:g}": q.to_json() for k, q in self.roc.found.items()},
            "scores": {
                member.name: {
                    "score": score,
                    "vicious": member.vicious,
                    "weight": member.weight,
                    "release": member.release,
                }
                for member, score in self.scores
            },
        }


def find_detector(name: str) -> Detector:
    """A shipped detector by its name, or what `package.module:Detector` names.

    Every statistic is one by its own value; `discriminant` learns. A class is called first.

    Raises:
        BadPlan: if it is no detector.
    """
    if name in STATISTICS:
        return ByStatistic(name)
    if name in LEARNING:
        return LEARNING[name]()
    if ":" not in name:
        raise BadPlan(
            f"detector '{name}': expected one of {', '.join((*STATISTICS, *LEARNING))}, or "
            "package.module:Detector"
        )
    found = resolve(name, what="detector", error=BadPlan)
    if isinstance(found, type):
        try:
            found = found()
        except Exception as failure:
            raise BadPlan(f"detector {name}() failed: {one_line(failure)}") from failure
    if not callable(found):
        raise BadPlan(f"detector {name} is a {type(found).__name__}: it must be callable")
    detector: Detector = found
    return detector


def benchmark(
    name: str,
    detector: Detector,
    folder: Path,
    images: LabelledImages,
    *,
    say: Callable[[str, float], None] = lambda name, score: None,
) -> Benchmark:
    """Fit a detector to the panel's train part if it learns, and score the test part.

    Args:
        name: what it is called in the result.
        detector: see `Detector`.
        folder: of `build_panel`.
        images: labelled, for the detector to try networks on.
        say: is told every score.

    Raises:
        BadData: if a score is NaN.
        BadPlan: if there is no panel, its test part lacks a kind, or the detector fails.
    """
    cases = [
        (member, Case(name=member.name, network=network, images=images, vicious=member.vicious))
        for member, network, _ in read_panel(folder)
    ]
    learn: Callable[[Sequence[Case]], object] | None = getattr(detector, "fit", None)
    scores = []
    try:
        if learn is not None:
            learn([case for member, case in cases if member.part == "train"])
        for member, case in cases:
            if member.part == "test":
                scores.append((member, float(detector(replace(case, vicious=None)))))
                say(*((scores[-1][0].name, scores[-1][1])))
    except BadPlan:
        raise
    except Exception as failure:
        raise BadPlan(f"detector {name} failed: {one_line(failure)}") from failure
    kinds = [[s for m, s in scores if m.vicious is vicious] for vicious in (False, True)]
    if not all(kinds):
        raise BadPlan(f"the panel in {folder} is not finished: build it again to go on")
    return Benchmark(detector=name, roc=roc(kinds[0], kinds[1]), scores=tuple(scores))
