"""Ask a PyTorch network what the statistics need, once."""

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from splitveil.data import LabelledImages
from splitveil.errors import AuditError
from splitveil.models import PixelModel, predict
from splitveil.naming import one_line
from splitveil.nets import evaluating
from splitveil.partition import trace
from splitveil.vetting.statistics import Answers, LastLayer

_BATCH = 250
_SLOPES, _FEWEST, _PASSES, _AT_ONCE = 128, 8, 4096, 320


def look(
    network: nn.Module,
    images: LabelledImages,
    *,
    cut: str | None = None,
    features: Tensor | None = None,
    seeing: Collection[str] = ("last", "slopes"),
) -> tuple[Answers, tuple[str, ...]]:
    """Outputs, features, last layer and gradients of a network at labelled images.

    The network is run in eval mode and left as it was.

    Args:
        network: images in [0, 1] to class scores (n, k).
        images: labelled.
        cut: name or id of a cut to look at; None looks at the outputs.
        features: what crosses there, (n, f), where it is known already.
        seeing: what to look at beside outputs and features.

    Returns:
        Answers, and a sentence for each thing that could not be had.

    Raises:
        BadData: as `Answers.of`.
        BadModel: if the network fails on the images or its outputs are not finite.
        UnknownName: if there is no such cut.
        UnsupportedCut: if the network cannot be traced.
    """
    outputs = predict(network, images.x)
    notes: list[str] = []
    sent = features
    if cut is not None and sent is None:
        traced = trace(network, images.x[:2])
        chosen = traced.cut(cut)
        with torch.no_grad():
            parts = [traced.features(x, [chosen])[chosen.id] for x in images.x.split(_BATCH)]
        sent = torch.cat(parts)
    last = find_last_layer(network, images.x) if "last" in seeing else None
    if last is None and "last" in seeing:
        notes.append("No linear layer makes the outputs, so T1 and T1b are not available.")
    slopes = None
    if "slopes" in seeing:
        slopes, why = find_slopes(network, images.x[:_SLOPES])
        notes += [f"{why}: T4 is not available."] if why else []
    return Answers.of(images.x, images.y, outputs, sent=sent, last=last, slopes=slopes), tuple(
        notes
    )


@torch.no_grad()
def find_last_layer(network: nn.Module, x: Tensor) -> LastLayer | None:
    """The linear layer whose result is the network's output, with its inputs at all images.

    None if no nn.Linear gives exactly what the network answers, but for a `PixelModel`'s order.
    """
    found_order = network.order if isinstance(network, PixelModel) else None
    order = found_order if isinstance(found_order, Tensor) else None
    with evaluating(network):
        seen: dict[nn.Linear, tuple[Tensor, Tensor]] = {}
        with ExitStack() as hooks:
            for part in network.modules():
                if isinstance(part, nn.Linear):
                    _watch(part, seen, hooks)
            outputs = network(x[:2])
        found = [
            part
            for part, (_, result) in seen.items()
            if result.ndim == 2 and torch.equal(_ordered(result, order), outputs)
        ]
        if not found:
            return None
        layer, inputs = found[-1], []
        for piece in x.split(_BATCH):
            seen.clear()
            with ExitStack() as hooks:
                _watch(layer, seen, hooks)
                network(piece)
            inputs.append(seen[layer][0].double().cpu())
    weight = layer.weight.detach().double().cpu()
    bias = weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach().double()
    rows = torch.arange(len(weight)) if order is None else order.cpu()
    weight, bias = weight[rows], bias.cpu()[rows]
    if len(weight) == 1:
        weight, bias = (torch.cat([torch.zeros_like(part), part]) for part in (weight, bias))
    return LastLayer(torch.cat(inputs), weight, bias)


def _watch(
    layer: nn.Linear, seen: dict[nn.Linear, tuple[Tensor, Tensor]], hooks: ExitStack
) -> None:
    def keep(module: nn.Module, given: Any, result: Tensor) -> None:
        seen[layer] = given[0], result

    hooks.callback(layer.register_forward_hook(keep).remove)


def _ordered(result: Tensor, order: Tensor | None) -> Tensor:
    fits = order is not None and int(order.max()) < result.shape[1]
    return result[:, order] if fits else result


def find_slopes(network: nn.Module, x: Tensor) -> tuple[Tensor | None, str]:
    """Lengths (m, k) of the pixel gradients of every score, or why there are none.

    Each image goes through once for every class; of many classes fewer images are taken.
    """
    with evaluating(network):
        classes = network(x[:1]).shape[1]
    if classes < 2:
        return None, "One output has no losing classes"
    found, pick = [], torch.eye(classes)
    with evaluating(network), torch.enable_grad():
        for piece in x[: max(_FEWEST, _PASSES // classes)].split(max(1, _AT_ONCE // classes)):
            pixels = piece.detach().repeat_interleave(classes, 0).requires_grad_()
            try:
                scores = network(pixels)
                chosen = (scores * pick.repeat(len(piece), 1).to(scores)).sum()
                (slopes,) = torch.autograd.grad(chosen, pixels)
            except AuditError:
                raise
            except Exception as failure:
                return None, f"No gradient reaches the pixels ({one_line(failure)})"
            found.append(slopes.flatten(1).double().norm(dim=1).reshape(-1, classes))
    return torch.cat(found), ""
