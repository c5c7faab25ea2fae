"""The one door for models: a name or a factory becomes a network from pixels to logits."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from splitveil.errors import BadModel, UnknownName
from splitveil.models import reference
from splitveil.models.extras import from_timm, from_torchvision
from splitveil.models.grafts import apply_grafts, stored_grafts
from splitveil.models.pixel_model import PixelModel
from splitveil.models.weights import (
    SUFFIXES,
    fit_weights,
    model_digest,
    read_weights,
    refuse_nan,
    stored_normalisation,
)
from splitveil.naming import is_reference, one_line, resolve
from splitveil.rng import Rng

REFERENCES = tuple(reference.__all__)
_DEFAULT = "vgg"
_SIZE = 32


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network in eval mode that maps images in [0, 1] to logits, and what is known of it.

    `channels`, `size` and `classes` are None where the network does not tell; `reference` marks
    the bundled ones; `notes` are sentences on how it was loaded.
    """

    name: str
    network: PixelModel
    digest: str
    parameters: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int | None
    size: int | None
    classes: int | None
    reference: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Bare:
    """A network as its maker gave it, before weights and normalisation."""

    network: nn.Module
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    channels: int | None = None
    size: int | None = None
    classes: int | None = None
    notes: tuple[str, ...] = ()


def load_model(
    name: str | None = None,
    *,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: str | int | None = None,
    classes: Sequence[str] | None = None,
    data_classes: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> LoadedModel:
    """A network from images in [0, 1] to logits, in eval mode, its normalisation inside.

    >>> load_model("vgg").parameters
    578810

    Args:
        name: None for the bundled "vgg"; "vgg", "resnet", "vit" or "ir"; `package.module:factory`
            with the working directory importable, which is executed; "timm:NAME" or
            "torchvision:NAME" where that extra is installed.
        weights: a .safetensors, .pt or .pth file with the network's state dict.
        mean: what the network expects subtracted from pixels in [0, 1], one value a channel; by
            default what a .safetensors file says of itself, then what the model's source says.
        std: what it expects them divided by then.
        output: key or position of the logits where the network gives a mapping or a sequence.
        classes: names of the network's outputs in their order, or the numbers of their labels,
            where that order is not the data's.
        data_classes: names of the data's labels in their order; by default "0", "1", ...
        settings: keyword arguments for the factory, such as `{"num_classes": 10}`.

    Raises:
        BadModel: one line with what is wrong and what to do.
        UnknownName: if there is no such model.
    """
    given = name or _DEFAULT
    ours = given in REFERENCES
    bare = _make(given, settings or {}, bundled=weights is None)
    network = bare.network.cpu()
    if weights is not None:
        state = read_weights(Path(weights))
        apply_grafts(network, stored_grafts(Path(weights)))
        fit_weights(network, state, str(weights))
        stored = stored_normalisation(Path(weights))
        if stored is not None:
            bare = replace(bare, mean=stored[0], std=stored[1])
    refuse_nan(network, str(weights or given))
    chosen_mean, chosen_std = _normalisation(mean, std, bare)
    channels = bare.channels or (len(chosen_mean) if len(chosen_mean) > 1 else None)
    model = PixelModel(
        network,
        mean=chosen_mean,
        std=chosen_std,
        output=output,
        order=None if classes is None else class_order(classes, data_classes),
    )
    model.eval()
    return LoadedModel(
        name=given,
        network=model,
        digest=model_digest(model),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        mean=chosen_mean,
        std=chosen_std,
        channels=channels,
        size=bare.size,
        classes=bare.classes,
        reference=ours and weights is None,
        notes=bare.notes,
    )


def _make(name: str, settings: Mapping[str, Any], *, bundled: bool) -> Bare:
    if name in REFERENCES:
        return _reference(name, settings, trained=bundled)
    for source, make in (("timm", from_timm), ("torchvision", from_torchvision)):
        if name.startswith(f"{source}:"):
            made = make(name.partition(":")[2], settings)
            return Bare(
                made.network, made.mean, made.std, made.channels, made.size, notes=made.notes
            )
    if is_reference(name):
        return _from_factory(name, settings)
    if Path(name).suffix in SUFFIXES:
        read_weights(Path(name))
        raise BadModel(
            f"{name} is a file of weights, not a model: give package.module:factory as the model "
            f"and weights={name}"
        )
    raise UnknownName(
        "model (nor is it package.module:factory, timm:NAME or torchvision:NAME)", name, REFERENCES
    )


def _reference(name: str, settings: Mapping[str, Any], *, trained: bool) -> Bare:
    make: Callable[..., nn.Module] = getattr(reference, name)
    if not trained:
        return Bare(_call(make, settings, name), size=_SIZE, channels=settings.get("channels", 1))
    resource = files("splitveil.models").joinpath(f"weights/{name}.safetensors")
    with as_file(resource) as path:
        if not path.is_file():
            raise BadModel(f"this installation lacks the weights of '{name}': install it again")
        with safe_open(path, "pt") as stored:
            described = stored.metadata()
        channels, classes = int(described["channels"]), int(described["classes"])
        network = make(channels=channels, classes=classes)
        fit_weights(network, read_weights(path), str(path))
    return Bare(
        network,
        (float(described["mean"]),),
        (float(described["std"]),),
        channels,
        _SIZE,
        classes,
    )


def _from_factory(name: str, settings: Mapping[str, Any]) -> Bare:
    with _fixed_seed(name):
        found = resolve(name, what="model", error=BadModel)
    note = f"Loading executed the Python code of {name.partition(':')[0]}."
    if isinstance(found, nn.Module):
        return Bare(found, notes=(note,))
    if not callable(found):
        raise BadModel(f"model '{name}' is a {type(found).__name__}: name a function or a class")
    return Bare(_call(found, settings, name), notes=(note,))


def _fixed_seed(name: str) -> AbstractContextManager[None]:
    """Makes a network without weights the same in every process."""
    return Rng(0, ("model factory", name)).as_global()


def _call(make: Callable[..., Any], settings: Mapping[str, Any], name: str) -> nn.Module:
    try:
        with _fixed_seed(name):
            network = make(**settings)
    except Exception as failure:
        raise BadModel(f"model factory {name} failed: {one_line(failure)}") from failure
    if not isinstance(network, nn.Module):
        raise BadModel(
            f"model factory {name} gave a {type(network).__name__}: return a torch.nn.Module"
        )
    return network


def _normalisation(
    mean: Sequence[float] | None, std: Sequence[float] | None, bare: Bare
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    chosen_mean = tuple(mean if mean is not None else bare.mean or (0.0,))
    chosen_std = tuple(std if std is not None else bare.std or (1.0,))
    if not all(math.isfinite(value) for value in (*chosen_mean, *chosen_std)):
        raise BadModel(f"mean {chosen_mean} and std {chosen_std} must be finite numbers")
    if len(chosen_mean) != len(chosen_std) and 1 in (len(chosen_mean), len(chosen_std)):
        width = max(len(chosen_mean), len(chosen_std))
        chosen_mean = chosen_mean * (width // len(chosen_mean))
        chosen_std = chosen_std * (width // len(chosen_std))
    if bare.channels is not None and len(chosen_mean) not in (1, bare.channels):
        raise BadModel(
            f"{len(chosen_mean)} means for a model of {bare.channels} channels: give one a channel"
        )
    return chosen_mean, chosen_std


def class_order(classes: Sequence[str], data_classes: Sequence[str] | None) -> tuple[int, ...]:
    """For each class of the data, the position of its logit in the network's output.

    Where the data's classes have names, `classes` may still give the numbers of their labels.

    Raises:
        BadModel: if a name occurs twice.
        UnknownName: if a class of the data is not among the network's.
    """
    numbers = tuple(str(label) for label in range(len(data_classes or classes)))
    by_number = not data_classes or (
        set(numbers) <= set(classes) and not set(classes) & set(data_classes)
    )
    known = numbers if by_number else tuple(data_classes or ())
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise BadModel(f"class '{twice[0]}' is named twice: give each output its own name")
    for wanted in known:
        if wanted not in classes:
            raise UnknownName("class of the data among the model's", wanted, classes)
    return tuple(list(classes).index(wanted) for wanted in known)
