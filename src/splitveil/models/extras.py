"""Networks by name from timm and torchvision, imported only when asked for."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from splitveil.errors import BadModel, UnknownName
from splitveil.naming import one_line


@dataclass(frozen=True, eq=False)
class Named:
    """A network from a library, without weights, and what the library says of its input."""

    network: nn.Module
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: int | None = None
    size: int | None = None
    notes: tuple[str, ...] = ()


def from_timm(name: str, settings: Mapping[str, Any]) -> Named:
    """The network `name` of timm, untrained; nothing is downloaded.

    Raises:
        BadModel: if timm is missing or broken, or refuses the settings.
        UnknownName: if timm has no such network.
    """
    timm = _import("timm")
    if name.partition(".")[0] not in timm.list_models():
        raise UnknownName("timm model", name, timm.list_models())
    network = _make(timm.create_model, f"timm:{name}", name, pretrained=False, **settings)
    described = getattr(network, "pretrained_cfg", None) or {}
    channels, _, size = described.get("input_size", (None, None, None))
    channels = settings.get("in_chans", channels)
    mean, std = described.get("mean"), described.get("std")
    if mean is None or std is None or len(mean) != channels:
        return Named(network, channels=channels, size=size)
    note = f"Mean {tuple(mean)} and std {tuple(std)} are timm's for {name}, unless you gave others."
    return Named(network, tuple(mean), tuple(std), channels, size, (note,))


def from_torchvision(name: str, settings: Mapping[str, Any]) -> Named:
    """The network `name` of torchvision, untrained; nothing is downloaded.

    Raises:
        BadModel: if torchvision is missing or broken, or refuses the settings.
        UnknownName: if torchvision has no such network.
    """
    models = _import("torchvision").models
    if name not in models.list_models():
        raise UnknownName("torchvision model", name, models.list_models())
    return Named(_make(models.get_model, f"torchvision:{name}", name, weights=None, **settings))


def _import(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as missing:
        if missing.name != library:
            raise BadModel(f"{library} needs '{missing.name}', which is not installed") from missing
        raise BadModel(
            f"'{library}:' models need {library}: pip install 'splitveil[{library}]'"
        ) from missing
    except (ImportError, RuntimeError) as broken:
        raise BadModel(
            f"{library} is installed but cannot be imported ({one_line(broken)}): install the "
            "build that matches your PyTorch"
        ) from broken


def _make(make: Any, shown: str, *arguments: Any, **settings: Any) -> nn.Module:
    try:
        network: nn.Module = make(*arguments, **settings)
    except Exception as failure:
        raise BadModel(f"{shown} cannot be made: {one_line(failure)}") from failure
    return network
