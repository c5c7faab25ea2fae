"""Does what is released tell more of the image than the decision? Asked image by image.

The probe predicts a coarse thumbnail of each image from what was released for it, after both have
been stripped of what the decision tells, and learns from past images alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TypeAlias, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot, relu

from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Targets

# Its length is checked against the images' by hand, for a message that says what to do.
Outputs: TypeAlias = Float[Tensor, "n2 k2"]
RELEASED = ("logits", "softmax", "attributes", "sigmoid", "features")
PROBES = ("linear", "bent")
FIRST = 8
"""Images seen before anything is predicted."""

_Part = TypeVar("_Part")
_SIDE = 4
_CODE = 64
_BENDS = 64
_CLASSES = 1024
_FAR = 30.0
_LOOSE = 1e-6
_SOLID = 1e-12
_LEVERAGE = 0.5
_LEAST = 1e-6
_SMALLEST_PROBABILITY = 1e-12
_ROUNDING = 1e-5


@dataclass(frozen=True, eq=False)
class Pairs:
    """What the probe sees: decisions (n, k), released values (n, d), thumbnails (n, m)."""

    decisions: Float64[Tensor, "n k"]
    code: Float64[Tensor, "n d"]
    target: Float64[Tensor, "n m"]

    def __len__(self) -> int:
        """How many images."""
        return len(self.code)

    def at(self, places: Tensor | slice) -> "Pairs":
        """Some of them."""
        return Pairs(self.decisions[places], self.code[places], self.target[places])


@torch.no_grad()
def pairs(x: Targets, released: Outputs, kind: str) -> Pairs:
    """What the probe looks at.

    The decision is the largest of several outputs, the sign of a single one or of each attribute;
    features have none. Of probabilities the logarithm is taken, of a sigmoid's the log odds. More
    than 64 released values, and targets that are no images, are brought to 64 and 16 by one fixed
    random projection; images to 4x4 cells a channel by averaging.

    Raises:
        BadData: if shapes do not fit, values are not finite, or probabilities are none.
        BadPlan: if there is no such kind, or logits of more than 1024 classes.
    """
    if kind not in RELEASED:
        raise BadPlan(f"released values are {', '.join(RELEASED)}; got '{kind}'")
    if released.dim() != 2 or x.dim() < 2 or len(x) != len(released) or not released.shape[1]:
        raise BadData(
            "one image and one vector of outputs for each are needed, got shapes "
            f"{tuple(x.shape)} and {tuple(released.shape)}"
        )
    out = released.detach().to("cpu", torch.float64)
    for values, what in ((x, "images"), (out, "outputs")):
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            raise BadData(f"{what} hold {bad} values that are NaN or infinite: nothing is learnt")
    if kind in ("sigmoid", "softmax"):
        out = _scores(out, kind)
    return Pairs(_decisions(out, kind), _projected(out, _CODE), _target(x))


def _scores(out: Tensor, kind: str) -> Tensor:
    """Scores behind probabilities; a softmax's are centred, as their offset is not sent."""
    if bool(((out < 0) | (out > 1 + _ROUNDING)).any()):
        raise BadData("probabilities lie in [0, 1]: these are other outputs")
    if kind == "sigmoid":
        return out.clamp(_SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY).logit()
    logs = out.clamp_min(_SMALLEST_PROBABILITY).log()
    return logs - logs.mean(1, keepdim=True)


def _decisions(out: Tensor, kind: str) -> Tensor:
    classes = out.shape[1]
    if kind == "features":
        return out[:, :0]
    if kind in ("attributes", "sigmoid") or classes == 1:
        return (out >= 0).double()
    if classes > _CLASSES:
        raise BadPlan(
            f"decisions among more than {_CLASSES} classes are not kept apart, got {classes}: "
            "take the outputs as features"
        )
    return one_hot(out.argmax(1), classes).double()


def _target(x: Tensor) -> Tensor:
    seen = x.detach().to("cpu", torch.float64)
    if x.dim() == 4:
        return adaptive_avg_pool2d(seen, _SIDE).flatten(1)
    return _projected(seen.flatten(1), _SIDE**2)


def _projected(values: Tensor, width: int) -> Tensor:
    if values.shape[1] <= width:
        return values
    return values @ _draw("projection", values.shape[1], width) / math.sqrt(values.shape[1])


@lru_cache(maxsize=8)
def _draw(what: str, rows: int, columns: int) -> Tensor:
    """Standard normal numbers, the same in every guard."""
    draw = Rng(0, ("guard", what)).torch()
    return torch.randn(rows, columns, generator=draw, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Frame:
    """Centre and scale, fixed by the first images, that keep sums from cancelling."""

    code_centre: Float64[Tensor, " d"]
    code_scale: Float64[Tensor, ""]
    target_centre: Float64[Tensor, " m"]
    target_scale: Float64[Tensor, ""]

    @staticmethod
    def of(first: Pairs) -> "Frame":
        """From the first images."""
        code, target = first.code.mean(0), first.target.mean(0)
        return Frame(code, _scale(first.code - code), target, _scale(first.target - target))

    def rows(self, seen: Pairs) -> tuple[Tensor, Tensor]:
        """Regressors (n, k + d + 64): decisions, values, bent values; and targets."""
        code = ((seen.code - self.code_centre) / self.code_scale).clamp(-_FAR, _FAR)
        width = code.shape[1]
        ways = _draw("bends", width, _BENDS) * (1.5 / math.sqrt(width))
        bent = relu(code @ ways + _draw("edges", 1, _BENDS))
        target = ((seen.target - self.target_centre) / self.target_scale).clamp(-_FAR, _FAR)
        return torch.cat([seen.decisions, code, bent], 1), target


def _scale(centred: Tensor) -> Tensor:
    """Root mean square, or 1 where there is nothing but rounding."""
    rms = centred.square().mean().sqrt()
    return torch.where(rms > _LEAST, rms, torch.ones_like(rms))


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over past images, all that a fit needs: counts, Σ r, Σ t, Σ r rᵀ, Σ r tᵀ."""

    count: int
    rows: Float64[Tensor, " p"]
    targets: Float64[Tensor, " m"]
    gram: Float64[Tensor, "p p"]
    cross: Float64[Tensor, "p m"]

    @staticmethod
    def none(p: int, m: int) -> "Sums":
        """Of no image."""
        shapes = ((p,), (m,), (p, p), (p, m))
        return Sums(0, *(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def and_of(self, rows: Tensor, targets: Tensor) -> "Sums":
        """With some images more."""
        return Sums(
            self.count + len(rows),
            self.rows + rows.sum(0),
            self.targets + targets.sum(0),
            self.gram.addmm(rows.T, rows),
            self.cross.addmm(rows.T, targets),
        )


@dataclass(frozen=True, eq=False)
class Fit:
    """Least squares on past images: what decisions tell of rows and targets, then each probe's.

    `of_rows` (k, d + 64) and `of_targets` (k, m) take away what the decision tells; `linear` and
    `bent` lead from what is left of a probe's regressors to what is left of the thumbnail.
    `spread` (k, k) tells how well a decision is known: the inverse of its past scatter.
    """

    row_mean: Float64[Tensor, " p"]
    target_mean: Float64[Tensor, " m"]
    of_rows: Float64[Tensor, "k q"]
    of_targets: Float64[Tensor, "k m"]
    linear: Float64[Tensor, "d m"]
    bent: Float64[Tensor, "q m"]
    spread: Float64[Tensor, "k k"]
    count: Float64[Tensor, ""]

    @staticmethod
    def to(sums: Sums, k: int, d: int) -> "Fit":
        """By least squares, bent regressors by ridge with 1 + n / 1000 mean squares."""
        n = sums.count
        row_mean, target_mean = sums.rows / n, sums.targets / n
        gram = sums.gram - n * torch.outer(row_mean, row_mean)
        cross = sums.cross - n * torch.outer(row_mean, target_mean)
        spread = torch.linalg.inv(gram[:k, :k] + _LOOSE * torch.eye(k, dtype=torch.float64))
        told = spread @ torch.cat([gram[:k, k:], cross[:k]], 1)
        of_rows, of_targets = told[:, : gram.shape[0] - k], told[:, gram.shape[0] - k :]
        mixed = gram[k:, :k] @ of_rows
        left = gram[k:, k:] - mixed - mixed.T + of_rows.T @ gram[:k, :k] @ of_rows
        crossed = cross[k:] - of_rows.T @ cross[:k] - gram[k:, :k] @ of_targets
        crossed = crossed + of_rows.T @ gram[:k, :k] @ of_targets
        return Fit(
            row_mean,
            target_mean,
            of_rows,
            of_targets,
            _least_squares(left[:d, :d], crossed[:d]),
            _ridge(left, crossed, n),
            spread,
            torch.tensor(float(n), dtype=torch.float64),
        )

    def scores(self, rows: Tensor, targets: Tensor) -> Float64[Tensor, "probes n"]:
        """Squared cosine of what is left of each thumbnail and its prediction; 0 if they oppose.

        0 also where too little is known of the decision, its leverage above a half: with fewer
        than three past images of a class its mean cannot be taken away.
        """
        k, d = len(self.of_targets), len(self.linear)
        decided = rows[:, :k] - self.row_mean[:k]
        truth = targets - self.target_mean - decided @ self.of_targets
        left = rows[:, k:] - self.row_mean[k:] - decided @ self.of_rows
        leverage = ((decided @ self.spread) * decided).sum(1) + 1 / self.count
        return torch.stack(
            [
                torch.where(leverage <= _LEVERAGE, _agreement(guess, truth), 0.0)
                for guess in (left[:, :d] @ self.linear, left @ self.bent)
            ]
        )


def _least_squares(gram: Tensor, cross: Tensor) -> Tensor:
    """Without a penalty, so that scaling some outputs down hides nothing."""
    values, vectors = torch.linalg.eigh(gram)
    solid = values > _SOLID * values[-1:].clamp_min(0)
    inverse = torch.where(solid, 1 / values.where(solid, torch.ones_like(values)), 0.0)
    return vectors @ (inverse[:, None] * (vectors.T @ cross))


def _ridge(gram: Tensor, cross: Tensor, n: int) -> Tensor:
    size = len(gram)
    penalty = gram.diagonal().mean() * (1 / n + 1e-3) + 1e-9
    return torch.linalg.solve(gram + penalty * torch.eye(size, dtype=torch.float64), cross)


def _agreement(guess: Tensor, truth: Tensor) -> Tensor:
    lengths = guess.norm(dim=1) * truth.norm(dim=1)
    cosine = (guess * truth).sum(1) / lengths.clamp_min(1e-300)
    enough = (truth.norm(dim=1) > _LEAST) & (guess.norm(dim=1) > 1e-9)
    return torch.where(enough, cosine.clamp(0, 1).square(), 0.0)


class OnlineProbe:
    """Scores each image by a fit to images before it, and learns from it.

    Refits after 8, 16, 24, ... images, from 80 on whenever a tenth more has been seen, and not
    after `learns` images: scores do not depend on how the stream is cut into batches. State is
    sums, not images, after the first eight.

    Args:
        learns: images after which the last fit stands.
    """

    def __init__(self, learns: int) -> None:
        self.learns = learns
        self.waiting: Pairs | None = None
        self.frame: Frame | None = None
        self.sums: Sums | None = None
        self.fit: Fit | None = None
        self.images = 0
        self.refit_at = FIRST

    def scores(self, seen: Pairs) -> Float64[Tensor, "probes n"]:
        """One for each probe and image, in [0, 1]; 0 for the first eight.

        Raises:
            BadData: if the pairs have other sizes than those before.
        """
        self._check(seen)
        found: list[Tensor] = []
        start = 0
        while start < len(seen):
            stop = len(seen)
            if self.refit_at > self.images:
                stop = min(stop, start + self.refit_at - self.images)
            found.append(self._some(seen.at(slice(start, stop))))
            start = stop
        return torch.cat(found, 1) if found else torch.zeros(len(PROBES), 0, dtype=torch.float64)

    def _some(self, seen: Pairs) -> Tensor:
        """Up to the next refit."""
        self.images += len(seen)
        if self.frame is None:
            self.waiting = seen if self.waiting is None else _joined(self.waiting, seen)
            if self.images == FIRST:
                self.frame = Frame.of(self.waiting)
                rows, targets = self.frame.rows(self.waiting)
                self.sums = Sums.none(rows.shape[1], targets.shape[1]).and_of(rows, targets)
                self.waiting = None
            scores = torch.zeros(len(PROBES), len(seen), dtype=torch.float64)
        else:
            assert self.fit is not None  # noqa: S101 - made with the frame
            assert self.sums is not None  # noqa: S101 - likewise
            rows, targets = self.frame.rows(seen)
            scores = self.fit.scores(rows, targets)
            if self.images <= self.learns:
                self.sums = self.sums.and_of(rows, targets)
        if self.images == self.refit_at and self.sums is not None:
            self.fit = Fit.to(self.sums, seen.decisions.shape[1], seen.code.shape[1])
            later = max(self.images + FIRST, self.images + self.images // 10)
            self.refit_at = later if later <= self.learns else 0
        return scores

    def numbers(self) -> dict[str, int]:
        """Where it stands, beside `tensors`."""
        return {
            "images": self.images,
            "refit_at": self.refit_at,
            "count": 0 if self.sums is None else self.sums.count,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The parts of its state that exist, by name."""
        parts = {
            "waiting": self.waiting,
            "frame": self.frame,
            "sums": self.sums,
            "fit": self.fit,
        }
        return {
            f"{part}.{field.name}": value
            for part, held in parts.items()
            if held is not None
            for field in fields(held)
            if isinstance(value := getattr(held, field.name), Tensor)
        }

    @staticmethod
    def restored(
        learns: int, numbers: Mapping[str, int], held: Mapping[str, Tensor]
    ) -> "OnlineProbe":
        """The probe whose `numbers` and `tensors` these are.

        Raises:
            KeyError: if one is missing.
        """

        def part(name: str, kind: type[_Part]) -> _Part | None:
            if not any(key.startswith(f"{name}.") for key in held):
                return None
            names = [field.name for field in fields(kind) if field.type is not int]  # type: ignore[arg-type]
            counts = {} if kind is not Sums else {"count": numbers["count"]}
            return kind(**counts, **{field: held[f"{name}.{field}"] for field in names})

        probe = OnlineProbe(learns)
        probe.images, probe.refit_at = numbers["images"], numbers["refit_at"]
        probe.waiting, probe.frame = part("waiting", Pairs), part("frame", Frame)
        probe.sums, probe.fit = part("sums", Sums), part("fit", Fit)
        return probe

    def _check(self, seen: Pairs) -> None:
        if self.waiting is not None:
            before = (self.waiting.decisions.shape[1], self.waiting.code.shape[1])
            size = self.waiting.target.shape[1]
        elif self.fit is not None and self.frame is not None:
            before = (len(self.fit.of_targets), len(self.frame.code_centre))
            size = len(self.frame.target_centre)
        else:
            return
        if before != (seen.decisions.shape[1], seen.code.shape[1]) or size != seen.target.shape[1]:
            raise BadData(
                f"images or outputs changed: {before[1]} outputs and thumbnails of {size} values "
                f"before, now {seen.code.shape[1]} and {seen.target.shape[1]}"
            )


def _joined(one: Pairs, other: Pairs) -> Pairs:
    return Pairs(
        torch.cat([one.decisions, other.decisions]),
        torch.cat([one.code, other.code]),
        torch.cat([one.target, other.target]),
    )
