"""Reading weights without running code, and fitting them to a network."""

import hashlib
import json
import pickle
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from splitveil.errors import BadModel
from splitveil.naming import one_line

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_NESTS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_NAMED = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors, .pt or .pth file.

    A state dict nested under `state_dict`, `model_state_dict` or `model` is unwrapped, and the
    prefixes that DataParallel and torch.compile put before every name are removed. Nothing is
    unpickled beyond plain tensors and containers.

    Raises:
        BadModel: if the file is missing, damaged, of another kind, or would run code on loading.
    """
    if not path.is_file():
        raise BadModel(f"weights {path} do not exist: check the path")
    if path.suffix == ".safetensors":
        try:
            return strip_prefixes(load_file(path))
        except (OSError, SafetensorError) as error:
            raise BadModel(f"cannot read weights {path} ({one_line(error)}): copy again") from error
    if path.suffix not in SUFFIXES:
        raise BadModel(f"weights {path}: expected a file ending in {', '.join(SUFFIXES)}")
    return strip_prefixes(_unwrap(_load_plain(path), path))


def stored_normalisation(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The mean and std that a .safetensors file says its weights expect, one number a channel.

    They stand in its metadata as `mean` and `std`, numbers separated by commas; None without them.

    Raises:
        BadModel: if they are there and not numbers.
    """
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, "pt") as stored:
        described = stored.metadata() or {}
    if "mean" not in described or "std" not in described:
        return None
    try:
        mean, std = (
            tuple(float(part) for part in described[name].split(",")) for name in ("mean", "std")
        )
    except ValueError as error:
        raise BadModel(
            f"{path} says mean '{described['mean']}' and std '{described['std']}': expected "
            "numbers separated by commas; give mean= and std= or mend its metadata"
        ) from error
    return mean, std


def _load_plain(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise BadModel(
                    f"weights {path} are a TorchScript archive: convert them with "
                    + _converter(path, "torch.jit.load({0})")
                )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path) or path.read_bytes()[:1] == b"\x80":
            raise BadModel(_pickled(path)) from error
        raise BadModel(f"{path} is not a file of PyTorch weights: copy it again") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise BadModel(f"cannot read weights {path} ({one_line(error)}): copy again") from error


def _pickled(path: Path) -> str:
    load = _converter(path, "torch.load({0}, weights_only=False)")
    return (
        f"{path} holds a pickled model, and loading it would run the code in it. If you trust "
        f"where it comes from, convert it with {load} and give the new file beside the factory"
    )


def _converter(path: Path, load: str) -> str:
    new = json.dumps(str(path.with_suffix(".safetensors")))
    code = (
        "import torch; from safetensors.torch import save_file; "
        f"m = {load.format(json.dumps(str(path)))}; "
        's = m.state_dict() if hasattr(m, "state_dict") else m.get("state_dict", m); '
        f"save_file({{k: v.clone().contiguous() for k, v in s.items()}}, {new})"
    )
    return f"python -c {shlex.quote(code)}"


def _unwrap(loaded: Any, path: Path) -> dict[str, Tensor]:
    for key in _NESTS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping):
        raise BadModel(
            f"{path} holds a {type(loaded).__name__}: expected a state dict (names to tensors)"
        )
    other = [name for name, value in loaded.items() if not isinstance(value, Tensor)]
    if other or not loaded:
        found = f"entries that are no tensors ({_some(map(str, other))})" if other else "nothing"
        raise BadModel(
            f"{path} holds {found}: expected a state dict, bare or under one of {', '.join(_NESTS)}"
        )
    return dict(loaded)


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the wrappers' prefixes, where every name has them."""
    for prefix in _PREFIXES * 2:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def fit_weights(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load `state` into `network`, in the network's own number types.

    Raises:
        BadModel: naming the first tensors that are missing, unexpected or of another shape.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what} ({_some(names)})"
        for what, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise BadModel(
            f"weights {where} do not fit the model: {'; '.join(problems)}; check that factory and "
            "file belong together"
        )
    network.load_state_dict(dict(state))


def refuse_nan(network: nn.Module, where: str) -> None:
    """Refuse weights that are not finite.

    Raises:
        BadModel: naming the first such tensor.
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            count = int((~value.isfinite()).sum())
            raise BadModel(
                f"{where}: {count} of {value.numel()} values of '{name}' are NaN or infinite: "
                "use an earlier checkpoint"
            )


def model_digest(network: nn.Module) -> str:
    """SHA-256, 64 hexadecimal digits, over the architecture as printed and every tensor."""
    total = hashlib.sha256(repr(network).encode())
    for name, value in sorted(network.state_dict().items()):
        total.update(f"\x1f{name}\x1f{value.dtype}\x1f{tuple(value.shape)}\x1f".encode())
        total.update(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return total.hexdigest()


def _some(names: Any) -> str:
    listed = list(names)
    rest = f", and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + rest
