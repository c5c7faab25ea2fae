"""Scores an attack on private targets, the same way whatever it was fitted to."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from splitveil import measures
from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.memory import out_of_memory
from splitveil.audit.executors import Done
from splitveil.audit.likeness import likeness_of, risk_of
from splitveil.errors import AuditError
from splitveil.estimators import Whitening
from splitveil.naming import one_line
from splitveil.quantities import Quantity
from splitveil.records import Environment, Outcome, Status, Trial
from splitveil.rng import Rng
from splitveil.threat import Observation

CHUNK = 250
"""Targets that are attacked together."""

SHOWN = 16
"""Test images whose reconstructions are kept as pictures."""

_SSIM_SIDE = 11
_KEPT = 64 * 2**20  # bytes of reconstructions that likeness is read of

Found: TypeAlias = tuple[dict[str, Quantity], dict[str, object], dict[str, np.ndarray]]
"""Numbers, other plain data and arrays that a trial gives."""


def pixels(x: Tensor) -> np.ndarray:
    """Images in [0, 1] as bytes, shape (n, c, h, w)."""
    array: np.ndarray = x.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
    return array


def attempt(trial: Trial, environment: Environment, work: Callable[[Trial], Found]) -> Done:
    """Run a trial; whatever goes wrong inside it becomes its reason."""
    began = time.monotonic()
    quantities: Mapping[str, Quantity] = {}
    details: Mapping[str, object] = {}
    arrays: Mapping[str, np.ndarray] = {}
    status, reason = Status.DONE, ""
    try:
        quantities, details, arrays = work(trial)
    except AuditError as error:
        status, reason = Status.FAILED, f"{type(error).__name__}: {error}"
    except Exception as error:
        status, reason = Status.FAILED, _reason(error)
    outcome = Outcome(
        trial=trial,
        status=status,
        environment=environment,
        seconds=round(time.monotonic() - began, 3),
        reason=" ".join(reason.split()),
        quantities=quantities,
        details=details,
        artefact=trial.id if arrays else "",
    )
    return Done(trial, outcome, arrays)


def _reason(error: Exception) -> str:
    """One line for an error that is not ours, with the remedy where memory was wanting."""
    text = one_line(error)
    if out_of_memory(error):
        return f"WorkerLost: not enough memory ({text}); use fewer jobs, then run again"
    return text


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """What an attack made of one split: errors target by target, and reconstructions.

    `ssim` is that of the first chunk, where images are large enough: its window costs more than
    most attacks. `made` are as many reconstructions as fit in memory, none where likeness is not
    wanted, `truth` and `labels` what they stand for. `image` says whether targets are images in
    [0, 1]. `notes` are what the attack says of its answers, with the targets they are about.
    """

    mse: Tensor
    ssim: Tensor | None
    made: Tensor
    truth: Tensor
    labels: Tensor | None
    image: bool
    notes: tuple[str, ...] = ()

    def arrays(self, validation: "Rebuilt") -> dict[str, np.ndarray]:
        """What is stored beside a trial's record, this being the test split."""
        found = {"mse_test": self.mse.numpy(), "mse_validation": validation.mse.numpy()}
        if self.image:
            found["psnr_test"] = (-10 * torch.log10(self.mse)).numpy()
            found["reconstructions"] = pixels(self.made[:SHOWN])
        return found


@torch.no_grad()
def rebuild(
    fitted: Reconstructor,
    x: Tensor,
    observe: Callable[[slice], Observation],
    rng: Rng,
    *,
    likeness: bool,
    labels: Tensor | None = None,
) -> Rebuilt:
    """Attack one split in chunks.

    Args:
        fitted: the attack.
        x: the targets (n, ...).
        observe: what is intercepted of some of them.
        rng: stream of the attack; each chunk has a child of it.
        likeness: whether more than the errors is wanted.
        labels: of the targets, for likeness within classes.
    """
    errors, ssim, kept = [], None, [x[:0].cpu()]
    notes: list[str] = []
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        made, said = fitted.noted(observe(part), rng.child(start))
        notes += [f"targets {start} to {start + len(made) - 1}: {note}" for note in said]
        errors.append(measures.mse_per_image(made, x[part]))
        if likeness and start == 0:
            ssim = similarity(made, x[part])
        if likeness and start * made[:1].nbytes < _KEPT:
            kept.append(made.cpu())
    rebuilt = torch.cat(kept)
    few = slice(len(rebuilt))
    known = None if labels is None else labels[few].cpu()
    truth = x[few].cpu()
    return Rebuilt(torch.cat(errors), ssim, rebuilt, truth, known, x.ndim == 4, tuple(notes))


def similarity(made: Tensor, x: Tensor) -> Tensor | None:
    """The structural similarity of each image, where images are large enough for its window."""
    if x.ndim != 4 or min(x.shape[-2:]) < _SSIM_SIDE:
        return None
    return measures.ssim_per_image(made, x)


@dataclass(frozen=True, eq=False)
class Sent:
    """What risk is measured by: a whitening of auxiliary targets, and values sent for one."""

    whitening: Whitening
    values: int


def numbers_of(
    test: Rebuilt, floor: Tensor, name: str, rng: Rng, sent: Sent | None = None
) -> dict[str, Quantity]:
    """Numbers with intervals for one attack on test targets.

    Args:
        test: what it made of them.
        floor: errors (n,) of the trivial answer on the same targets.
        name: of the trivial answer.
        rng: stream of the resamples.
        sent: what risk is measured by, if it is.
    """
    found = {
        "mse": measures.mean_of(
            test.mse, rng.child("mse"), unit="mse per value", support=(0.0, float("inf"))
        )
    }
    if test.image:
        found["psnr"] = measures.mean_of(
            -10 * torch.log10(test.mse),
            rng.child("psnr"),
            unit="dB",
            assumptions=("mean of per-image PSNR, peak 1",),
        )
    found["leakage"] = measures.leakage(test.mse, floor, rng.child("leakage"), floor=name)
    found["tail_leakage"] = measures.tail_leakage(test.mse, floor, floor=name)
    if test.ssim is not None:
        found["ssim"] = measures.mean_of(
            test.ssim, rng.child("ssim"), unit="ssim", support=(-1.0, 1.0), assumptions=("peak 1",)
        )
    if len(test.made) > 1:
        found |= likeness_of(test.made, test.truth, test.labels, rng.child("likeness"))
        if sent is not None:
            risks = rng.child("risk")
            found |= risk_of(test.made, test.truth, sent.whitening, sent.values, risks)
    return found


def details_of(attack: Attack, test: Rebuilt) -> dict[str, object]:
    """What a record says of an attack besides numbers; nothing where there is nothing to say."""
    found: dict[str, object] = {} if attack.headline else {"headline": False}
    return found | ({"notes": list(test.notes)} if test.notes else {})


def scores(
    test: Rebuilt,
    validation: Rebuilt,
    floor: Tensor,
    name: str,
    rng: Rng,
    sent: Sent | None = None,
) -> dict[str, Quantity]:
    """As `numbers_of`, and the error on validation targets, by which attacks are chosen."""
    chosen = measures.mean_of(
        validation.mse, rng.child("validation"), unit="mse per value", support=(0.0, float("inf"))
    )
    return {**numbers_of(test, floor, name, rng, sent), "validation_mse": chosen}
