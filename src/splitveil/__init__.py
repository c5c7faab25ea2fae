"""splitveil: a privacy audit for split inference.

Where a network is cut in two, how much of its private input can be rebuilt from what is sent?

>>> import splitveil as sv
>>> model = sv.load_model("vgg").network
>>> images = sv.load_data("demo").test.x[:2]
>>> cuts = sv.find_cuts(model, images)
>>> partition = sv.split(model, cuts[0], example=images)
>>> tuple(partition.features(images).shape)
(2, 16384)

Importing this package imports nothing else; each name below is loaded when it is first used. So is
each room: `sv.attacks`, `sv.measures`, `sv.release`, `sv.testing`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitveil.audit.api import Results as Results
    from splitveil.audit.api import audit as audit
    from splitveil.audit.events import Event as Event
    from splitveil.audit.plan import AuditPlan as AuditPlan
    from splitveil.audit.run import run_audit as run_audit
    from splitveil.audit.store import Run as Run
    from splitveil.audit.store import open_run as open_run
    from splitveil.data import LabelledImages as LabelledImages
    from splitveil.data import Splits as Splits
    from splitveil.data import TrainingImages as TrainingImages
    from splitveil.data import load_data as load_data
    from splitveil.data import load_training as load_training
    from splitveil.defences import Hardened as Hardened
    from splitveil.defences import harden as harden
    from splitveil.defences import parse_components as parse_components
    from splitveil.errors import AuditError as AuditError
    from splitveil.models import LoadedModel as LoadedModel
    from splitveil.models import load_model as load_model
    from splitveil.partition import Cut as Cut
    from splitveil.partition import CutCost as CutCost
    from splitveil.partition import CutKind as CutKind
    from splitveil.partition import Layout as Layout
    from splitveil.partition import Partition as Partition
    from splitveil.partition import Traced as Traced
    from splitveil.partition import find_cuts as find_cuts
    from splitveil.partition import measure_costs as measure_costs
    from splitveil.partition import split as split
    from splitveil.partition import trace as trace
    from splitveil.quantities import Direction as Direction
    from splitveil.quantities import Kind as Kind
    from splitveil.quantities import Quantity as Quantity
    from splitveil.records import Outcome as Outcome
    from splitveil.records import Status as Status
    from splitveil.records import Trial as Trial
    from splitveil.report import write_report as write_report
    from splitveil.rng import Rng as Rng

__version__ = "0.1.0"

_HOMES = {
    "AuditError": "errors",
    "AuditPlan": "audit.plan",
    "Cut": "partition",
    "CutCost": "partition",
    "CutKind": "partition",
    "Direction": "quantities",
    "Event": "audit.events",
    "Hardened": "defences",
    "Kind": "quantities",
    "LabelledImages": "data",
    "Layout": "partition",
    "LoadedModel": "models",
    "Outcome": "records",
    "Partition": "partition",
    "Quantity": "quantities",
    "Results": "audit.api",
    "Rng": "rng",
    "Run": "audit.store",
    "Splits": "data",
    "Status": "records",
    "Traced": "partition",
    "TrainingImages": "data",
    "Trial": "records",
    "find_cuts": "partition",
    "harden": "defences",
    "load_data": "data",
    "load_model": "models",
    "load_training": "data",
    "measure_costs": "partition",
    "open_run": "audit.store",
    "parse_components": "defences",
    "run_audit": "audit.run",
    "split": "partition",
    "trace": "partition",
    "write_report": "report",
}
_ROOMS = frozenset(
    {"attacks", "audit", "data", "defences", "errors", "measures", "models", "partition"}
) | {
    "quantities",
    "records",
    "release",
    "report",
    "rng",
    "select",
    "testing",
    "threat",
}

__all__ = [
    "AuditError",
    "AuditPlan",
    "Cut",
    "CutCost",
    "CutKind",
    "Direction",
    "Event",
    "Hardened",
    "Kind",
    "LabelledImages",
    "Layout",
    "LoadedModel",
    "Outcome",
    "Partition",
    "Quantity",
    "Results",
    "Rng",
    "Run",
    "Splits",
    "Status",
    "Traced",
    "TrainingImages",
    "Trial",
    "__version__",
    "audit",
    "find_cuts",
    "harden",
    "load_data",
    "load_model",
    "load_training",
    "measure_costs",
    "open_run",
    "parse_components",
    "run_audit",
    "split",
    "trace",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name in _ROOMS:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
