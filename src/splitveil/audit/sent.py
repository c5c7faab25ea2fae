"""What crosses the cut unless a trial says otherwise; no torch."""

from collections.abc import Mapping
from typing import Any

PLAIN = "Identity()"
"""What trials call features that are sent as they are."""


def sent_by(manifest: Mapping[str, Any]) -> str:
    """The release that features always go through in a run, as its trials call it."""
    plan = manifest.get("plan") or {}
    return str(plan.get("always_release") or PLAIN)
