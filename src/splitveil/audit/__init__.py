"""Plan an audit, run it, store what came of it.

`splitveil.audit(model, data)` audits from Python; `run_audit` runs a plan. Names are loaded when
first used, so that reading a run's folder needs no torch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_HOMES = {
    "AuditPlan": "plan",
    "Results": "api",
    "Run": "store",
    "audit": "api",
    "open_run": "store",
    "preview": "run",
    "run_audit": "run",
}

__all__ = ["AuditPlan", "Results", "Run", "audit", "open_run", "preview", "run_audit"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Room(ModuleType):
    """A room that is called by its own verb: `splitveil.audit(...)`, also once it is imported."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        """The function `audit` of this room."""
        return __getattr__("audit")(*args, **settings)


sys.modules[__name__].__class__ = _Room
