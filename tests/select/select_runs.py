"""Run folders written by hand: three cuts, any attacks, known numbers."""

import json
from pathlib import Path
from typing import Any

from select_candidates import quantity

from splitveil.audit.store import Run, open_run
from splitveil.quantities import Quantity
from splitveil.records import Environment, Outcome, Status, Task, Trial

PLAIN = "Identity()"
NOISE = "GaussianNoise(sigma=2.0, clip=0.99, scale='rms')"
CUTS = ("early", "middle", "late")
HERE = Environment(
    splitveil="0", python="3", torch="2", platform="p", processor="q", threads=1, device="cpu"
)


def cost(index: int) -> dict[str, Any]:
    return {
        "cut": {"id": f"id-{CUTS[index]}", "name": CUTS[index], "depth": (index + 1) / 3},
        "bytes_fp32": 4000 >> index,
        "edge_parameters": 100 * (index + 1),
        "edge_bytes": 10_000 * (index + 1),
        "edge_seconds": quantity(0.001 * (index + 1), 0.002 * (index + 1), "s").to_json(),
        "cloud_seconds": quantity(0.001, 0.002, "s").to_json(),
    }


def outcome(
    cut: str,
    method: str,
    quantities: dict[str, Quantity],
    *,
    task: Task = Task.ATTACK,
    release: str = PLAIN,
    seconds: float = 1.0,
    failed: bool = False,
) -> Outcome:
    trial = Trial(
        scope="s",
        task=task,
        cut="*" if cut == "*" else f"id-{cut}",
        release=release,
        method=method,
        seed=0,
    )
    return Outcome(
        trial=trial,
        status=Status.FAILED if failed else Status.DONE,
        environment=HERE,
        seconds=seconds,
        reason="no memory" if failed else "",
        quantities={} if failed else quantities,
    )


def attack(
    cut: str, method: str, leakage: float, *, validation: float | None = None, **settings: Any
) -> Outcome:
    error = 1 - leakage if validation is None else validation
    return outcome(
        cut,
        method,
        {
            "leakage": quantity(leakage, leakage),
            "mse": quantity(1 - leakage, 1 - leakage),
            "validation_mse": quantity(error, error),
        },
        **settings,
    )


def accuracy(cut: str, value: float, *, release: str = PLAIN) -> Outcome:
    quantities = {"accuracy": quantity(value, value)}
    return outcome(cut, "accuracy()", quantities, task=Task.UTILITY, release=release)


def write_run(
    folder: Path, outcomes: list[Outcome], *, not_attacked: list[dict[str, str]] | None = None
) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "demo": False,
        "model": {"name": "net", "digest": "ab" * 32, "channels": 1, "size": [8, 8]},
        "data": {"name": "images", "digest": "cd" * 32},
        "cuts": [cost(index) for index in range(3)],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = "".join(json.dumps(one.to_json()) + "\n" for one in outcomes)
    (folder / "records.jsonl").write_text(lines)
    summary = {"complete": True, "not_attacked": not_attacked or []}
    (folder / "summary.json").write_text(json.dumps(summary))
    return open_run(folder)
