"""Golden Partition Zone, C10: what the paper's enhanced decoder gains over the plain one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splitveil.audit.recipes import read_attack
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import error_draws, quantity_of
from splitveil.reproduce.experiment import Arm, Evidence, Experiment, Measured, Scale
from splitveil.reproduce.gpz.attacks import (
    Effort,
    attackers_and_private,
    effort_of,
    invert,
    ratio,
)
from splitveil.reproduce.gpz.claims import ENHANCED
from splitveil.reproduce.gpz.places import partition_at
from splitveil.rng import Rng

EARLY, LATE = "pool2", "pool5"
BASE, BETTER = "base", "enhanced"
_DRAWN = Rng(0).child("gpz", "C10")


@dataclass(frozen=True, kw_only=True)
class Enhancement(Arm):
    """A staged decoder of vgg without and with the paper's gates, on the same images.

    Arrays: squared error per value of every test image, by decoder.
    """

    cut: str
    effort: Effort

    @property
    def minutes(self) -> float:
        """Two decoders."""
        return round(0.4 * self.effort.auxiliary * self.effort.epochs / (1024 * 8), 3)

    def run(self, bench: Bench) -> Measured:
        auxiliary, test = attackers_and_private(bench, self.effort, self.seed)
        partition = partition_at(bench.reference("vgg"), self.cut)
        arrays = {}
        for name, kind in ((BASE, "SmallDecoder"), (BETTER, "EnhancedDecoder")):
            _, attack = read_attack(
                f"{kind}(epochs={self.effort.epochs}, width={self.effort.width}, "
                f"samples={self.effort.auxiliary})"
            )
            # one stream for both: the same order of images, the same held-out ones
            rng = Rng(self.seed).child("gpz", "enhancement", self.cut)
            arrays[name] = invert(attack, partition, auxiliary, test, rng).numpy()
        return Measured(arrays=arrays)


def enhancement(scale: Scale) -> Experiment:
    """C10."""
    arms = {
        cut: tuple(
            Enhancement(cut=cut, effort=effort_of(scale), seed=seed) for seed in range(scale.seeds)
        )
        for cut in (EARLY, LATE)
    }

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        def errors(cut: str, name: str) -> NDArray[np.float64]:
            found = [evidence.take(arm).arrays[name] for arm in arms[cut]]
            return np.stack(found).astype(np.float64)

        first, second = (criterion.measured for criterion in ENHANCED.criteria)
        readings = [
            Reading(
                measured=first,
                subject=f"vgg {cut}",
                quantity=ratio(errors(cut, BETTER), errors(cut, BASE), _DRAWN.child(cut)),
            )
            for cut in arms
        ]
        for name, measured in ((BETTER, second), (BASE, "the same, base")):
            both = np.stack([errors(cut, name) for cut in (LATE, EARLY)])
            draws = error_draws(both, _DRAWN.child(name))
            gap = quantity_of(1 - draws[:, 1] / draws[:, 0], unit="share", n=both.shape[2])
            readings.append(Reading(measured=measured, subject="vgg", quantity=gap))
        return (Finding(claim=ENHANCED, quantities=tuple(readings), seeds=scale.seeds),)

    whole = tuple(arm for cut in arms for arm in arms[cut])
    return Experiment(claims=(ENHANCED,), arms=whole, judge=judge)
