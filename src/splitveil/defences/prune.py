"""Fewer channels inside the device's half, the least important for the task taken out."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from splitveil.defences.alterations import Reduction
from splitveil.defences.base import Batch, Component, Part, Setting, written
from splitveil.defences.channels import Prunable, prunable_channels
from splitveil.defences.pipeline import Pipeline
from splitveil.errors import BadPlan
from splitveil.models.reshaped import narrow
from splitveil.partition import Cut, measure_costs, trace

_BATCH = 125


@dataclass(frozen=True)
class Prune(Component):
    """Takes the share `ratio` of output channels out of convolutions within the device's half.

        I_c = mean_i (∂ℓ_i / ∂g_c)²,  ℓ_i the cross-entropy of image i, g_c a gain of 1 on channel c

    is the first-order change of the task's own loss when the channel is dropped, taken once on
    1,000 training images, behind the release, in the first step from the share `at` of all epochs
    on. The least important channels of each layer are set to zero there and then, gradients and
    optimiser steps included; the others train on. At the end they are taken out for good: the
    device's half that ships has fewer parameters and operations and answers the same.

    Channels that cross the cut, are added to a skip or joined stay: `bottleneck` narrows what
    crosses. Training goes to the end, and the last epoch is kept.

    Published with an adversary and a price on slopes, and importance from a loss on random noise:
    `bottleneck(8)+noise(0.05)+adversary(1)+lipschitz(0.1)+prune(0.3)`.

    It misleads as protection by itself: fewer channels inside need not tell less of the image.

    Raises:
        BadPlan: if ratio is not in (0, 1), at not in [0, 1), no channel would go or none stay, or
            the device's half has no convolution that can lose any.
    """

    name: ClassVar[str] = "prune"
    reference: ClassVar[str] = "Ding et al. 2024 (PATROL); Molchanov et al. 2019 (importance)"

    ratio: float
    at: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1 or not 0 <= self.at < 1:
            raise BadPlan(
                f"prune: ratio must be in (0, 1) and at in [0, 1), got {self.ratio}, {self.at}"
            )

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        assert setting.cut is not None and setting.x is not None and setting.y is not None  # noqa: PT018, S101 - there is a cut
        traced = trace(setting.source, setting.x[:2])
        cut = traced.cut(setting.cut.id)
        found, kept = prunable_channels(traced, cut)
        if not found:
            reasons = "; ".join(f"{name} {reason}" for name, reason in kept.items())
            raise BadPlan(
                f"{self}: no convolution before {cut.name} can lose channels "
                f"({reasons or 'there is none'}): choose a deeper cut, or bottleneck for what "
                "crosses"
            )
        going = [self._going(one) for one in found]
        if not any(going):
            raise BadPlan(f"{self}: no channel of any layer would go: give a higher ratio")
        channels = Channels(self, found, going, setting)
        return Part(
            modules=channels.memory,
            observe=channels.observe,
            reduction=Reduction(
                layers=tuple(dict.fromkeys(name for one in found for name in one.touched)),
                attach=channels.attach,
                apply=channels.apply,
            ),
            notes=(self._said(setting, cut, found, going, kept),),
        )

    def _going(self, one: Prunable) -> int:
        count = round(self.ratio * one.channels)
        if count >= one.channels:
            raise BadPlan(
                f"{self}: {one.conv} has {one.channels} channels and none would stay: give a lower "
                "ratio"
            )
        return count

    def _said(
        self,
        setting: Setting,
        cut: Cut,
        found: tuple[Prunable, ...],
        going: list[int],
        kept: dict[str, str],
    ) -> str:
        """What goes where, and what the device's half costs before and after."""
        assert setting.x is not None  # noqa: S101 - harden gives images
        thin = deepcopy(setting.source)
        left = [one.channels - count for one, count in zip(found, going, strict=True)]
        _take_out(thin, found, [torch.arange(count) for count in left])
        costs = []
        for network in (setting.source, thin):
            traced = trace(network, setting.x[:2])
            (cost,) = measure_costs(
                traced, [traced.cut(cut.id)], setting.x[:1], repeats=6, seconds=0.0
            )
            costs.append(cost)
        layers = ", ".join(
            f"{one.conv} {one.channels} to {count}" for one, count in zip(found, left, strict=True)
        )
        whole = f"; whole stay {', '.join(f'{k} ({v})' for k, v in kept.items())}" if kept else ""
        return (
            f"{self}: channels of {layers}{whole}. The network's part on the device goes from "
            f"{costs[0].edge_parameters:,} to {costs[1].edge_parameters:,} parameters and from "
            f"{costs[0].edge_flops:,} to {costs[1].edge_flops:,} operations an image."
        )

    def __str__(self) -> str:
        return written(self)


class Channels:
    """The channels of one training: which stay, held at zero until they are taken out."""

    def __init__(
        self, recipe: Prune, found: tuple[Prunable, ...], going: list[int], setting: Setting
    ) -> None:
        assert setting.x is not None and setting.y is not None  # noqa: PT018, S101 - harden gives them
        self._recipe, self._found, self._going = recipe, found, going
        self._x, self._y, self._rng = setting.x, setting.y, setting.rng.child("importance")
        self.memory = nn.Module()
        self.memory.register_buffer("chosen", torch.zeros((), dtype=torch.bool))
        for place, one in enumerate(found):
            self.memory.register_buffer(f"stay{place}", torch.ones(one.channels))
        self._pipeline: Pipeline | None = None
        self._epochs = 1

    def stay(self, place: int) -> Tensor:
        """1 for each channel of a layer that stays, 0 for others."""
        return self.memory.get_buffer(f"stay{place}")

    def attach(self, pipeline: nn.Module, epochs: int) -> None:
        """Keep gradients of channels that went at zero, so that clipping and moments skip them."""
        assert isinstance(pipeline, Pipeline)  # noqa: S101 - harden gives it
        self._pipeline, self._epochs = pipeline, epochs
        for place, value in self._values(pipeline):

            def held(slope: Tensor, place: int = place) -> Tensor:
                return slope * _first_axis(self.stay(place), slope)

            value.register_hook(held)

    def _values(self, pipeline: Pipeline) -> list[tuple[int, nn.Parameter]]:
        """Parameters that make a channel what it is: zero in all of them makes it zero."""
        values = []
        for place, one in enumerate(self._found):
            for name in (one.conv, *one.layers):
                module = pipeline.head.network.get_submodule(name)  # type: ignore[union-attr]
                if not isinstance(module, nn.PReLU):
                    values += [(place, value) for value in module.parameters(recurse=False)]
        return values

    def observe(self, batch: Batch) -> None:
        """Choose channels when their time has come, and hold those that went at zero."""
        assert self._pipeline is not None  # noqa: S101 - attached before training
        begins = int(self._recipe.at * self._epochs)
        if not bool(self.memory.chosen) and round(batch.progress * self._epochs) >= begins:
            for place, importance in enumerate(self.importance(self._pipeline)):
                kept = importance.argsort(descending=True, stable=True)
                kept = kept[: len(kept) - self._going[place]]
                self.stay(place).zero_()[kept] = 1
            self.memory.get_buffer("chosen").fill_(True)
        if bool(self.memory.chosen):
            for place, value in self._values(self._pipeline):
                value.mul_(_first_axis(self.stay(place), value))

    @torch.enable_grad()
    def importance(self, pipeline: Pipeline) -> list[Tensor]:
        """I_c of each layer's channels, in eval."""
        mode, device = pipeline.training, self.stay(0).device
        pipeline.eval()
        totals = [torch.zeros(one.channels, dtype=torch.float64) for one in self._found]
        generator = self._rng.torch()
        for x, y in zip(self._x.split(_BATCH), self._y.split(_BATCH), strict=True):
            gains = [torch.ones(len(x), one.channels, device=device) for one in self._found]
            handles = []
            for one, gain in zip(self._found, gains, strict=True):
                gain.requires_grad_()
                for name in one.readers:
                    reader = pipeline.head.network.get_submodule(name)  # type: ignore[union-attr]
                    handles.append(reader.register_forward_pre_hook(_gained(gain)))
            sent = pipeline.encode(x.to(device))
            for handle in handles:
                handle.remove()
            if len(x) > 1:
                for release in pipeline.releases:
                    sent, _ = release.send(sent, generator)
            loss = cross_entropy(pipeline.answer(sent), y.to(device), reduction="sum")
            for total, slope in zip(totals, torch.autograd.grad(loss, gains), strict=True):
                total += slope.detach().double().square().sum(0).cpu()
        pipeline.train(mode)
        return [total / len(self._x) for total in totals]

    def apply(self, network: nn.Module) -> list[dict[str, Any]]:
        """Take the channels out, once they are chosen."""
        if not bool(self.memory.chosen):
            return []
        stay = [self.stay(place).nonzero()[:, 0].cpu() for place in range(len(self._found))]
        return _take_out(network, self._found, stay)


def _take_out(
    network: nn.Module, found: tuple[Prunable, ...], stay: list[Tensor]
) -> list[dict[str, Any]]:
    outputs = {
        name: indices
        for one, indices in zip(found, stay, strict=True)
        for name in (one.conv, *one.layers)
    }
    inputs = {
        name: indices for one, indices in zip(found, stay, strict=True) for name in one.readers
    }
    return [
        narrow(network, name, outputs=outputs.get(name), inputs=inputs.get(name))
        for name in dict.fromkeys((*outputs, *inputs))
    ]


def _gained(gain: Tensor) -> Any:
    def hook(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (given[0] * gain[:, :, None, None],)

    return hook


def _first_axis(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.dim() - 1)).to(like)
