"""Modules grafted into a network behind one of its own, and how they are written down."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from splitveil.errors import BadModel
from splitveil.models.reshaped import narrow, put_bodies
from splitveil.naming import is_reference, one_line, resolve
from splitveil.nets.carrier import Carrier
from splitveil.nets.carriers import CARRIERS

KEY = "grafts"


class Grafted(nn.Module):
    """cloud(device(body(x))): a module of a network with what a defence put behind it."""

    def __init__(
        self, body: nn.Module, device: Sequence[nn.Module], cloud: Sequence[nn.Module]
    ) -> None:
        nn.Module.__init__(self)
        self.body = body
        self.device = nn.Sequential(*device)
        self.cloud = nn.Sequential(*cloud)

    # Any, not Tensor: under torch.fx it is a proxy
    def forward(self, x: Any) -> Any:
        """What the body answers, sent through both sides."""
        return self.cloud(self.device(self.body(x)))


def graft(
    network: nn.Module, path: str, device: Sequence[nn.Module], cloud: Sequence[nn.Module]
) -> None:
    """Put modules behind the one at `path`, in place.

    Raises:
        BadModel: if there is no such module.
    """
    above, _, name = path.rpartition(".")
    try:
        parent = network.get_submodule(above)
        body = network.get_submodule(path)
    except AttributeError as error:
        raise BadModel(f"the network has no module '{path}' to graft onto") from error
    setattr(parent, name, Grafted(body, device, cloud).train(body.training))


def describe_graft(
    path: str, device: Sequence[nn.Module], cloud: Sequence[nn.Module]
) -> dict[str, Any]:
    """A graft as plain data, tensors apart."""
    return {
        "at": path,
        "device": [_described(module) for module in device],
        "cloud": [_described(module) for module in cloud],
    }


def _described(module: nn.Module) -> dict[str, Any]:
    if not isinstance(module, Carrier):
        raise BadModel(f"{type(module).__name__} cannot be stored: derive it from Carrier")
    kind = type(module)
    name = kind.__name__
    if CARRIERS.get(name) is not kind:
        name = f"{kind.__module__}:{kind.__qualname__}"
    return {"name": name, "settings": module.settings}


def apply_grafts(network: nn.Module, grafts: Sequence[Mapping[str, Any]]) -> None:
    """Put described changes into a network, in place; their tensors come with the weights.

    Raises:
        BadModel: if one cannot be read or does not fit.
    """
    for found in grafts:
        try:
            if "bodies" in found:
                put_bodies(network, found["at"], found["bodies"])
            elif "outputs" in found:
                stay = [
                    None if found[side] is None else torch.arange(found[side])
                    for side in ("outputs", "inputs")
                ]
                narrow(network, found["at"], outputs=stay[0], inputs=stay[1])
            else:
                sides = [
                    [built_carrier(one) for one in found[side]] for side in ("device", "cloud")
                ]
                graft(network, found["at"], *sides)
        except (KeyError, TypeError, ValueError) as error:
            raise BadModel(
                f"cannot rebuild what a defence put into the network ({one_line(error)}): "
                "harden again"
            ) from error


def built_carrier(found: Mapping[str, Any]) -> nn.Module:
    """One module of a described graft, tensors apart.

    Raises:
        BadModel: if there is no such module.
    """
    name = found["name"]
    kind = CARRIERS.get(name)
    if kind is None:
        if not is_reference(name):
            raise BadModel(f"the weights need a structure '{name}' that this version lacks")
        kind = resolve(name, what="structure", error=BadModel)
    module: nn.Module = kind(**found["settings"])
    return module


def stored_grafts(path: Path) -> list[dict[str, Any]]:
    """The grafts that a .safetensors file says its weights need; empty without any.

    Raises:
        BadModel: if they cannot be read.
    """
    if path.suffix != ".safetensors":
        return []
    with safe_open(path, "pt") as stored:
        described = stored.metadata() or {}
    try:
        found = json.loads(described.get(KEY, "[]"))
    except ValueError as error:
        raise BadModel(f"{path} describes its grafts in a form that cannot be read") from error
    return list(found)
