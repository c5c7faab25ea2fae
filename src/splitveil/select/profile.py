"""A device's own times at every cut, as `splitveil profile` wrote them there; no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitveil.errors import BadInput, BadPlan
from splitveil.quantities import Quantity

KIND = "splitveil device profile"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Edge times of one model on one device: seconds for one image, by cut id.

    `edge` are medians, `edge_p95` 95th percentiles; a profile of an older version has none of
    these, and its medians stand in.
    """

    path: str
    model: str
    digest: str
    shape: tuple[int, ...]
    device: str
    edge: Mapping[str, Quantity]
    edge_p95: Mapping[str, Quantity]

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Refuse a profile of another model or another image size.

        Raises:
            BadPlan: naming both.
        """
        model = manifest["model"]
        if self.digest != model["digest"]:
            raise BadPlan(
                f"{self.path} is of model {self.model} ({self.digest[:12]}), the run audited "
                f"{model['name']} ({model['digest'][:12]}): run `splitveil profile` on the device "
                "with the run's model, weights, mean and std"
            )
        size = model["size"] if isinstance(model["size"], list) else [model["size"]] * 2
        shape = (model["channels"], *size)
        if self.shape != shape:
            raise BadPlan(
                f"{self.path} was measured on images of {_times(self.shape)}, the run's are "
                f"{_times(shape)}: run `splitveil profile` with --channels {shape[0]} "
                f"--size {shape[1]}"
            )

    def edge_seconds(self, cut: str, name: str) -> Quantity:
        """The device's time up to a cut.

        Raises:
            BadPlan: if the profile lacks it.
        """
        if cut not in self.edge:
            raise BadPlan(
                f"{self.path} has no time for cut {name}: run `splitveil profile` on the device "
                "with this version of splitveil"
            )
        return self.edge[cut]


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def read_profile(path: str | Path) -> Profile:
    """Read what `splitveil profile` wrote.

    Raises:
        BadPlan: if it cannot be read or is something else.
    """
    try:
        data = json.loads(Path(path).read_bytes())
        if data["kind"] != KIND:
            raise ValueError(f"kind is {data['kind']!r}")
        return Profile(
            path=str(path),
            model=str(data["model"]["name"]),
            digest=str(data["model"]["digest"]),
            shape=tuple(int(n) for n in data["input"]),
            device=str(data["device"]["platform"]),
            edge={
                str(entry["id"]): Quantity.from_json(entry["edge_seconds"])
                for entry in data["cuts"]
            },
            edge_p95={
                str(entry["id"]): Quantity.from_json(entry["edge_p95"])
                for entry in data["cuts"]
                if "edge_p95" in entry
            },
        )
    except OSError as error:
        raise BadPlan(f"cannot read profile {path}: {error.strerror or error}") from error
    except (BadInput, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadPlan(
            f"{path} is no device profile ({type(error).__name__}: {error}): write one with "
            f"`splitveil profile MODEL --out {path}`"
        ) from error
