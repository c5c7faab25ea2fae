"""Train a copy of a network with all components of a defence at once."""

import hashlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from splitveil.data.training import TrainingImages
from splitveil.defences.base import Batch, Component, Setting, Statement
from splitveil.defences.begin import begun
from splitveil.defences.checks import calibration, draw_anew, outputs_of, trainable
from splitveil.defences.objective import Objective
from splitveil.defences.opponents import Opponents
from splitveil.defences.pipeline import Pipeline, assemble
from splitveil.defences.progress import Progress
from splitveil.defences.watch import EpochState, Watch
from splitveil.errors import BadModel, BadPlan
from splitveil.measures.utility import share_of
from splitveil.models.weights import model_digest
from splitveil.partition import Cut, Partition
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Images, Labels
from splitveil.training import Checkpoint, Schedule, fit

_BATCH = 250
_LEAST = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Hardened:
    """A hardened network, in eval on the CPU, and how it got there.

    `network` maps images to logits without any release, structures grafted in; with a cut,
    `partition` is the same in two halves with the fitted release between, `grafts` describe the
    structures, and `statements` say what was found of that release. `states` begin with epoch 0,
    before training; `kept` is the number of the epoch whose weights the network has; `cuts`
    describes what was watched; `notes` are sentences a reader should see.
    """

    network: nn.Module
    components: tuple[Component, ...]
    states: tuple[EpochState, ...]
    kept: int
    cuts: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    partition: Partition | None = None
    grafts: tuple[dict[str, Any], ...] = ()
    statements: tuple[Statement, ...] = ()

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
    cut: str | Cut | None = None,
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
        cut: where the network is split, by name or id, for components that act there.
        patience: epochs without a lower validation loss until training stops; the best epoch's
            weights are kept. None, or a component with an adversary or one that takes channels
            out, trains to the end and keeps the last.
        start: "weights" goes on from the model's own, "scratch" draws new ones.
        watch: cuts at which features are measured on the probe after every epoch, by name or id;
            empty for four spread over the menu, None for none.
        folder: where checkpoints are kept.
        device: where to train.
        on_epoch: told of every state as it is reached, epoch 0 first; not of those resumed over.

    Raises:
        BadModel: if the model cannot be trained, or its weights cannot be drawn anew.
        BadData: if images or labels do not fit the model.
        BadPlan: if components contradict each other, the cut cannot carry one, the loss diverges,
            or `folder` holds a training with other settings.
        UnknownName: if there is no such cut.
        StorageFailed: if a checkpoint cannot be written.
    """
    if patience is not None and patience < 1:
        raise BadPlan(f"patience must be at least one epoch, or None for no stop: got {patience}")
    classes = outputs_of(model, data)
    x, y = calibration(data.train, rng.child("calibration"))
    setting = Setting(
        source=deepcopy(model).eval(),
        classes=classes,
        class_names=data.class_names,
        x=x,
        y=y,
        rng=rng.child("components"),
    )
    found, changes = begun(components, setting, cut)
    if found is not setting.source:
        if start == "scratch":
            raise BadPlan("a network to go on from has weights, starting from scratch draws others")
        model = found
    network = deepcopy(model)
    if start == "scratch":
        draw_anew(network, rng.child("weights"))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise BadModel("the model has no weights to train: all are frozen, or it has none")
    setting = replace(setting, source=deepcopy(model).eval())
    pipeline, objective = assemble(network, components, setting, cut)
    if start == "scratch" and objective.frozen:
        raise BadPlan("freezing keeps the source's weights, starting from scratch draws new ones")
    if objective.releases and schedule.batch < _LEAST:
        raise BadPlan(
            f"a release takes its scale from each batch: {schedule.batch} images are too few, give "
            f"{_LEAST} or more"
        )
    seen = network if cut is None else pipeline.finish(model, pipeline.shipped())
    run = _Run(
        model=model,
        data=data,
        calibration=(x, y),
        objective=objective,
        watch=None
        if watch is None
        else Watch.of(seen, data.probe, watch, classes, rng.child("probe")),
        patience=None if objective.opposed or objective.reduction else patience,
        plan=_digest(model, data, components, schedule, rng, patience, start, watch, str(cut)),
        folder=folder,
        on_epoch=on_epoch,
        epochs=schedule.epochs,
        rng=rng,
    )
    pipeline.to(device)
    if objective.reduction is not None:
        objective.reduction.attach(pipeline, schedule.epochs)
    run.train(pipeline, schedule, device)
    pipeline.restore(run.kept)
    network = pipeline.finish(model, run.kept)
    pipeline.refuse_moved(model, network)
    partition = None
    if cut is not None:
        partition = pipeline.partition(network, run.kept, x, y, data.probe, rng)
    return Hardened(
        network=network,
        components=tuple(components),
        states=tuple(run.states),
        kept=run.best,
        cuts=() if run.watch is None else tuple(run.watch.describe()),
        notes=objective.notes,
        partition=partition,
        grafts=(*changes, *pipeline.grafts()),
        statements=pipeline.statements,
    )


@dataclass(kw_only=True)
class _Run:
    """One hardening under way."""

    model: nn.Module
    data: TrainingImages
    calibration: tuple[Images, Labels]
    objective: Objective
    watch: Watch | None
    patience: int | None
    plan: str
    folder: Path | None
    on_epoch: Callable[[EpochState], None]
    epochs: int
    rng: Rng

    def train(self, pipeline: Pipeline, schedule: Schedule, device: str) -> None:
        """Train from the folder's checkpoint, or from the start, to the end."""
        found = None if self.folder is None else Progress.load(self.folder, self.plan)
        self.opponents = Opponents(self.objective.parts)
        self.states: list[EpochState] = []
        if found is None:
            self.best, self.kept = 0, pipeline.shipped()
            self._reached(pipeline, None)
        else:
            self.states, self.best, self.kept = [*found.states], found.best, {**found.kept}
        if found is not None and found.finished:
            return
        x, y = trainable(self.data.train, schedule.batch)
        latest: list[Batch] = []

        def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
            images, labels = x[indices].to(device), y[indices].to(device)
            images.requires_grad = self.objective.slopes
            logits, z, sent, noise = module(images, generator)
            batch = Batch(
                x=images,
                y=labels,
                logits=logits,
                progress=(len(self.states) - 1) / self.epochs,
                z=z,
                sent=sent,
                noise=noise,
                generator=generator,
            )
            latest[:] = [batch.detached()]
            self.opponents.step(batch)
            return self.objective(batch)

        if found is not None:
            self.opponents.restore(found.adversaries)
        fit(
            pipeline,
            loss,
            size=len(x),
            schedule=schedule,
            rng=self.rng.child("training"),
            device=device,
            on_step=lambda: self.objective.observe(latest[0]),
            on_epoch=lambda done: self._reached(pipeline, done.loss),
            resume=None if found is None else found.training,
            go_on=self._go_on,
        )

    def _reached(self, pipeline: Pipeline, loss: float | None) -> None:
        """Measure the network after an epoch and keep its weights if they are the ones to keep."""
        pipeline.eval()
        release = self.rng.child("validation", "release")
        pipeline.calibrate(*self.calibration, self.data.probe, release)
        loss_now, accuracy = self._validated(pipeline)
        outputs, cuts = ({}, {}) if self.watch is None else self.watch(self._network(pipeline))
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
            self.best, self.kept = state.number, pipeline.shipped()
        self.on_epoch(state)

    def _network(self, pipeline: Pipeline) -> nn.Module:
        """The network as it stands, images to logits."""
        return pipeline.network or pipeline.finish(self.model, pipeline.shipped())

    @torch.no_grad()
    def _validated(self, pipeline: Pipeline) -> tuple[float, Quantity]:
        """Loss and accuracy on the validation images, with the same noise every time."""
        images, place = self.data.validation, _device(pipeline)
        assert images.y is not None  # noqa: S101 - TrainingImages has labels
        total, hits = 0.0, []
        generator = self.rng.child("validation").torch()
        for x, y in zip(images.x.split(_BATCH), images.y.split(_BATCH), strict=True):
            x, y = x.to(place), y.to(place)
            logits, z, sent, noise = pipeline(x, generator)
            logits = logits.float()
            if not logits.isfinite().all():
                raise BadPlan(
                    f"training diverged in epoch {len(self.states)}: answers are NaN or infinite; "
                    "lower the learning rate or add logit-decay"
                )
            batch = Batch(
                x=x,
                y=y,
                logits=logits,
                progress=1.0,
                z=z,
                sent=sent,
                noise=noise,
                generator=generator,
                training=False,
            )
            total += len(x) * float(self.objective(batch))
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
                adversaries=self.opponents.state(),
            ).store(self.folder)
        return not stop


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
