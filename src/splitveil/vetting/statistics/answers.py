"""What statistics look at: images, labels, what is sent, and the last layer where it is seen."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from splitveil.errors import BadData, BadModel
from splitveil.measures.checks import finite
from splitveil.shapes import Labels

SIDE = 32
"""Images larger than this are averaged down to it before anything is read off them."""
LEAST_WITHIN = 10
MOST_DIRECTIONS = 64
_ROUNDING = 1e-7


@dataclass(frozen=True, eq=False)
class LastLayer:
    """The linear layer that makes the outputs: outputs = inputs @ weight.T + bias."""

    inputs: Float64[Tensor, "n d"]
    weight: Float64[Tensor, "k d"]
    bias: Float64[Tensor, " k"]

    @property
    def outputs(self) -> Tensor:
        """What it answers."""
        return self.inputs @ self.weight.T + self.bias


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """Labelled images and what a network makes of them; all in float64 on the CPU.

    `images` (n, d) are flat and at most 32 pixels a side; `sent` (n, f) is what is looked at: the
    outputs or the features of a cut; `scores` (n, k) are class scores, two or more. `last` is None
    where no linear layer makes the outputs; `slopes` (m, k) are the lengths of the gradients of
    each score with respect to the pixels for the first m images, None where there is no gradient.

    Made by `Answers.of`, which checks.
    """

    images: Float64[Tensor, "n d"]
    labels: Labels
    sent: Float64[Tensor, "n f"]
    scores: Float64[Tensor, "n k"]
    last: LastLayer | None = None
    slopes: Float64[Tensor, "m k"] | None = None

    @staticmethod
    def of(
        x: Float[Tensor, "n c h w"],
        labels: Tensor | None,
        outputs: Float[Tensor, "n2 k"],
        *,
        sent: Float[Tensor, "n3 f"] | None = None,
        last: LastLayer | None = None,
        slopes: Tensor | None = None,
    ) -> "Answers":
        """Check images, labels and outputs against each other.

        Probabilities, that is outputs in [0, 1] that sum to 1, are looked at through their
        logarithms. One output is a score against 0.

        Args:
            x: images in [0, 1].
            labels: one class an image, counted from 0.
            outputs: what the whole network answers.
            sent: what crosses at a cut; None looks at the outputs.
            last: the linear layer that makes the outputs, its inputs at these images.
            slopes: see the class.

        Raises:
            BadData: if there are no labels, fewer images than classes or too few to a class, or the
                images are all alike.
            BadModel: if outputs are not finite, or fewer than the labels.
        """
        if labels is None:
            raise BadData(
                "vetting compares images of one class: these have no labels; give one subfolder a "
                "class, or an .npz with x and y"
            )
        y = _checked_labels(x, labels)
        if len(outputs) != len(x) or outputs.ndim != 2 or not outputs.shape[1]:
            raise BadModel(
                f"expected outputs of shape ({len(x)}, classes), got {tuple(outputs.shape)}"
            )
        for values, what in ((outputs, "outputs"), (sent, "features")):
            if values is not None and not bool(values.isfinite().all()):
                bad = int((~values.isfinite()).flatten(1).any(1).sum())
                raise BadModel(
                    f"the model gives NaN or infinite {what} for {bad} of {len(x)} images: check "
                    "its weights, mean and std"
                )
        raw = as_scores(outputs.detach().double().cpu())
        scores = torch.cat([torch.zeros_like(raw), raw], 1) if raw.shape[1] == 1 else raw
        if int(y.max()) >= scores.shape[1]:
            raise BadModel(
                f"the data have label {int(y.max())} but the model gives {outputs.shape[1]} "
                "outputs: give the model's classes= or other data"
            )
        return Answers(
            images=small(x),
            labels=y,
            sent=raw if sent is None else sent.detach().double().cpu(),
            scores=scores,
            last=last,
            slopes=None if slopes is None else slopes.double().cpu(),
        )

    @property
    def accuracy(self) -> float:
        """Share of images whose largest score is their label's."""
        return float((self.scores.argmax(1) == self.labels).double().mean())


def as_scores(outputs: Tensor) -> Tensor:
    """Class scores: the outputs, or centred logarithms of outputs that are probabilities."""
    sums = outputs.sum(1)
    likely = outputs.shape[1] > 1 and bool((outputs >= 0).all() and (sums - 1).abs().max() < 1e-3)
    if not likely:
        return outputs
    logs = outputs.clamp_min(torch.finfo(torch.float32).tiny).log()
    return logs - logs.mean(1, keepdim=True)


def small(x: Tensor) -> Float64[Tensor, "n d"]:
    """Images flat in float64, averaged down to 32 pixels a side where they are larger."""
    rows, columns = (min(side, SIDE) for side in x.shape[-2:])
    if (rows, columns) != tuple(x.shape[-2:]):
        x = torch.cat([adaptive_avg_pool2d(part, (rows, columns)) for part in x.split(250)])
    return x.detach().double().cpu().flatten(1)


def centred(values: Float64[Tensor, "n f"], labels: Int64[Tensor, " n2"]) -> Tensor:
    """Each row less the mean of the rows of its class."""
    counts = labels.bincount().double()
    sums = torch.zeros(len(counts), values.shape[1], dtype=torch.float64)
    sums.index_add_(0, labels, values)
    return values - (sums / counts.clamp_min(1)[:, None])[labels]


def _checked_labels(x: Tensor, labels: Tensor) -> Tensor:
    if len(labels) != len(x) or labels.ndim != 1:
        raise BadData(f"labels of shape {tuple(labels.shape)} for {len(x)} images: give one each")
    finite(x, "images")
    y = labels.cpu().long()
    classes = len(y.unique())
    if len(y) and int(y.min()) < 0:
        raise BadData(f"labels run from {int(y.min())}: count classes from 0")
    if len(x) < classes + LEAST_WITHIN or len(x) <= int(y.max()):
        raise BadData(
            f"{len(x)} images of {classes} classes (largest label {int(y.max()) if len(y) else 0}) "
            f"are too few: give at least {LEAST_WITHIN} more than there are classes, better 50 or "
            "more"
        )
    if bool((x == x[:1]).all()):
        raise BadData(
            "the images are all equal: nothing about them could leak; give different ones"
        )
    flat = small(x)
    if float(centred(flat, y).abs().max()) <= _ROUNDING * float(flat.abs().max()):
        raise BadData("images of one class are all equal: nothing beyond the class could leak")
    return y
