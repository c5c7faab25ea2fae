"""What a run would do, told before it does anything; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from splitveil.audit.schedule import Left
from splitveil.records import Trial


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The trials of a run, those left out with why, expected time and memory.

    `cuts` are the names of the cuts; `names` those of every place that trials look at, by id, the
    network's output among them.
    """

    trials: tuple[Trial, ...]
    left: tuple[Left, ...]
    cuts: tuple[str, ...]
    names: Mapping[str, str]
    seconds: float
    bytes: int

    def counts(self) -> dict[str, int]:
        """Trials by method."""
        found: dict[str, int] = {}
        for trial in self.trials:
            name = trial.method.partition("(")[0]
            found[name] = found.get(name, 0) + 1
        return found
