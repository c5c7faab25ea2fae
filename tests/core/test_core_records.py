"""Records: stable ids, lossless JSON, and no silent change."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from splitveil.errors import BadInput
from splitveil.quantities import Kind, Quantity
from splitveil.records import Environment, Outcome, Status, Task, Trial, digest

_TRIAL = Trial(
    scope="0123", task=Task.ATTACK, cut="c1", release="Identity()", method="Ridge()", seed=3
)
_HERE = Environment(
    splitveil="0.1.0",
    python="3.11.7",
    torch="2.13.0",
    platform="Linux",
    processor="x86_64",
    threads=1,
    device="cpu",
)


def _outcome() -> Outcome:
    return Outcome(
        trial=_TRIAL,
        status=Status.DONE,
        environment=_HERE,
        seconds=1.5,
        quantities={"mse": Quantity.exact(0.25, unit="mse per value", kind=Kind.MEASURED, n=4)},
        details={"losses": [0.5, 0.25], "note": "naïve"},
        artefact="abc.safetensors",
    )


def test_trial_id_is_pinned() -> None:
    """A change here breaks the resumption of every audit begun before it."""
    assert _TRIAL.id == digest(
        {
            "scope": "0123",
            "task": "attack",
            "cut": "c1",
            "release": "Identity()",
            "method": "Ridge()",
            "seed": 3,
        }
    )
    assert _TRIAL.id == "bf1322a67f39e6df"


def test_every_setting_changes_the_id() -> None:
    others = [
        replace(_TRIAL, scope="0124"),
        replace(_TRIAL, task=Task.UTILITY),
        replace(_TRIAL, cut="c2"),
        replace(_TRIAL, release="HalfPrecision()"),
        replace(_TRIAL, method="Ridge(x=1)"),
        replace(_TRIAL, seed=4),
    ]
    assert len({trial.id for trial in (_TRIAL, *others)}) == len(asdict(_TRIAL)) + 1


def test_digest_ignores_key_order_and_refuses_what_is_not_data() -> None:
    assert digest({"a": 1, "b": [2.5, None]}) == digest({"b": [2.5, None], "a": 1})
    with pytest.raises(BadInput, match="JSON cannot"):
        digest({"a": float("nan")})
    with pytest.raises(BadInput, match="JSON cannot"):
        digest({"a": object()})


def test_outcome_survives_json() -> None:
    text = json.dumps(_outcome().to_json(), allow_nan=False)
    assert Outcome.from_json(json.loads(text)) == _outcome()
    assert json.loads(text)["id"] == _TRIAL.id


@pytest.mark.parametrize(
    "path",
    [("trial", "seed"), ("seconds",), ("details", "note"), ("quantities", "mse", "value"), ("id",)],
    ids=str,
)
def test_altered_record_is_refused(path: tuple[str, ...]) -> None:
    data = json.loads(json.dumps(_outcome().to_json()))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = 7
    if path == ("quantities", "mse", "value"):
        place["low"] = place["high"] = 7
    with pytest.raises(BadInput):
        Outcome.from_json(data)


@pytest.mark.parametrize("gone", ["trial", "status", "quantities", "environment", "id"])
def test_incomplete_record_is_refused(gone: str) -> None:
    data = _outcome().to_json()
    del data[gone]
    with pytest.raises(BadInput):
        Outcome.from_json(data)


def test_records_need_no_torch() -> None:
    code = "import sys, splitveil.records; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
