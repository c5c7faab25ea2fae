"""What attacks say of their answers reaches the record, and the audit goes on."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from audit_tiny import plan, write_images

from splitveil.attacks.optimise.batched_adam import BatchedAdam
from splitveil.attacks.optimise.minimise import Box, Function, Minimum
from splitveil.audit.run import run_audit
from splitveil.records import Status, Task


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data"))


def test_what_an_attack_says_of_its_answers_is_recorded(data: Path, tmp_path: Path) -> None:
    """Searches that end for want of steps, and pictures that are only made to please."""
    search = "Likelihood(steps=1, restarts=1, tuning=0, factors=(), chunk=64)"
    pretty = "AdversarialDecoder(epochs=1, decoder=SmallDecoder(epochs=1))"
    run = run_audit(
        plan(data, cuts=["0"], attacks=[search, pretty, "Ridge()"], releases=["none"]), tmp_path
    )
    found = {
        o.trial.method.partition("(")[0]: o
        for o in run.outcomes()
        if o.trial.task is Task.ATTACK and o.trial.cut != "*"
    }
    assert {o.status for o in found.values()} == {Status.DONE}
    (note,) = found["Likelihood"].details["notes"]
    assert note.startswith("targets 0 to ")
    assert "used up their steps" in note
    assert "notes" not in found["Ridge"].details
    assert not found["AdversarialDecoder"].headline
    assert found["Ridge"].headline
    cells = [e for e in run.summary["leakage"] if e["release"] == "Identity()"]
    assert [e["attacks"] for e in cells] == [2]
    assert not any(e["attack"].startswith("AdversarialDecoder") for e in cells)


def test_divergence_and_want_of_memory_are_notes_and_no_failures(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every search beyond four rows at a time is refused memory, and every third one diverges."""
    real = BatchedAdam.minimise

    def short(
        self: BatchedAdam,
        function: Function,
        start: torch.Tensor,
        box: Box,
        *,
        marks: Sequence[int] = (),
    ) -> Minimum:
        if len(start) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

        def broken(x: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            value, slope = function(x, rows)
            return value.index_fill(0, (rows % 3 == 0).nonzero().flatten(), torch.nan), slope

        return real(self, broken, start, box, marks=marks)

    monkeypatch.setattr(BatchedAdam, "minimise", short)
    search = "Likelihood(steps=2, restarts=1, tuning=0, factors=(), chunk=8)"
    run = run_audit(
        plan(data, cuts=["0"], attacks=[search, "Ridge()"], releases=["none"]), tmp_path
    )
    done = [o for o in run.outcomes() if o.trial.task is Task.ATTACK and o.trial.cut != "*"]
    assert {o.status for o in done} == {Status.DONE}
    (found,) = [o for o in done if o.trial.method.startswith("Likelihood(")]
    notes = " ".join(found.details["notes"])
    assert "have no finite objective" in notes
    assert "memory gave out with 8 searches at a time: 4 were run together" in notes
    assert run.summary["failures"] == []
