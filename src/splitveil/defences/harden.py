"""Train a copy of a network with all components of a defence at once."""

import hashlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from splitveil.data.training import TrainingImages
from splitveil.data.types import LabelledImages
from splitveil.defences.base import Batch, Component, Setting
from splitveil.defences.objective import Objective
from splitveil.defences.progress import Progress
from splitveil.defences.watch import EpochState, Watch
from splitveil.errors import BadData, BadModel, BadPlan
from splitveil.measures.utility import share_of
from splitveil.models.accuracy import predict
from splitveil.models.weights import model_digest
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.training import Checkpoint, Epoch, Schedule, fit

_BATCH = 250


@dataclass(frozen=True, eq=False, kw_only=True)
class Hardened:
    """A hardened network, in eval on the CPU, and how it got there.

    `states` begin with epoch 0, before training; `kept` is the number of the epoch whose weights
    the network has; `cuts` describes what was watched; `notes` are sentences a reader should see.
    """

    network: nn.Module
    components: tuple[Component, ...]
    states: tuple[EpochState, ...]
    kept: int
    cuts: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]

    @property
    def accuracy(self) -> Quantity:
        """Accuracy of the network on the validation images.

        Their loss chose the epoch, so it flatters itself a little; an audit measures it anew.
        """
        return self.states[self.kept].accuracy


def harden(
    model: nn.Module,
    data: TrainingImages,
    components: Sequence[Component],
    *,
    schedule: Schedule,
    rng: Rng,
    patience: int | None = 10,
    start: Literal["weights", "scratch"] = "weights",
    watch: Sequence[str] | None = None,
    folder: Path | None = None,
    device: str = "cpu",
    on_epoch: Callable[[EpochState], None] = lambda state: None,
) -> Hardened:
    """Train a deep copy of `model` with all `components`; the source stays as it is.

    Stops early on the loss of the validation images alone, all components together. With `folder`
    a checkpoint is written there after every epoch; the same call goes on from it and ends in the
    same bits. Whether the result leaks less is for an audit to say.

    Args:
        model: maps images in [0, 1] to logits.
        data: labelled images to train on, to stop by and to watch.
        components: what to train with, such as `[Smoothed(0.3)]`; none may contradict another.
        schedule: epochs, batch, learning rate.
        rng: the stream of order and noise.
        patience: epochs without a lower validation loss until training stops; the best epoch's
            weights are kept. None trains to the end and keeps the last.
        start: "weights" goes on from the model's own, "scratch" draws new ones.
        watch: cuts at which features are measured on the probe after every epoch, by name or id;
            empty for four spread over the menu, None for none.
        folder: where checkpoints are kept.
        device: where to train.
        on_epoch: told of every state as it is reached, epoch 0 first; not of those resumed over.

    Raises:
        BadModel: if the model cannot be trained, or its weights cannot be drawn anew.
        BadData: if images or labels do not fit the model.
        BadPlan: if components contradict each other, the loss diverges, or `folder` holds a
            training with other settings.
        StorageFailed: if a checkpoint cannot be written.
    """
    if patience is not None and patience < 1:
        raise BadPlan(f"patience must be at least one epoch, or None for no stop: got {patience}")
    classes = _outputs(model, data)
    source = deepcopy(model).eval()
    network = deepcopy(model)
    if start == "scratch":
        _draw_anew(network, rng.child("weights"))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise BadModel("the model has no weights to train: all are frozen, or it has none")
    setting = Setting(source=source, classes=classes, class_names=data.class_names)
    run = _Run(
        data=data,
        objective=Objective.of(components, setting),
        watch=None
        if watch is None
        else Watch.of(network, data.probe, watch, classes, rng.child("probe")),
        patience=patience,
        plan=_digest(model, data, components, schedule, rng, patience, start, watch),
        folder=folder,
        on_epoch=on_epoch,
        epochs=schedule.epochs,
    )
    network.to(device)
    run.train(network, schedule, rng, device)
    network.load_state_dict(dict(run.kept))
    return Hardened(
        network=network.cpu().eval(),
        components=tuple(components),
        states=tuple(run.states),
        kept=run.best,
        cuts=() if run.watch is None else tuple(run.watch.describe()),
        notes=run.objective.notes,
    )


@dataclass(kw_only=True)
class _Run:
    """One hardening under way."""

    data: TrainingImages
    objective: Objective
    watch: Watch | None
    patience: int | None
    plan: str
    folder: Path | None
    on_epoch: Callable[[EpochState], None]
    epochs: int

    def train(self, network: nn.Module, schedule: Schedule, rng: Rng, device: str) -> None:
        """Train from the folder's checkpoint, or from the start, to the end."""
        found = None if self.folder is None else Progress.load(self.folder, self.plan)
        self.states: list[EpochState] = []
        if found is None:
            self.best, self.kept = 0, _copied(network)
            self._reached(network, None)
        else:
            self.states, self.best, self.kept = [*found.states], found.best, {**found.kept}
        if found is not None and found.finished:
            return
        x, y = _trainable(self.data.train, schedule.batch)

        def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
            images, labels = x[indices].to(device), y[indices].to(device)
            progress = (len(self.states) - 1) / self.epochs
            return self.objective(
                Batch(x=images, y=labels, logits=module(images), progress=progress)
            )

        def epoch(done: Epoch) -> None:
            self._reached(network, done.loss)

        fit(
            network,
            loss,
            size=len(x),
            schedule=schedule,
            rng=rng.child("training"),
            device=device,
            on_epoch=epoch,
            resume=None if found is None else found.training,
            go_on=self._go_on,
        )

    def _reached(self, network: nn.Module, loss: float | None) -> None:
        """Measure the network after an epoch and keep its weights if they are the ones to keep."""
        network.eval()
        loss_now, accuracy = self._validated(network)
        outputs, cuts = ({}, {}) if self.watch is None else self.watch(network)
        state = EpochState(
            number=len(self.states),
            loss=loss,
            validation_loss=loss_now,
            accuracy=accuracy,
            outputs=outputs,
            cuts=cuts,
        )
        # the source's own weights are no result: epoch 0 is never kept for its loss
        better = self.best == 0 or loss_now < self.states[self.best].validation_loss
        self.states.append(state)
        if self.patience is None or better:
            self.best, self.kept = state.number, _copied(network)
        self.on_epoch(state)

    @torch.no_grad()
    def _validated(self, network: nn.Module) -> tuple[float, Quantity]:
        """Loss and accuracy on the validation images."""
        images, place = self.data.validation, _device(network)
        assert images.y is not None  # noqa: S101 - TrainingImages has labels
        total, hits = 0.0, []
        for x, y in zip(images.x.split(_BATCH), images.y.split(_BATCH), strict=True):
            x, y = x.to(place), y.to(place)
            logits = network(x).float()
            if not logits.isfinite().all():
                raise BadPlan(
                    f"training diverged in epoch {len(self.states)}: answers are NaN or infinite; "
                    "lower the learning rate or add logit-decay"
                )
            total += len(x) * float(self.objective(Batch(x=x, y=y, logits=logits, progress=1.0)))
            hits.append(self.objective.hits(logits, y).cpu())
        return total / len(images), share_of(torch.cat(hits))

    def _go_on(self, checkpoint: Checkpoint) -> bool:
        waited = len(self.states) - 1 - self.best
        stop = self.patience is not None and waited >= self.patience
        if self.folder is not None:
            Progress(
                plan=self.plan,
                training=checkpoint.copied(),
                kept=self.kept,
                best=self.best,
                states=tuple(self.states),
                finished=stop or checkpoint.epoch == self.epochs,
            ).store(self.folder)
        return not stop


def _outputs(model: nn.Module, data: TrainingImages) -> int:
    """How many classes the model tells apart; refuses labels it has no output for."""
    classes = predict(model, data.train.x[:2]).shape[1]
    for part in data.parts:
        assert part.y is not None  # noqa: S101 - TrainingImages has labels
        low, high = int(part.y.min()), int(part.y.max())
        if not 0 <= low <= high < classes:
            raise BadData(
                f"labels run from {low} to {high}, the model gives {classes} outputs: give a model "
                "or data that fit"
            )
    return classes


def _draw_anew(network: nn.Module, rng: Rng) -> None:
    """Draw every weight by its layer's own rule.

    Raises:
        BadModel: if a weight belongs to a layer without one.
    """
    with rng.as_global():
        for name, part in network.named_modules():
            own = [key for key, _ in part.named_parameters(recurse=False)]
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
            elif own:
                where = f"{name}.{own[0]}" if name else own[0]
                raise BadModel(
                    f"'{where}' has no rule to be drawn anew: give a factory of an untrained "
                    "network and start from its weights"
                )


def _trainable(images: LabelledImages, batch: int) -> tuple[Tensor, Tensor]:
    """Images and labels; one image less where a batch of one would be left over.

    Batch statistics of a single image do not exist.
    """
    assert images.y is not None  # noqa: S101 - TrainingImages has labels
    keep = len(images) - (len(images) > 1 and len(images) % batch == 1)
    return images.x[:keep], images.y[:keep]


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _digest(
    model: nn.Module,
    data: TrainingImages,
    components: Sequence[Component],
    *settings: object,
) -> str:
    """What decides the result, as one hash."""
    parts = (model_digest(model), data.digest, [*components], settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
