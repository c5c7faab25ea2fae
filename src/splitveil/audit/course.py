"""What every audit does with trials as they end, and when no more come; no torch."""

from collections.abc import Mapping
from typing import Any

from splitveil.audit.events import Finished
from splitveil.audit.executors import Done
from splitveil.audit.store import Store
from splitveil.records import Environment, Outcome, Status

INTERRUPTED = "interrupted before its turn; run the same command to add it"


def record(store: Store, done: Done, environment: Environment) -> Outcome:
    """Store what came of a trial: artefact first, so that no line names a file that is not there.

    A trial that took its worker along is recorded as failed.
    """
    outcome = done.outcome or Outcome(
        trial=done.trial,
        status=Status.FAILED,
        environment=environment,
        seconds=0.0,
        reason=done.reason,
    )
    if outcome.artefact:
        store.write_artefact(outcome.artefact, done.arrays)
    store.append(outcome)
    return outcome


def finish(store: Store, summary: Mapping[str, Any]) -> Finished:
    """Write the summary and say what to do next."""
    store.write_json("summary.json", summary)
    failed = len(summary["failures"])
    if not summary["complete"]:
        message = f"stopped; run the same command to go on, everything in {store.path} stays"
    elif failed:
        trials = "1 trial" if failed == 1 else f"{failed} trials"
        message = f"{trials} failed; run the same command to try again"
    else:
        message = f"records in {store.path}"
    return Finished(store.path, summary["complete"], summary["verdict"], message)
