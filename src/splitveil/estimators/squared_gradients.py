"""Squared gradients of a loss by a network's weights, layer by layer."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from splitveil.errors import BadModel
from splitveil.naming import one_line
from splitveil.shapes import Images, Labels

OutputLoss: TypeAlias = Callable[[Any, Labels], Tensor]
"""What the network gives for n images, and their labels (n,), to n losses."""

Rows: TypeAlias = Literal["image", "batch"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SquaredGradients:
    """One row an image, or a batch; one column a layer; float64.

    `plain[i, l]` = Σ_j g_ij² over the weights j of layer l; `scaled[i, l]` = Σ_j θ_j² g_ij².
    `parameters` (layers,) counts those weights.
    """

    layers: tuple[str, ...]
    parameters: Int64[Tensor, " layers"]
    plain: Float[Tensor, "rows layers"]
    scaled: Float[Tensor, "rows layers"]


def squared_gradients(
    network: nn.Module,
    x: Images,
    y: Labels,
    loss: OutputLoss,
    layers: Sequence[str],
    *,
    rows: Rows = "image",
    batch: int = 32,
) -> SquaredGradients:
    """Squares of d loss / d θ for the `weight` of each of `layers`, the network in eval.

    With `rows` "image" g_i is the gradient of image i's own loss, for all images of a batch at
    once; with "batch" that of the mean loss of a batch, squared afterwards. Whether a weight is set
    to be trained plays no part. Memory: `batch` times the weights.

    Raises:
        BadModel: if the network cannot be differentiated image by image.
    """
    twin = deepcopy(network).eval().requires_grad_(requires_grad=False)
    keys = [f"{layer}.weight" for layer in layers]
    held = {name: value.detach() for name, value in twin.named_parameters(remove_duplicate=False)}
    weights = {key: held[key] for key in keys}
    rest = {key: value for key, value in held.items() if key not in weights}
    rest.update(twin.named_buffers())

    def mean_loss(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        output = functional_call(twin, {**rest, **weights}, (images,))
        return loss(output, labels).mean()

    def own_loss(weights: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return mean_loss(weights, image[None], label[None])

    by_image = vmap(grad(own_loss), in_dims=(None, 0, 0))
    plain, scaled = [], []
    for images, labels in zip(x.split(batch), y.split(batch), strict=True):
        if rows == "image":
            try:
                slopes = by_image(weights, images, labels)
            except RuntimeError as failure:
                raise BadModel(
                    "the network cannot be differentiated image by image "
                    f"({one_line(failure)}): take rows by batch"
                ) from failure
        else:
            whole = grad(mean_loss)(weights, images, labels)
            slopes = {key: value[None] for key, value in whole.items()}
        squares = [slopes[key].detach().double().square() for key in keys]
        own = [weights[key].double().square() for key in keys]
        plain.append(torch.stack([one.flatten(1).sum(1) for one in squares], 1))
        pairs = zip(squares, own, strict=True)
        scaled.append(torch.stack([(one * by).flatten(1).sum(1) for one, by in pairs], 1))
    return SquaredGradients(
        layers=tuple(layers),
        parameters=torch.tensor([weights[key].numel() for key in keys]),
        plain=torch.cat(plain).cpu(),
        scaled=torch.cat(scaled).cpu(),
    )
