"""Vet a network: measure it, compare it with honest ones, answer."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from splitveil.data import LabelledImages
from splitveil.errors import BadModel, BadPlan
from splitveil.measures import accuracy
from splitveil.models import PixelModel, reference
from splitveil.naming import is_reference, one_line, resolve
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.vetting.looking import look
from splitveil.vetting.null import Null, null_from
from splitveil.vetting.shadows import FAMILIES, Recipe, Shadow, small_network, train_shadows
from splitveil.vetting.statistics import Answers, measure
from splitveil.vetting.verdict import Vetting, judge

MOST_IMAGES = 1000
_RNG = Rng(0, ("vetting",))


@dataclass(frozen=True, eq=False)
class Measured:
    """A network's statistics, its accuracy at the same images, and what could not be had."""

    statistics: Mapping[str, Quantity]
    accuracy: Quantity
    notes: tuple[str, ...]


def measured(
    network: nn.Module,
    images: LabelledImages,
    *,
    cut: str | None = None,
    features: Tensor | None = None,
    rng: Rng = _RNG,
) -> Measured:
    """Every statistic of one network at labelled images; see `look` for the arguments."""
    answers, notes = look(network, images, cut=cut, features=features)
    return Measured(measure(answers, rng), _accuracy(answers), notes)


def vet(
    network: nn.Module,
    images: LabelledImages,
    null: Null,
    *,
    cut: str | None = None,
    features: Tensor | None = None,
    level: float = 0.05,
    rng: Rng = _RNG,
) -> tuple[Vetting, tuple[str, ...]]:
    """Is a network consistent with honest ones? Seconds on one core.

    Args:
        network: images in [0, 1] to class scores.
        images: labelled; a thousand are plenty, 50 the least that make sense.
        null: honest networks measured at the same images, from `shadow_null` or shipped.
        cut: name or id of a cut to look at; None looks at the outputs.
        features: what crosses there, where the network cannot be traced.
        level: see `judge`.
        rng: stream of intervals; the null's was the same.

    Returns:
        The answer, and sentences on what could not be measured.

    Raises:
        BadData, BadModel, UnknownName, UnsupportedCut: as `look`.
        BadPlan: as `judge`.
    """
    found = measured(network, images, cut=cut, features=features, rng=rng)
    vetting = judge(
        found.statistics,
        found.accuracy,
        null,
        images=images_digest(images),
        cut=cut or "",
        level=level,
    )
    return vetting, found.notes


def shadow_null(
    make: Callable[[Recipe], nn.Module],
    training: LabelledImages,
    images: LabelledImages,
    *,
    family: str,
    count: int = 39,
    epochs: int = 10,
    cut: str | None = None,
    seed: int = 0,
    say: Callable[[Shadow, Measured], None] = lambda shadow, found: None,
) -> Null:
    """Train honest networks on the spot and measure them at the images to be vetted at.

    Args:
        make: an untrained network for a recipe; see `shadow_maker`.
        training: labelled images to train on, none of those vetted at.
        images: those vetted at.
        family: what the networks are called in the result.
        count: how many; 39 are the least that allow p = 0.05 after correction for two tests.
        epochs: passes over `training`.
        cut: where to look, as in `vet`; the shadows need a cut of that name.
        seed: of recipes, weights and order.
        say: is told of each.

    Raises:
        BadData: if images have no labels or do not vary.
        BadPlan: if there is nothing to train, or training diverges.
        UnknownName: if the shadows have no such cut.
    """
    rows = []
    for shadow in train_shadows(
        make, training, count=count, epochs=epochs, rng=Rng(seed, ("vetting shadows", family))
    ):
        found = measured(shadow.network, images, cut=cut)
        rows.append((found.statistics, found.accuracy.value))
        say(shadow, found)
    return null_from(
        rows,
        images=images_digest(images),
        family=family,
        how=f"{epochs} epochs on {len(training)} images, by cross-entropy, recipes drawn",
        command="trained on the spot",
        seed=seed,
        cut=cut or "",
    )


def shadow_maker(build: str, *, channels: int, classes: int) -> Callable[[Recipe], nn.Module]:
    """How to make an untrained network of a build.

    Args:
        build: "plain", "residual", "embedding" or "tokens"; a reference network's name; or
            `package.module:factory`, which is executed. What a factory gives is initialised anew:
            weights it may have loaded are no start for an honest network.
        channels: of the images.
        classes: how many outputs.

    Raises:
        BadModel: if a factory fails or its layers cannot be initialised anew.
        BadPlan: if there is no such build.
    """
    if build in FAMILIES:
        return lambda recipe: small_network(build, channels, classes, recipe.width)
    if build in reference.__all__:
        whole = getattr(reference, build)
        return lambda recipe: whole(channels=channels, classes=classes)
    if not is_reference(build):
        known = ", ".join((*FAMILIES, *reference.__all__))
        raise BadPlan(
            f"shadows of build '{build}': expected one of {known}, or package.module:factory"
        )
    factory = resolve(build, what="shadow", error=BadModel)

    def make(recipe: Recipe) -> nn.Module:
        try:
            network = factory()
        except Exception as failure:
            raise BadModel(f"shadow factory {build} failed: {one_line(failure)}") from failure
        if not isinstance(network, nn.Module):
            raise BadModel(f"shadow factory {build} gave a {type(network).__name__}, no module")
        return _anew(network.network if isinstance(network, PixelModel) else network, build)

    return make


def images_digest(images: LabelledImages) -> str:
    """SHA-256 over the shape, 8-bit pixels and labels: the same images give the same text."""
    told = hashlib.sha256(repr(tuple(images.x.shape)).encode())
    told.update(images.x.mul(255).round().byte().contiguous().numpy().tobytes())
    if images.y is not None:
        told.update(images.y.contiguous().numpy().tobytes())
    return told.hexdigest()


def _accuracy(answers: Answers) -> Quantity:
    return accuracy(answers.scores, answers.labels)


def _anew(network: nn.Module, build: str) -> nn.Module:
    """The network with every layer initialised again, from the global generator."""
    renewed: set[int] = set()
    for part in network.modules():
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(reset):
            reset()
            renewed.update(id(p) for p in part.parameters(recurse=False))
    left = [name for name, p in network.named_parameters() if id(p) not in renewed]
    if left:
        raise BadModel(
            f"shadows of {build} cannot be initialised anew: {left[0]} belongs to a module without "
            "reset_parameters; add it, or choose other shadows"
        )
    return network
