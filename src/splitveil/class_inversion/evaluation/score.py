"""What judges say of reconstructions, with intervals over classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from splitveil.class_inversion.evaluation.distances import (
    kernel_distance,
    nearest_in_class,
    to_class_mean,
)
from splitveil.class_inversion.evaluation.frechet import frechet_distance
from splitveil.class_inversion.evaluation.judges import Judge
from splitveil.class_inversion.evaluation.over_classes import mean_over_classes
from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Images, Labels, PerImage


@runtime_checkable
class IdentityOracle(Protocol):
    """For data whose identities are known numbers: how far an image is from being of its class."""

    def __call__(self, images: Images, labels: Labels) -> PerImage:
        """A distance for each image, 0 for the identity itself."""
        ...


@runtime_checkable
class Guesses(Protocol):
    """What is scored: an `Inversion` or a `Baseline`."""

    @property
    def classes(self) -> Tensor:
        """Classes (n,)."""
        ...

    @property
    def images(self) -> Tensor:
        """Images (n, m, c, h, w)."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Score:
    """Quantities by name, and each class's share of images that every judge takes for it.

    Names are "accuracy@1 by resnet", "accuracy@1 by all", "accuracy@5 by resnet", "nearest
    distance by resnet", "mean distance by resnet", "KID by resnet", "FID by resnet", "identity
    distance". `by_class` holds the shares behind the accuracies, for `net_accuracy` and pairs of
    attacks.
    """

    quantities: Mapping[str, Quantity]
    by_class: Mapping[str, Float[Tensor, " n"]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "quantities": {name: one.to_json() for name, one in self.quantities.items()},
            "by_class": {name: one.tolist() for name, one in self.by_class.items()},
        }


def score(
    found: Guesses,
    judges: Sequence[Judge],
    private: LabelledImages,
    *,
    rng: Rng,
    top5: bool | None = None,
    oracle: IdentityOracle | None = None,
    seen: Sequence[Float[Tensor, "p _"]] | None = None,
) -> Score:
    """Attack accuracy by every judge and by all at once, and distances to private images.

    An image that one judge takes for the class and another does not was made to please the one:
    "by all" counts those that every judge takes for it. Classes without a start count as failures.

    Args:
        found: images for classes, of an attack or a baseline.
        judges: trained on private images that did not train the model under attack.
        private: labelled private images of the classes attacked.
        rng: stream of the resamples.
        top5: whether the class is among a judge's five likeliest; None where there are more than
            five classes.
        oracle: the distance to the true identity, where the data have one.
        seen: each judge's features of all private images, `judge(private.x)[1]`, for who scores
            several attacks; found here where they are not given.

    Raises:
        BadPlan: if there are no judges, accuracy@5 is asked of fewer than five classes, or `seen`
            is not of these judges and images.
        BadData: if a class has no private image, or there are fewer than two classes.
    """
    if not judges:
        raise BadPlan("reconstructions are scored by judges: train one or more")
    if private.y is None:
        raise BadData("private images need labels to compare with")
    _check_seen(seen, judges, private)
    n, m = found.images.shape[:2]
    labels, images, begun = _flat(found)
    wanted = torch.isin(private.y, labels)
    theirs = private.y[wanted]
    hits: list[Tensor] = []
    quantities: dict[str, Quantity] = {}
    by_class: dict[str, Tensor] = {}
    for place, one in enumerate(judges):
        logits, features = one(images)
        others = one(private.x[wanted])[1] if seen is None else seen[place][wanted]
        rank = _rank(logits, labels)
        told = (f"judge {one.name} has accuracy {one.accuracy.value:.3g} on private images",)
        hits.append((rank < 1) & begun)
        by_class[f"accuracy@1 by {one.name}"] = _shares(hits[-1], m)
        five = _five(logits.shape[1], top5)
        if five is not None:
            by_class[f"accuracy@5 by {one.name}"] = _shares((rank < 5) & begun, m)
        for name in [key for key in by_class if key not in quantities]:
            more = told if five is None or "@5" not in name else (*told, five)
            quantities[name] = mean_over_classes(
                by_class[name], rng.child(name), unit="share", images=m, assumptions=more
            )
        quantities |= _distances(one, (features, labels), (others, theirs), m, rng)
    by_class["accuracy@1 by all"] = _shares(torch.stack(hits).all(0), m)
    quantities["accuracy@1 by all"] = mean_over_classes(
        by_class["accuracy@1 by all"],
        rng.child("all"),
        unit="share",
        images=m,
        assumptions=(f"{len(judges)} judges agree",),
    )
    if oracle is not None:
        apart = oracle(images, labels).double().view(n, m).mean(1)
        quantities["identity distance"] = mean_over_classes(
            apart, rng.child("identity"), unit="identity distance", images=m
        )
    return Score(quantities=quantities, by_class=by_class)


def agreed(found: Guesses, judges: Sequence[Judge]) -> Float[Tensor, " n"]:
    """Share of each class's images that every judge takes for it, float64; nothing else is scored.

    Classes without a start count as failures. It is the "accuracy@1 by all" of `score`.

    Raises:
        BadPlan: if there are no judges.
    """
    if not judges:
        raise BadPlan("reconstructions are scored by judges: train one or more")
    labels, images, begun = _flat(found)
    hits = [(_rank(one(images)[0], labels) < 1) & begun for one in judges]
    return _shares(torch.stack(hits).all(0), found.images.shape[1])


def _flat(found: Guesses) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, images, and whether their class had a start, one a row."""
    n, m = found.images.shape[:2]
    begun = getattr(found, "found", torch.ones(n, dtype=torch.bool)).repeat_interleave(m)
    return found.classes.repeat_interleave(m), found.images.flatten(0, 1), begun


def _rank(logits: Tensor, labels: Tensor) -> Tensor:
    """How many classes a judge finds likelier than the image's; equal logits count against it."""
    own = logits.gather(1, labels[:, None])
    return (logits >= own).sum(1) - 1


def _shares(hits: Tensor, m: int) -> Tensor:
    return hits.double().view(-1, m).mean(1)


def _five(classes: int, wanted: bool | None) -> str | None:
    """What a reader must know of accuracy@5, or None where it is not given."""
    if wanted and classes < 5:
        raise BadPlan(
            f"accuracy@5 of {classes} classes makes no sense: leave it out, or attack a model of "
            "more than 5"
        )
    if wanted is False or (wanted is None and classes <= 5):
        return None
    if classes == 5:
        return "trivial: there are five classes, so it is always 1"
    return f"chance is {5 / classes:.3g}"


def _check_seen(
    seen: Sequence[Tensor] | None, judges: Sequence[Judge], private: LabelledImages
) -> None:
    if seen is not None and [len(one) for one in seen] != [len(private)] * len(judges):
        raise BadPlan(
            f"give what each of {len(judges)} judges sees of all {len(private)} private images, "
            "or leave it out"
        )


def _distances(
    judge: Judge,
    made: tuple[Tensor, Tensor],
    private: tuple[Tensor, Tensor],
    m: int,
    rng: Rng,
) -> dict[str, Quantity]:
    """From features and labels of what was made to those of private images."""
    found = {}
    for name, distance in (("nearest", nearest_in_class), ("mean", to_class_mean)):
        apart = distance(*made, *private).view(-1, m).mean(1)
        key = f"{name} distance by {judge.name}"
        found[key] = mean_over_classes(
            apart,
            rng.child(key),
            unit="squared feature distance",
            images=m,
            assumptions=(f"{len(private[1])} private images",),
        )
    if len(made[1].unique()) >= 3:
        found[f"KID by {judge.name}"] = kernel_distance(*made, *private)
        found[f"FID by {judge.name}"] = frechet_distance(*made, *private)
    return found
