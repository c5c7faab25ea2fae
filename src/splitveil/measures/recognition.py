"""What an independent network sees in a reconstruction."""

import math

import torch
from torch import Tensor, nn

from splitveil.errors import BadData, BadModel
from splitveil.estimators.order_statistics import share_interval
from splitveil.measures.checks import Originals, OtherLabels, finite, same_shape
from splitveil.measures.reconstruction import mean_of
from splitveil.models import predict
from splitveil.naming import one_line
from splitveil.nets.modes import evaluating
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Features, Images, PerImage

_BATCH = 100


def recognition(
    reconstruction: Images,
    original: Originals,
    network: nn.Module,
    *,
    labels: OtherLabels | None = None,
) -> Quantity:
    """Share of reconstructions on which `network` gives the top-1 answer of the original.

    With labels: the share on which it gives the label, among the images whose original it gets
    right; a reconstruction then cannot win by repeating an error. The network must not be the one
    under attack, nor one the attack was trained with: images made to please a network are named by
    it as it is told, and nobody else recognises them. Use two networks, and distrust a value that
    only one of them gives.

    Args:
        reconstruction: images with values in [0, 1].
        original: the images they stand for.
        network: images in [0, 1] to logits; run in evaluation mode and given back as it was.
        labels: true classes, as the network's outputs are numbered.

    Returns:
        Unit: share in [0, 1], with its exact binomial interval (95 %). Kind: measured. A network
        that gives one answer to everything scores 1: the assumptions name its most frequent
        answer's share of the originals.

    Raises:
        BadData: if shapes differ, there are no images, values are not finite, a label has no
            output, or the network gets no original right.
        BadModel: if the network fails or gives no finite logits.
    """
    _check(reconstruction, original)
    with evaluating(network):
        seen = predict(network, reconstruction, batch=_BATCH).argmax(1).cpu()
        logits = predict(network, original, batch=_BATCH)
    truth = logits.argmax(1).cpu()
    if labels is not None:
        seen, truth = _only_right(seen, truth, labels, logits.shape[1])
    interval = share_interval(float((seen == truth).sum()), len(truth))
    common = float(truth.bincount().max()) / len(truth)
    return Quantity(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit="share",
        kind=Kind.MEASURED,
        n=len(truth),
        assumptions=(
            "images are independent draws",
            "the network is independent of the attack",
            f"its most frequent answer has {common:.3g} of the originals",
        ),
    )


def feature_distance_per_image(
    reconstruction: Images, original: Originals, network: nn.Module
) -> PerImage:
    """Cosine distance 1 - <f(x̂), f(x)> / (|f(x̂)| |f(x)|) of each image's features.

    Args:
        reconstruction: images with values in [0, 1].
        original: the images they stand for.
        network: images in [0, 1] to features, of any shape an image.

    Returns:
        Float64 in [0, 2]; 1 where the features are orthogonal, or either is zero.

    Raises:
        BadData: if shapes differ, there are no images, or values are not finite.
        BadModel: if the network fails or gives no finite features, one row an image.
    """
    _check(reconstruction, original)
    first, second = _features(network, reconstruction), _features(network, original)
    if first.shape != second.shape:
        raise BadModel("the network's features differ in shape between two equal batches")
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=1, eps=1e-30)
    return (1 - cosine).clamp(0.0, 2.0)


def feature_distance(
    reconstruction: Images, original: Originals, network: nn.Module, rng: Rng
) -> Quantity:
    """Mean over images of `feature_distance_per_image`. Unit: cosine distance. Kind: measured.

    Features of unrelated photographs are rarely orthogonal: compare with the floor's distance.

    Raises:
        BadData: as `feature_distance_per_image`.
        BadModel: as `feature_distance_per_image`.
    """
    values = feature_distance_per_image(reconstruction, original, network)
    words = ("the network is independent of the attack",)
    return mean_of(values, rng, unit="cosine distance", support=(0.0, 2.0), assumptions=words)


def perceptual_distance(
    reconstruction: Images, original: Originals, network: nn.Module, rng: Rng, *, unit: str
) -> Quantity:
    """Mean over images of a distance that a network of two images gives, such as LPIPS.

    No weights ship with splitveil and none are downloaded: load yours into a module that takes two
    batches in [0, 1] and gives one number an image. Kind: measured.

    Args:
        reconstruction: images with values in [0, 1].
        original: the images they stand for.
        network: called as network(x̂, x).
        rng: stream of the bootstrap.
        unit: name of the distance, with its network, as "lpips (alex)".

    Raises:
        BadData: if shapes differ, there are no images, or values are not finite.
        BadModel: if the network fails or gives no finite number for each image.
    """
    _check(reconstruction, original)
    parts: list[Tensor] = []
    with evaluating(network):
        for x, y in zip(reconstruction.split(_BATCH), original.split(_BATCH), strict=True):
            try:
                part = network(x, y)
            except Exception as failure:
                raise BadModel(
                    f"the distance network fails on two batches of shape {tuple(x.shape)}: "
                    f"{one_line(failure)}"
                ) from failure
            if not isinstance(part, Tensor) or part.numel() != len(x):
                raise BadModel(
                    f"the distance network must give {len(x)} numbers for {len(x)} pairs, got "
                    f"{tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__}"
                )
            parts.append(part.reshape(-1).double().cpu())
    values = torch.cat(parts)
    if not values.isfinite().all():
        raise BadModel("the distance network gives NaN or infinite values: check its weights")
    return mean_of(values, rng, unit=unit, support=(-math.inf, math.inf))


def _features(network: nn.Module, x: Images) -> Features:
    with evaluating(network):
        try:
            parts = [network(part) for part in x.split(_BATCH)]
        except Exception as failure:
            raise BadModel(
                f"the network fails on images of shape {tuple(x.shape[1:])}: {one_line(failure)}"
            ) from failure
    if not all(isinstance(part, Tensor) and part.ndim > 1 for part in parts):
        raise BadModel("the network must give one tensor of features, the first axis images")
    features = torch.cat(parts).flatten(1).double().cpu()
    if len(features) != len(x) or not features.isfinite().all():
        raise BadModel(
            f"the network gives {len(features)} rows of features for {len(x)} images, or values "
            "that are not finite: check its weights"
        )
    return features


def _only_right(
    seen: Tensor, answers: Tensor, labels: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """Reconstructions' answers and labels where the network names the original rightly.

    Raises:
        BadData: if counts differ, a label has no output, or no original is named rightly.
    """
    truth = labels.cpu()
    if len(truth) != len(answers):
        raise BadData(f"{len(truth)} labels for {len(answers)} images: give one each")
    if not 0 <= int(truth.min()) <= int(truth.max()) < classes:
        raise BadData(
            f"labels run from {int(truth.min())} to {int(truth.max())}, the network has {classes} "
            "outputs: check the class order"
        )
    right = answers == truth
    if not right.any():
        raise BadData(
            "the network names no original rightly: check its class order, or leave labels out"
        )
    return seen[right], truth[right]


def _check(reconstruction: Tensor, original: Tensor) -> None:
    same_shape(reconstruction, original)
    finite(reconstruction, "reconstructions")
    finite(original, "originals")
