"""Networks in another shape: layers with fewer channels, and several bodies behind a cut."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from splitveil.errors import BadModel

ENSEMBLE = "ensemble"


@torch.no_grad()
def narrow(
    network: nn.Module, path: str, *, outputs: Tensor | None = None, inputs: Tensor | None = None
) -> dict[str, Any]:
    """Keep some channels of a convolution, BatchNorm or PReLU, in place; how it is written down.

    Args:
        network: holds the layer.
        path: of the layer.
        outputs: indices of the output channels that stay; None for all.
        inputs: indices of the input channels that stay, for a convolution; None for all.

    Raises:
        BadModel: if there is no such layer, or it has fewer channels.
    """
    try:
        layer = network.get_submodule(path)
    except AttributeError as error:
        raise BadModel(f"the network has no layer '{path}' to take channels from") from error
    for chosen, axis in ((outputs, 0), (inputs, 1)):
        if chosen is None:
            continue
        own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
        for name, value in own:
            if value.dim() <= axis:
                continue
            if value.shape[axis] <= int(chosen.max()):
                raise BadModel(f"'{path}' has fewer channels than are to stay: harden again")
            less = value.detach().index_select(axis, chosen.to(value.device)).clone()
            setattr(layer, name, nn.Parameter(less) if isinstance(value, nn.Parameter) else less)
    if isinstance(layer, nn.Conv2d):
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]
    elif isinstance(layer, nn.BatchNorm2d):
        layer.num_features = len(layer.weight)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    else:
        raise BadModel(f"'{path}' is a {type(layer).__name__}: no channels can be taken from it")
    return {
        "at": path,
        "outputs": None if outputs is None else len(outputs),
        "inputs": None if inputs is None else len(inputs),
    }


class Ensemble(nn.Module):
    """Several bodies answer to the same features, and the answers of some count.

    `selection` (count) holds 1 / p for each of the p that count and 0 for others. It is the
    device's secret: a server that runs all bodies need not see it.
    """

    selection: Tensor

    def __init__(self, bodies: Sequence[nn.Module]) -> None:
        nn.Module.__init__(self)
        self.bodies = nn.ModuleList(bodies)
        self.register_buffer("selection", torch.full((len(bodies),), 1 / len(bodies)))

    # Any, not Tensor: under torch.fx it is a proxy
    def forward(self, z: Any) -> Any:
        """Map features to the mean of the chosen answers (n, k)."""
        answers = torch.stack([body(z) for body in self.bodies], 1)
        return (answers * self.selection[:, None]).sum(1)


def put_bodies(network: nn.Module, path: str, count: int) -> Ensemble:
    """Run what follows `path` in a sequence `count` times side by side, in place.

    Raises:
        BadModel: if `path` is no part of a sequence, or nothing follows it there.
    """
    above, _, name = path.rpartition(".")
    try:
        parent = network.get_submodule(above)
    except AttributeError as error:
        raise BadModel(f"the network has no module '{path}'") from error
    names = [child for child, _ in parent.named_children()]
    if not isinstance(parent, nn.Sequential) or name not in names or ENSEMBLE in names:
        raise BadModel(f"'{path}' is no module of a plain sequence, so nothing follows it for sure")
    behind = names[names.index(name) + 1 :]
    if not behind:
        raise BadModel(f"nothing follows '{path}'")
    body = nn.Sequential()
    for child in behind:
        body.add_module(child, parent.get_submodule(child))
        delattr(parent, child)
    ensemble = Ensemble([deepcopy(body) for _ in range(count)])
    parent.add_module(ENSEMBLE, ensemble.train(parent.training))
    return ensemble
