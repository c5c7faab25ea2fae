"""Every error a person can meet, named by what they must do about it.

AuditError
├── BadInput (ValueError)        something you gave cannot be used as it is
│   ├── BadData                  mend or point to other data
│   ├── BadModel                 mend the model, its weights or its factory
│   ├── BadPlan                  change a setting
│   └── UnknownName              choose one of the names that exist
├── UnsupportedCut               choose another cut, or make the model traceable
├── KnowledgeMissing             grant the attack more, or choose a weaker attack
├── BudgetExceeded               allow more queries, time or memory
├── ContradictedBound            an attack beat a bound: report a bug, trust neither
├── MislabelledClaim             a sentence claims more than its number bears: report a bug
├── StorageFailed                free space or choose another folder
└── WorkerLost                   use fewer jobs or a smaller batch, then run again
"""

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 12


class AuditError(Exception):
    """Root of everything splitveil raises on purpose; the message is one line with a remedy."""


class BadInput(AuditError, ValueError):
    """Something the caller gave cannot be used as it is."""


class BadData(BadInput):
    """The data cannot be used: mend it or point to other data."""


class BadModel(BadInput):
    """The model, its weights or its factory cannot be used."""


class BadPlan(BadInput):
    """A setting, or a combination of settings, makes no sense."""


class UnknownName(BadInput):
    """A name that does not exist, with the nearest that do."""

    def __init__(self, what: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(given, names, n=3, cutoff=0.5)
        rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        known_names = ", ".join(names[:_LISTED]) + rest
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {known_names or 'none'}"
        AuditError.__init__(self, f"unknown {what} '{given}': {hint}")


class UnsupportedCut(AuditError):
    """The model cannot be cut there, or not at all."""


class KnowledgeMissing(AuditError):
    """An attack asked for more than its threat model grants."""


class BudgetExceeded(AuditError):
    """A limit on queries, time or memory was reached."""


class ContradictedBound(AuditError):
    """A measured error lies below a theorem's bound: one of the two is wrong."""


class MislabelledClaim(AuditError):
    """A sentence calls a model, proxy or measured number a bound, a guarantee or certified."""


class StorageFailed(AuditError):
    """A file could not be written or read back whole."""


class WorkerLost(AuditError):
    """A worker process died, most often for want of memory."""
