"""The one training loop: every network in splitveil, victim or attacker, is trained by it."""

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Loss: TypeAlias = Callable[[nn.Module, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """AdamW with linear warm-up and cosine decay.

    `epochs` passes over the data in shuffled batches of `batch`; `warmup` is the share of all
    steps spent rising to `learning_rate`; `clip` caps the gradient's L2 norm.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    warmup: float = 0.1
    clip: float = 1.0
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise BadPlan(f"epochs, batch and learning rate must be positive: {self}")

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` in [0, 1] through the run."""
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        done = (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data did."""

    number: int
    of: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Trace:
    """The mean loss of each epoch, and whether the deadline cut the run short."""

    losses: tuple[float, ...]
    stopped_early: bool


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Fabric's remarks on the precision and devices it was told to use out of the output."""
    log = logging.getLogger("lightning_fabric.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _step(
    fabric: "Fabric", module: Any, optimiser: Any, loss: Tensor, clip: float, epoch: int
) -> float:
    """One step down the clipped gradient; the loss before it."""
    optimiser.zero_grad(set_to_none=True)
    fabric.backward(loss)
    norm = fabric.clip_gradients(module, optimiser, max_norm=clip, error_if_nonfinite=False)
    reached = float(loss.detach())
    if not (math.isfinite(reached) and math.isfinite(float(norm))):  # type: ignore[arg-type]
        raise BadPlan(
            f"training diverged in epoch {epoch + 1} (loss {reached}): lower the learning rate or "
            "check the data for NaN"
        )
    optimiser.step()
    return reached


def fit(
    module: nn.Module,
    loss: Loss,
    *,
    size: int,
    schedule: Schedule,
    rng: Rng,
    device: str = "cpu",
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[], None] = lambda: None,
    seconds: float = math.inf,
    resume: Checkpoint | None = None,
    go_on: Callable[[Checkpoint], bool] = lambda checkpoint: True,
) -> Trace:
    """Minimise the mean of `loss(module, indices, generator)` over shuffled index batches.

    Trains `module` in place and leaves it in eval mode. `indices` are positions in [0, size) on
    the CPU; draw all randomness of the loss from `generator`. With `seconds` the cosine follows the
    clock instead of the step count once the budget is the tighter of the two, so that a run cut
    short still ends at a small learning rate; such a run does not repeat bit for bit. `on_step` is
    called after every step, `on_epoch` after every whole pass. Then `go_on` is given where the run
    stands and answers whether to train further. From a checkpoint given as `resume` a run without
    `seconds` ends in the same bits as one that was never stopped.

    Raises:
        BadPlan: if there is nothing to train on, no time, or the loss stops being finite.
    """
    if size < 1:
        raise BadPlan("nothing to train on: the data set is empty")
    if not seconds > 0:
        raise BadPlan(f"seconds to train must be positive, got {seconds}")
    with _quiet():
        from lightning_fabric import Fabric

        fabric = Fabric(accelerator=device, devices=1, precision=schedule.precision)
    # lr is a tensor-free float: it is set before every step
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    wrapped, wrapped_optimiser = fabric.setup(module, optimiser)
    batches = max(1, math.ceil(size / schedule.batch))
    losses: list[float] = []
    if resume is not None:
        resume.restore(module, optimiser)
        losses += resume.losses
    began = time.monotonic()
    stopped = False
    for epoch in range(len(losses), schedule.epochs):
        # one stream an epoch: layers that draw from it do the same after a resume
        with rng.child("global", epoch).as_global():
            wrapped.train()
            start, total = time.monotonic(), 0.0
            order = torch.randperm(size, generator=rng.child("order", epoch).torch())
            noise = rng.child("noise", epoch).torch()
            for step, indices in enumerate(order.split(schedule.batch)):
                progress = (epoch + step / batches) / schedule.epochs
                spent = (time.monotonic() - began) / seconds
                if spent >= 1:
                    stopped = True
                    break
                for group in wrapped_optimiser.param_groups:
                    group["lr"] = schedule.rate(max(progress, spent))
                value = loss(wrapped, indices, noise)
                reached = _step(fabric, wrapped, wrapped_optimiser, value, schedule.clip, epoch)
                on_step()
                total += reached * len(indices)
        if stopped:
            break
        mean = total / size
        losses.append(mean)
        on_epoch(Epoch(epoch + 1, schedule.epochs, mean, time.monotonic() - start))
        if not go_on(Checkpoint.of(module, optimiser, tuple(losses))):
            break
    module.eval()
    return Trace(tuple(losses), stopped)
