"""Two networks trained against each other, in turns: how every prior here is trained."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from splitveil.class_inversion import files
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.training import Checkpoint

Loss: TypeAlias = Callable[[torch.Generator], Tensor]
_STORED_EVERY = 200


@dataclass(frozen=True, kw_only=True)
class Rules:
    """`steps` of the generator, each after `critic_steps` of the critic; Adam for both.

    Raises:
        BadPlan: if a number is not positive.
    """

    steps: int
    batch: int = 64
    critic_steps: int = 5
    rate: float = 2e-4
    decays: tuple[float, float] = (0.5, 0.999)

    def __post_init__(self) -> None:
        counts = min(self.steps, self.batch, self.critic_steps) >= 1
        if not counts or not 0 < self.rate < math.inf or not all(0 <= d < 1 for d in self.decays):
            raise BadPlan(f"steps, batch and rate must be positive, decays in [0, 1): got {self}")


@dataclass(frozen=True)
class Ledger:
    """`spent()` is how many queries the steps so far asked; `owe(n)` counts an earlier run's."""

    spent: Callable[[], int] = lambda: 0
    owe: Callable[[int], None] = lambda queries: None


_NO_LEDGER = Ledger()


def play(
    generator: nn.Module,
    critic: nn.Module,
    *,
    generator_loss: Loss,
    critic_loss: Loss,
    rules: Rules,
    rng: Rng,
    ledger: Ledger = _NO_LEDGER,
    plan: str = "",
    checkpoint: Path | None = None,
    on_step: Callable[[int, int], None] = lambda step, of: None,
) -> None:
    """Train both in place and leave them in eval mode; every step has a stream of its own.

    With `checkpoint` the state is stored there every 200 steps, and a run with the same `plan` goes
    on from it and ends in the same bits.

    Raises:
        BadPlan: if a loss stops being finite, or the checkpoint is of another plan.
        StorageFailed: if it cannot be written.
    """
    players = (generator, critic)
    optimisers = tuple(
        torch.optim.Adam(player.parameters(), lr=rules.rate, betas=rules.decays)
        for player in players
    )
    begin = 0
    if checkpoint is not None:
        begin = _restored(checkpoint, plan, players, optimisers, ledger)
    for player in players:
        player.train()
    for step in range(begin, rules.steps):
        with rng.child("global", step).as_global():
            draws = rng.child("step", step).torch()
            for _ in range(rules.critic_steps):
                _down(optimisers[1], critic_loss(draws), step)
            _down(optimisers[0], generator_loss(draws), step)
        on_step(step + 1, rules.steps)
        if checkpoint is not None and (step + 1) % _STORED_EVERY == 0:
            described = {"plan": plan, "step": step + 1, "queries": ledger.spent()}
            _store(checkpoint, described, players, optimisers)
    for player in players:
        player.eval()


def _down(optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
    if not math.isfinite(float(loss.detach())):
        raise BadPlan(f"training the prior diverged at step {step + 1}: lower its rate")
    for group in optimiser.param_groups:
        parameters = group["params"]
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.grad = slope
    optimiser.step()


def _store(
    path: Path,
    described: Mapping[str, Any],
    players: tuple[nn.Module, ...],
    optimisers: tuple[torch.optim.Optimizer, ...],
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, player, optimiser in zip(("generator", "critic"), players, optimisers, strict=True):
        stand = Checkpoint.of(player, optimiser, ())
        tensors |= files.named(f"{name}-network", stand.network)
        tensors |= files.named(f"{name}-optimiser", stand.optimiser)
    files.write(path, tensors, described)


def _restored(
    path: Path,
    plan: str,
    players: tuple[nn.Module, ...],
    optimisers: tuple[torch.optim.Optimizer, ...],
    ledger: Ledger,
) -> int:
    """The step to go on from."""
    found = files.read(path)
    if found is None:
        return 0
    tensors, described = found
    if described.get("plan") != plan:
        raise BadPlan(f"{path} is of a prior with other settings: choose another folder")
    for name, player, optimiser in zip(("generator", "critic"), players, optimisers, strict=True):
        Checkpoint(
            epoch=0,
            losses=(),
            network=files.part(tensors, f"{name}-network"),
            optimiser=files.part(tensors, f"{name}-optimiser"),
        ).restore(player, optimiser)
    ledger.owe(int(described["queries"]))
    return int(described["step"])
