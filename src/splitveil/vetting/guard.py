"""A guard on the device: evidence, image by image, that a network's answers give images away."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Kind, Quantity
from splitveil.shapes import Targets
from splitveil.storage import write_whole
from splitveil.vetting.betting import Capital, mean_of_logs
from splitveil.vetting.online_probe import (
    FIRST,
    PROBES,
    RELEASED,
    OnlineProbe,
    Outputs,
    pairs,
)

_FORMAT = "splitveil guard 1"


@dataclass(frozen=True, kw_only=True)
class GuardNull:
    """What is granted: the mean score of each probe that does not count against a network.

    A network is *within tolerance* if, whatever a probe has learnt from up to `learns` images, its
    mean score on the next image is at most `linear`, and `bent` for the bent probe. `models`
    honest networks stand behind the tolerances, none if they were declared.

    Attributes:
        linear: largest mean squared cosine granted to the linear probe, inside (0, 1).
        bent: the same for the probe with bent regressors.
        released: what the probes were shown: logits, softmax, attributes, sigmoid or features.
        models: honest networks measured; the tolerances are the largest among them.
        learns: images after which the probes stop learning.
        needed: images by which the guard has told most malicious networks tried, 0 if unknown.
        source: what networks and images were measured, in words.
        cut: name or id of the cut whose features were shown, "" for the outputs.

    Raises:
        BadPlan: if a tolerance is not inside (0, 1), or a count makes no sense.
    """

    linear: float
    bent: float
    released: str = "logits"
    models: int = 0
    learns: int = 1000
    needed: int = 0
    source: str = "declared"
    cut: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.linear < 1 and 0 < self.bent < 1):
            raise BadPlan(
                f"tolerances lie inside (0, 1), got linear {self.linear} and bent {self.bent}"
            )
        if self.released not in RELEASED:
            raise BadPlan(f"released values are {', '.join(RELEASED)}; got '{self.released}'")
        if self.models < 0 or self.needed < 0 or self.learns < FIRST:
            raise BadPlan(
                f"models and needed must not be negative and learns at least {FIRST}, got "
                f"{self.models}, {self.needed} and {self.learns}"
            )

    @property
    def beyond(self) -> float:
        """The most that an honest network's chance to lie beyond the tolerances is put at.

        1 / (models + 1): of exchangeable networks each is equally likely to be the largest. NaN
        for declared tolerances, of which nothing is known.
        """
        return 1 / (self.models + 1) if self.models else math.nan

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @staticmethod
    def from_json(data: Any) -> "GuardNull":
        """The inverse of `to_json`.

        Raises:
            BadPlan: if a field is missing, unknown or of the wrong type.
        """
        known = {field.name: field.type for field in fields(GuardNull)}
        if not isinstance(data, dict) or not {"linear", "bent"} <= set(data) <= set(known):
            raise BadPlan(f"a guard's null has the fields {', '.join(known)}")
        whole = ("models", "learns", "needed")
        right = all(
            isinstance(value, str)
            if name in ("cut", "released", "source")
            else isinstance(value, int)
            if name in whole
            else isinstance(value, int | float)
            for name, value in data.items()
        )
        if not right:
            raise BadPlan("a guard's null has tolerances and counts as numbers, names as text")
        return GuardNull(**data)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What an alarm's meaning rests on."""
        many = (
            f"the largest of {self.models} honest networks; another one, exchangeable with them, "
            f"lies beyond with a chance of at most {self.beyond:.3g}"
            if self.models
            else "declared, not measured"
        )
        return (
            f"tolerances: {many} ({self.source})",
            "images come as independent draws like those of the null",
            "a probe's mean score is that of probes which learnt as many images in calibration",
        )


class Guard:
    """Watches (image, output) pairs, unlabelled, and keeps an e-value against "within tolerance".

    Two probes predict a thumbnail of each image from what is released for it, beyond what the
    decision tells, from past pairs alone; s_t in [0, 1] is the squared cosine between truth and
    prediction. On each a gambler bets that its mean exceeds the tolerance (`Capital`); the e-value
    E_t is the mean of both capitals.

    For a network within tolerance E_t is a nonnegative supermartingale from 1, so

        P(sup_t E_t >= 1/α) <= α

    whenever one looks and however long it runs. An honest network may lie beyond the tolerance:
    the chance of a false alarm over networks is at most α + `null.beyond`. The alarm stays on.

    It sees what is linear or mildly bent in the outputs and coarse in the image. No alarm is no
    proof of honesty.

    Args:
        null: what is granted.
        alpha: chance of a false alarm for a network within tolerance.

    Raises:
        BadPlan: if alpha is not inside (0, 1).

    References:
        Ville 1939; Waudby-Smith & Ramdas 2024, Estimating means of bounded random variables by
        betting.
    """

    def __init__(self, null: GuardNull, *, alpha: float = 0.01) -> None:
        if not 0 < alpha < 1:
            raise BadPlan(f"the chance of a false alarm lies inside (0, 1), got {alpha}")
        self.null = null
        self.alpha = alpha
        self.alarm_at: int | None = None
        self.log_e = 0.0
        self.log_peak = 0.0
        self._probe = OnlineProbe(null.learns)
        self._capitals = (Capital.begin(null.linear), Capital.begin(null.bent))

    @property
    def images(self) -> int:
        """How many it has seen."""
        return self._probe.images

    @property
    def alarmed(self) -> bool:
        """Whether the e-value ever reached 1 / alpha."""
        return self.alarm_at is not None

    @property
    def p_value(self) -> float:
        """min(1, 1 / largest e-value so far): a p-value whenever one looks."""
        return math.exp(-self.log_peak)

    @property
    def e_value(self) -> Quantity:
        """The e-value now.

        Returns:
            Unit: e-value, at least 0, infinite where it overflows. Kind: measured.
        """
        value = math.exp(self.log_e) if self.log_e < 700 else math.inf
        return Quantity.exact(
            value,
            unit="e-value",
            kind=Kind.MEASURED,
            n=self.images,
            assumptions=self.null.assumptions,
        )

    @torch.no_grad()
    def update(self, x: Targets, outputs: Outputs) -> Quantity:
        """Take in images and what was released for them; batches may be cut anywhere.

        Args:
            x: images (n, c, h, w), or other targets (n, d).
            outputs: what left the device for them, (n, k), as `null.released` says.

        Returns:
            `e_value` after the last of them.

        Raises:
            BadData: if shapes do not fit or change, or values are not finite; nothing is then
                taken in.
        """
        seen = pairs(x, outputs, self.null.released)
        before = self.images
        scores = self._probe.scores(seen)
        if not len(seen):
            return self.e_value
        grown = [capital.after(row) for capital, row in zip(self._capitals, scores, strict=True)]
        self._capitals = (grown[0][0], grown[1][0])
        logs = mean_of_logs(torch.stack([path for _, path in grown]))
        self.log_e = float(logs[-1])
        self.log_peak = max(self.log_peak, float(logs.max()))
        reached = (logs >= -math.log(self.alpha)).nonzero()
        if self.alarm_at is None and len(reached):
            self.alarm_at = before + int(reached[0]) + 1
        return self.e_value

    def save(self, path: Path) -> None:
        """Store where it stands, readable by its owner only; sums of images, so keep it private.

        Raises:
            StorageFailed: if it cannot be written.
        """
        described = {
            "format": _FORMAT,
            "null": self.null.to_json(),
            "alpha": self.alpha,
            "alarm_at": self.alarm_at,
            "log_e": self.log_e,
            "log_peak": self.log_peak,
            "probe": self._probe.numbers(),
        }
        tensors = {f"probe.{name}": value for name, value in self._probe.tensors().items()}
        for name, capital in zip(PROBES, self._capitals, strict=True):
            tensors[f"capital.{name}"] = torch.stack([capital.log, capital.first, capital.second])
        held = {name: value.contiguous() for name, value in tensors.items()}
        write_whole(path, save(held, {"guard": json.dumps(described)}))

    @staticmethod
    def restore(path: Path) -> "Guard":
        """The guard as `save` left it; it goes on bit for bit.

        Raises:
            BadData: if the file is no guard's.
        """
        try:
            with safe_open(path, "pt") as file:
                described = json.loads((file.metadata() or {})["guard"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _restored(described, tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise BadData(f"{path} is not a guard's state ({error}): begin a new one") from error


def _restored(described: dict[str, Any], tensors: dict[str, Tensor]) -> Guard:
    if described["format"] != _FORMAT:
        raise BadData(f"it has the format '{described['format']}', '{_FORMAT}' is read")
    guard = Guard(GuardNull.from_json(described["null"]), alpha=float(described["alpha"]))
    guard.alarm_at = described["alarm_at"]
    guard.log_e, guard.log_peak = float(described["log_e"]), float(described["log_peak"])
    prefix = "probe."
    held = {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
    guard._probe = OnlineProbe.restored(guard.null.learns, described["probe"], held)
    linear, bent = (
        Capital(mean, guard.images, *tensors[f"capital.{name}"].unbind())
        for name, mean in zip(PROBES, (guard.null.linear, guard.null.bent), strict=True)
    )
    guard._capitals = (linear, bent)
    return guard
