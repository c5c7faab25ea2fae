"""Sealed targets: others rebuild inputs that only their owner can see, who scores them offline.

A challenge is a folder to hand out and one secret file beside it to keep:

    FOLDER/auxiliary.safetensors   z, x and perhaps y: the attacker's pairs
    FOLDER/target.safetensors      z and perhaps y of the private inputs
    FOLDER/challenge.json          shapes, counts, and the commitment to the private inputs
    FOLDER.secret.safetensors      x and the salt, readable by its owner only

The commitment is the SHA-256 of a random salt of 32 bytes, the digests of both files handed out
and the private inputs: whoever sees the secret later can check that they were fixed beforehand.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from splitveil.audit.pairs.bench import floor_of
from splitveil.audit.pairs.case import given_cut, read_pair_files
from splitveil.audit.pairs.reading import (
    Examples,
    digest_of,
    read_arrays,
    read_features,
    read_inputs,
    read_labels,
)
from splitveil.audit.scoring import CHUNK, Rebuilt, numbers_of, similarity
from splitveil.audit.verdict import word_of
from splitveil.audit.workbench import one_thread
from splitveil.errors import BadData, BadPlan
from splitveil.measures import mse_per_image
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.storage import storing, write_whole
from splitveil.threat import Auxiliary, only_pairs

_FORMAT = "splitveil challenge 1"
_SALT = 32


@dataclass(frozen=True, kw_only=True)
class Made:
    """A challenge: the folder to hand out, the secret to keep, and the commitment."""

    folder: Path
    secret: Path
    commitment: str
    targets: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """What reconstructions of sealed inputs came to.

    `word` is RECOVERED or NOT RECOVERED, `notes` say what was done to the reconstructions.
    """

    word: str
    commitment: str
    quantities: Mapping[str, Quantity]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "splitveil": version("splitveil"),
            "word": self.word,
            "commitment": self.commitment,
            "quantities": {name: q.to_json() for name, q in self.quantities.items()},
            "notes": list(self.notes),
        }


def secret_of(folder: Path) -> Path:
    """Where the secret of a challenge is written: beside the folder, never in it."""
    return folder.with_name(f"{folder.name}.secret.safetensors")


def commitment_to(salt: bytes, handed_out: tuple[str, str], x: NDArray[Any]) -> str:
    """SHA-256 over the salt, the digests of the files handed out, and the private inputs."""
    total = hashlib.sha256(_FORMAT.encode() + b"\0" + salt)
    total.update("\0".join((*handed_out, digest_of({"x": x}))).encode())
    return total.hexdigest()


def make_challenge(
    auxiliary: str | Path,
    target: str | Path,
    folder: str | Path,
    *,
    pixel_range: tuple[float, float] | None = None,
    knows_label: bool = True,
) -> Made:
    """Seal the private inputs of two files of pairs and write what others get.

    Args:
        auxiliary: pairs that others may learn from.
        target: private pairs; only their z, and labels if known, are handed out.
        folder: to be made; it must not exist.
        pixel_range: as for an audit of pairs.
        knows_label: whether labels are handed out.

    Raises:
        BadData: one line with what is wrong with the files.
        BadPlan: if the folder or the secret exists already.
        StorageFailed: if something cannot be written.
    """
    out = Path(folder)
    secret = secret_of(out)
    for path in (out, secret):
        if path.exists():
            raise BadPlan(f"{path} exists already: choose another folder")
    read = read_pair_files((str(auxiliary), str(target)), pixel_range)
    own, private = read.own, read.private
    own_arrays = _plain(own, read.shape, labels=knows_label)
    private_arrays = _plain(private, read.shape, labels=knows_label)
    x = private_arrays.pop("x")
    handed_out = (digest_of(own_arrays), digest_of(private_arrays))
    salt = secrets.token_bytes(_SALT)
    made = Made(
        folder=out,
        secret=secret,
        commitment=commitment_to(salt, handed_out, x),
        targets=len(private),
    )
    with storing(out):
        out.mkdir(parents=True)
    write_whole(secret, save({"x": x, "salt": np.frombuffer(salt, np.uint8).copy()}))
    write_whole(out / "auxiliary.safetensors", save(own_arrays))
    write_whole(out / "target.safetensors", save(private_arrays))
    described = {
        "format": _FORMAT,
        "splitveil": version("splitveil"),
        "commitment": made.commitment,
        "auxiliary": {"pairs": len(own), "digest": handed_out[0]},
        "target": {"pairs": len(private), "digest": handed_out[1]},
        "shape": list(own.x.shape[1:]),
        "labels": "y" in private_arrays,
        "answer": "an .npz or .safetensors with one array x of shape "
        f"{(len(private), *own.x.shape[1:])}, in the order of target.safetensors",
    }
    write_whole(out / "challenge.json", (json.dumps(described, indent=1) + "\n").encode())
    return made


def _plain(examples: Examples, shape: tuple[int, ...], *, labels: bool) -> dict[str, NDArray[Any]]:
    """Arrays of pairs as they are written."""
    found = {"z": examples.z.unflatten(1, shape).numpy(), "x": examples.x.numpy()}
    if labels and examples.y is not None:
        found["y"] = examples.y.numpy()
    return found


def score_challenge(
    folder: str | Path, reconstructions: str | Path, *, secret: str | Path | None = None
) -> Score:
    """Score reconstructions of a challenge's sealed inputs.

    All targets count: whoever answered has seen none of their inputs. Leakage is measured against
    the class mean of the attacker's pairs, or the mean where labels were not handed out.

    Args:
        folder: of the challenge, as handed out.
        reconstructions: .npz or .safetensors with one array x, in the order of the targets;
            images are clamped to [0, 1].
        secret: the file kept; None takes the one beside the folder.

    Raises:
        BadData: if the answer has another shape or is not finite, or the secret, the folder or
            the answer is damaged, or the secret is not what the challenge commits to.
    """
    out = Path(folder)
    described = _described(out)
    own = read_arrays(out / "auxiliary.safetensors", ("z", "x"))
    given = read_arrays(out / "target.safetensors", ("z",))
    kept = read_arrays(
        secret_of(out) if secret is None else Path(secret), ("x", "salt"), names=("x", "salt")
    )
    handed_out = (digest_of(own), digest_of(given))
    commitment = commitment_to(kept["salt"].tobytes(), handed_out, kept["x"])
    if commitment != described["commitment"]:
        raise BadData(
            f"{out} commits to {described['commitment'][:16]}..., the secret and the files give "
            f"{commitment[:16]}...: one of them was changed after the challenge was made"
        )
    x = torch.from_numpy(kept["x"])
    made, notes = _answer(Path(reconstructions), x)
    test = _handed_out({**given, "x": kept["x"]}, out)
    auxiliary = _handed_out(own, out)
    knowledge = only_pairs(
        Auxiliary(auxiliary.x, auxiliary.y),
        auxiliary.z,
        given_cut(own["z"].shape[1:]).layout,
        knows_label=auxiliary.y is not None and test.y is not None,
    )
    with one_thread():
        floor, name = floor_of(knowledge, test)
        found = numbers_of(
            _rebuilt(made, x, test.y), floor, name, Rng(0).child("challenge", commitment)
        )
    word = word_of(found["leakage"], 1)
    return Score(word=word, commitment=commitment, quantities=found, notes=notes)


def _described(folder: Path) -> dict[str, Any]:
    path = folder / "challenge.json"
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"cannot read {path}: give the folder of a challenge") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise BadData(f"{path} is no {_FORMAT}: give the folder of a challenge")
    if not isinstance(found.get("commitment"), str):
        raise BadData(f"{path} holds no commitment: the folder was changed")
    return found


def _handed_out(arrays: Mapping[str, NDArray[Any]], folder: Path) -> Examples:
    z, _, _ = read_features(arrays["z"], str(folder))
    y = read_labels(arrays.get("y"), len(z), str(folder))
    return Examples(torch.from_numpy(arrays["x"]), z, y)


def _answer(path: Path, x: torch.Tensor) -> tuple[torch.Tensor, tuple[str, ...]]:
    array = read_arrays(path, ("x",))["x"]
    if tuple(array.shape) != tuple(x.shape):
        raise BadData(
            f"{path}: expected reconstructions x of shape {tuple(x.shape)}, got {array.shape}"
        )
    if array.dtype.kind != "f":
        raise BadData(f"{path}: expected floating point reconstructions, got {array.dtype}")
    made, _ = read_inputs(array.reshape(len(array), -1), None, str(path))
    made = made.reshape(x.shape)
    if x.ndim != 4:
        return made, ()
    outside = int(((made < 0) | (made > 1)).flatten(1).any(1).sum())
    note = f"{outside} reconstructions left [0, 1] and were clamped."
    return made.clamp(0, 1), (note,) if outside else ()


def _rebuilt(made: torch.Tensor, x: torch.Tensor, y: torch.Tensor | None) -> Rebuilt:
    ssim = similarity(made[:CHUNK], x[:CHUNK])
    return Rebuilt(mse_per_image(made, x), ssim, made, x, y, x.ndim == 4)
