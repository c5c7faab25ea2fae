"""Papers' claims as runnable experiments, one package a paper.

`claims` says what is claimed and what was found; `experiment` what an experiment is; `run` runs a
plan in a folder and goes on where it was stopped. A paper's package, such as `gpz`, holds its
`PAPER`. Names are loaded when first used, so that reading findings needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitveil.reproduce.bench import Bench as Bench
    from splitveil.reproduce.claims import Claim as Claim
    from splitveil.reproduce.claims import Criterion as Criterion
    from splitveil.reproduce.claims import Finding as Finding
    from splitveil.reproduce.claims import Reading as Reading
    from splitveil.reproduce.claims import Verdict as Verdict
    from splitveil.reproduce.experiment import Arm as Arm
    from splitveil.reproduce.experiment import ArmMissing as ArmMissing
    from splitveil.reproduce.experiment import Evidence as Evidence
    from splitveil.reproduce.experiment import Experiment as Experiment
    from splitveil.reproduce.experiment import Measured as Measured
    from splitveil.reproduce.experiment import Paper as Paper
    from splitveil.reproduce.experiment import Scale as Scale
    from splitveil.reproduce.run import load_paper as load_paper
    from splitveil.reproduce.run import reproduce as reproduce

_HOMES = {
    "Arm": "experiment",
    "ArmMissing": "experiment",
    "Bench": "bench",
    "Claim": "claims",
    "Criterion": "claims",
    "Evidence": "experiment",
    "Experiment": "experiment",
    "Finding": "claims",
    "Measured": "experiment",
    "Paper": "experiment",
    "Reading": "claims",
    "Scale": "experiment",
    "Verdict": "claims",
    "load_paper": "run",
    "reproduce": "run",
}

PAPERS = ("attacks", "cem", "gpz", "peel", "tldmi", "vicious")

__all__ = [
    "Arm",
    "ArmMissing",
    "Bench",
    "Claim",
    "Criterion",
    "Evidence",
    "Experiment",
    "Finding",
    "Measured",
    "Paper",
    "Reading",
    "Scale",
    "Verdict",
    "load_paper",
    "reproduce",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
