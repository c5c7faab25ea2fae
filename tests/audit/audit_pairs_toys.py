"""Pairs small enough for whole audits in a second, as any framework may export them."""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from splitveil.attacks import Ridge
from splitveil.attacks.base import Attack, Reconstructor
from splitveil.audit.plan import AuditPlan, load_plan
from splitveil.rng import Rng
from splitveil.threat import Pairs, QueryFree

SIDE, CLASSES = 8, 3
Arrays = dict[str, NDArray[Any]]


def pairs(count: int, seed: int, *, maps: bool = True) -> Arrays:
    """Images of three classes that vary along six patterns, and a noisy linear z of each."""
    fixed, draw = np.random.default_rng(5), np.random.default_rng(seed)
    templates = fixed.uniform(0.3, 0.7, (CLASSES, SIDE, SIDE))
    basis = fixed.normal(size=(6, SIDE, SIDE))
    weights = fixed.normal(size=(SIDE * SIDE, 48)) / SIDE
    y = np.arange(count) % CLASSES
    noise = np.einsum("nk,khw->nhw", draw.normal(size=(count, 6)), basis)
    x = np.clip(templates[y] + 0.05 * noise, 0, 1).astype(np.float32)
    z = x.reshape(count, -1) @ weights + 0.02 * draw.normal(size=(count, 48))
    shaped = z.reshape(count, 3, 4, 4) if maps else z
    return {"z": shaped.astype(np.float32), "x": x[:, None], "y": y}


def save(path: Path, arrays: Arrays) -> str:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def files(folder: Path, own: Arrays | None = None, private: Arrays | None = None) -> list[str]:
    return [
        save(folder / "aux.npz", own or pairs(150, 1)),
        save(folder / "target.npz", private or pairs(90, 2)),
    ]


def plan(given: list[str], **changes: object) -> AuditPlan:
    settings: dict[str, object] = {"pairs": given, "attacks": ["Ridge()"], "jobs": 0}
    return load_plan({**settings, **changes})


@dataclass(frozen=True, kw_only=True)
class Killed(Attack):
    """The ridge; where a file says so, its process is killed instead."""

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "none"
    if_exists: str

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        if Path(self.if_exists).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return Ridge().fit(knowledge, rng)


if __name__ == "__main__":
    from splitveil.audit.run import run_audit

    run_audit(load_plan(json.loads(sys.argv[2])), sys.argv[1])
