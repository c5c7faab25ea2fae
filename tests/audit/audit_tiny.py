"""A network, images and attacks small enough for whole audits in a second."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from splitveil.attacks import Ridge
from splitveil.attacks.base import Attack, Reconstructor
from splitveil.audit.plan import AuditPlan, load_plan
from splitveil.rng import Rng
from splitveil.threat import BlackBox, QueryFree

SIDE, CLASSES = 8, 3


def images(count: int = 280) -> tuple[np.ndarray, np.ndarray]:
    """Class templates with smooth variation, uint8."""
    draw = np.random.default_rng(5)
    templates = draw.uniform(60, 200, (CLASSES, SIDE, SIDE))
    y = np.arange(count) % CLASSES
    basis = draw.normal(size=(6, SIDE, SIDE))
    x = templates[y] + 12 * np.einsum("nk,khw->nhw", draw.normal(size=(count, 6)), basis)
    return np.clip(x, 0, 255).astype(np.uint8), y.astype(np.int64)


def write_images(folder: Path) -> Path:
    x, y = images()
    path = folder / "images.npz"
    np.savez(path, x=x, y=y)
    return path


def net() -> nn.Module:
    """Two convolutions and a linear layer fitted to the labels by least squares."""
    generator = Rng(3).torch()
    first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1)
    body = nn.Sequential(first, nn.ReLU(), second, nn.Flatten())
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
        x, y = images()
        z = body(torch.from_numpy(x)[:, None] / 255)
        target = nn.functional.one_hot(torch.from_numpy(y), CLASSES).float()
        design = torch.cat([z, torch.ones(len(z), 1)], 1).double()
        gram = design.T @ design + 1e-3 * torch.eye(design.shape[1], dtype=torch.float64)
        weight = torch.linalg.solve(gram, design.T @ target.double()).float()
        last = nn.Linear(z.shape[1], CLASSES)
        last.weight.copy_(weight[:-1].T)
        last.bias.copy_(weight[-1])
    return nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), last)


def unstable() -> nn.Module:
    """Another network in every process."""
    made = net()
    with torch.no_grad():
        next(made.parameters()).add_(1e-6 * (1 + os.getpid() % 1000))
    return made


def untrained() -> nn.Module:
    made = net()
    with torch.no_grad():
        for parameter in list(made.parameters())[-2:]:
            parameter.zero_()
    return made


@dataclass(frozen=True, kw_only=True)
class Slow(Attack):
    """The ridge, late."""

    requires: ClassVar[type[QueryFree]] = BlackBox
    reference: ClassVar[str] = "none"
    seconds: float = 0.3

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        time.sleep(self.seconds)
        return Ridge().fit(knowledge, rng)


@dataclass(frozen=True)
class Fails(Attack):
    requires: ClassVar[type[QueryFree]] = BlackBox
    reference: ClassVar[str] = "none"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        raise RuntimeError("no convergence\nafter 3 steps")


@dataclass(frozen=True)
class Dies(Attack):
    """Kills its process, as the kernel does where memory ends."""

    requires: ClassVar[type[QueryFree]] = BlackBox
    reference: ClassVar[str] = "none"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def plan(data: Path, **changes: object) -> AuditPlan:
    settings: dict[str, object] = {
        "model": {"name": "audit_tiny:net"},
        "data": {"source": str(data)},
        "attacks": ["Ridge()", "NearestAuxiliary()"],
        "jobs": 0,
    }
    return load_plan({**settings, **changes})


if __name__ == "__main__":
    import json

    from splitveil.audit.run import run_audit

    settings = json.loads(sys.argv[2])
    try:
        run_audit(load_plan(settings), sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
