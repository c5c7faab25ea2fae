"""What statistics look like on honest networks, and where a value stands among them."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from scipy.stats import rankdata

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Quantity

PANELS = {"ir": "embedding-3", "resnet": "residual-4", "vgg": "plain-4", "vit": "tokens-2"}
"""Which shipped panel stands for each reference network: family and epochs, by accuracy."""


@dataclass(frozen=True, kw_only=True)
class Null:
    """Statistics of honest networks at one set of images; nothing but numbers.

    `values[name]` and `accuracies` have one entry a network. `images` is the digest of the images
    that they were measured at, `family` the networks' build, `how` says how they were trained,
    `command` makes them again, `cut` is where was looked, "" for the outputs.
    """

    values: Mapping[str, tuple[float, ...]]
    accuracies: tuple[float, ...]
    images: str
    family: str
    how: str
    command: str
    seed: int
    cut: str = ""

    def __post_init__(self) -> None:
        if not self.accuracies or any(len(v) != len(self) for v in self.values.values()):
            raise BadData("a null needs every statistic of each of its networks, one or more")

    def __len__(self) -> int:
        """How many honest networks."""
        return len(self.accuracies)

    @property
    def accuracy(self) -> float:
        """Their mean accuracy at these images."""
        return sum(self.accuracies) / len(self)

    @property
    def least_p(self) -> float:
        """The smallest p value that so many networks allow."""
        return 1 / (len(self) + 1)

    def p_value(self, name: str, value: float) -> float:
        """(1 + number of honest values at or above) / (1 + number of honest networks).

        At most a share a of honest networks has it at or below a, if the network in question would
        be an exchangeable draw with these were it honest (Vovk, Gammerman & Shafer 2005).

        Raises:
            BadPlan: if the null has no such statistic.
        """
        if name not in self.values:
            raise BadPlan(f"the null holds no '{name}', only {', '.join(sorted(self.values))}")
        return (1 + sum(v >= value for v in self.values[name])) / (len(self) + 1)

    def joint_p_value(self, values: Mapping[str, float]) -> float:
        """One p value of all statistics together.

        The network is ranked among the honest ones in each statistic both have; a network's score
        is the sum over statistics of -ln of the share ranked above it. Its own score is then ranked
        as in `p_value`. Every network is treated alike, so the same promise holds, whatever the
        dependence between statistics.

        Raises:
            BadPlan: if they have no statistic in common.
        """
        names = sorted(set(values) & set(self.values))
        if not names:
            raise BadPlan("the null and the model have no statistic in common")
        table = np.array([[values[name], *self.values[name]] for name in names])
        ranks = rankdata(table, axis=1)
        scores = -np.log((len(self) + 2 - ranks) / (len(self) + 2)).sum(0)
        return float((scores >= scores[0] - 1e-9).mean())

    def to_json(self) -> dict[str, Any]:
        """Plain data, six digits, a few kilobytes; infinities as the string "inf"."""
        return {
            "family": self.family,
            "how": self.how,
            "command": self.command,
            "seed": self.seed,
            "images": self.images,
            "cut": self.cut,
            "accuracies": [round(value, 6) for value in self.accuracies],
            "values": {
                name: [float(f"{v:.6g}") if math.isfinite(v) else str(v) for v in column]
                for name, column in self.values.items()
            },
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Null":
        """The inverse of `to_json`.

        Raises:
            BadData: if it is something else.
        """
        try:
            return Null(
                **{
                    **data,
                    "accuracies": tuple(map(float, data["accuracies"])),
                    "values": {k: tuple(map(float, v)) for k, v in data["values"].items()},
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadData(f"not a panel of honest networks: {error}") from error


def null_from(
    rows: Iterable[tuple[Mapping[str, Quantity], float]],
    *,
    images: str,
    family: str,
    how: str,
    command: str,
    seed: int,
    cut: str = "",
) -> Null:
    """Gather statistics and accuracy of honest networks, one pair each; see `Null`.

    Statistics that some network lacks are left out.

    Raises:
        BadData: if there is no network.
    """
    found = list(rows)
    names = set.intersection(*(set(q) for q, _ in found)) if found else set()
    return Null(
        values={name: tuple(q[name].value for q, _ in found) for name in sorted(names)},
        accuracies=tuple(accuracy for _, accuracy in found),
        images=images,
        family=family,
        how=how,
        command=command,
        seed=seed,
        cut=cut,
    )


def shipped_null(model: str) -> Null | None:
    """The panel that ships for a reference network, for the bundled images; None for others."""
    if model not in PANELS:
        return None
    place = files("splitveil.vetting").joinpath(f"panels/{PANELS[model]}.json")
    return Null.from_json(json.loads(place.read_text(encoding="utf-8")))
