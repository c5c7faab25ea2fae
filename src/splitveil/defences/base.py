"""What a defence is made of: components that one training puts together."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from splitveil.data.types import LabelledImages
from splitveil.defences.alterations import Beginning, Reduction
from splitveil.errors import BadPlan
from splitveil.partition import Cut, Partition
from splitveil.partition.layout import Layout
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.release import ClippedGaussian, Release, ReleaseRecipe, ShapedGaussian
from splitveil.rng import Rng
from splitveil.shapes import Features, Images, Labels, Logits

_BATCH = 250
PerBatch: TypeAlias = Callable[["Batch"], Tensor]
Send: TypeAlias = Callable[[Features, torch.Generator], tuple[Features, Tensor | None]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """One batch: images, labels, the network's answers, how far training has come.

    `progress` in [0, 1) is the share of the epochs done; `training` is False on validation images.
    With a cut, `z` (n, f) are the packed clean features there, with gradient; `sent` (n, f) is what
    the release made of them, with fresh noise, and what `logits` answer to; `noise` is the standard
    deviation of its Gaussian noise in feature units, a scalar with gradient, the least where values
    differ in theirs, None without such noise. All come from one forward pass. Draw randomness from
    `generator` alone.
    """

    x: Images
    y: Labels
    logits: Logits
    progress: float
    z: Features | None = None
    sent: Features | None = None
    noise: Tensor | None = None
    generator: torch.Generator | None = None
    training: bool = True

    @property
    def features(self) -> Features:
        """Z, where the training has a cut.

        Raises:
            BadPlan: if it has none.
        """
        if self.z is None:
            raise BadPlan("there are no features without a cut: give one")
        return self.z

    def detached(self) -> "Batch":
        """The same without gradients, for adversaries and observers."""
        given = {
            name: None if value is None else value.detach()
            for name, value in (("z", self.z), ("sent", self.sent), ("noise", self.noise))
        }
        return replace(self, x=self.x.detach(), logits=self.logits.detach(), **given)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """What a component may look at before training.

    `source` is the network in eval; `x` (n, ...) and `y` (n) are training images to calibrate on;
    `rng` is the component's own stream. `cut`, `layout` and `encode` (images to packed features, in
    eval, without gradient) are None where the hardening has no cut; `layout` and `encode` are those
    behind the structures of all components once `prepare` is called, and behind those of the
    components before it when `structure` is. `own` is what this component gave as structure.
    """

    source: nn.Module
    classes: int
    class_names: tuple[str, ...]
    x: Images | None = None
    y: Labels | None = None
    rng: Rng = field(default_factory=lambda: Rng(0))
    cut: Cut | None = None
    layout: Layout | None = None
    encode: Callable[[Images], Features] | None = None
    own: "Structure | None" = None

    def crossing(self, component: "Component") -> Layout:
        """The layout of what crosses.

        Raises:
            BadPlan: if the hardening has no cut.
        """
        if self.layout is None:
            raise BadPlan(f"{component} acts on what crosses a cut: name one, such as cut='pool2'")
        return self.layout

    def shape(self, component: "Component") -> tuple[int, ...]:
        """The shape (c, h, w), (t, d) or (d) of the one tensor that crosses, per image.

        Raises:
            BadPlan: if there is no cut, or several tensors cross, or not by images.
        """
        parts = self.crossing(component).parts
        if len(parts) > 1 or parts[0].multiplicity > 1 or parts[0].axis:
            assert self.cut is not None  # noqa: S101 - a layout comes from a cut
            raise BadPlan(
                f"{component} needs one tensor an image at the cut, {self.cut.name} has "
                f"{len(parts)}: choose a cut between blocks"
            )
        return parts[0].shape

    def features(self, component: "Component") -> Features:
        """Packed features of `x` at the cut.

        Raises:
            BadPlan: if there is no cut.
        """
        self.crossing(component)
        assert self.encode is not None and self.x is not None  # noqa: PT018, S101 - with a cut
        return self.encode(self.x)


@dataclass(frozen=True, eq=False, kw_only=True)
class Adversary:
    """A network trained against: before each step of the defended network it takes `steps` own.

    `loss` is minimised over `network` by Adam at `learning_rate`, features being constants; the
    part's term may then use `network`, whose weights are constants there.
    """

    network: nn.Module
    loss: PerBatch
    steps: int = 1
    learning_rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One number about a release that ships: which component's, what it says, and what it is."""

    component: str
    text: str
    quantity: Quantity

    def to_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "component": self.component,
            "text": self.text,
            "quantity": self.quantity.to_json(),
        }

    def __str__(self) -> str:
        what = str(self.quantity.kind)
        if self.quantity.kind is Kind.CONFIDENCE:
            what += f" {100 * self.quantity.level:g} %"
        counted = f", n = {self.quantity.n}" if self.quantity.n else ""
        value = f"{self.quantity.value:.4g} {self.quantity.unit}"
        if self.quantity.direction is Direction.ESTIMATE:
            value = str(self.quantity)
        return f"{self.component}: {self.text} {value} ({what}{counted})"


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitted:
    """A fitted release, and what is to be said of it."""

    release: Release
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """What a release may be fitted to: images, features there, and both halves, in eval.

    `x`, `y` and `z` are training images, labels and what reaches this release of them; `head` maps
    images to such z and `tail` what is sent to logits, both with gradient where it is enabled.
    `fresh` are labelled images that nothing was trained or chosen on. They are for `final`, which
    is true once, for the network that ships: before, only their count and pixels may be looked at.
    """

    x: Images
    y: Labels
    z: Features
    head: Callable[[Images], Features]
    tail: Callable[[Features], Logits]
    fresh: LabelledImages
    rng: Rng
    final: bool = True

    @staticmethod
    def of(
        partition: Partition, images: LabelledImages, fresh: LabelledImages, rng: Rng
    ) -> "Calibration":
        """That of a partition as it stands, without a training.

        Raises:
            BadPlan: if the images have no labels.
        """
        if images.y is None or fresh.y is None:
            raise BadPlan("a release is fitted to labelled images: give labels")
        with torch.no_grad():
            z = torch.cat([partition.features(part) for part in images.x.split(_BATCH)])
        return Calibration(
            x=images.x,
            y=images.y,
            z=z,
            head=partition.head,
            tail=partition.tail,
            fresh=fresh,
            rng=rng,
        )


Fit: TypeAlias = Callable[[Calibration], Fitted]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedRelease:
    """A release that is in place while training.

    `send(z, generator)` gives what is sent, differentiable in z, and the standard deviation of its
    Gaussian noise in feature units or None; on a batch it is what `recipe.fit(z)` would send.
    `recipe` is fitted to training features of the network, after every epoch for validation and
    once for what ships. Where features alone do not settle it, give a function of `Calibration`:
    it may leave in buffers of `Part.modules` what `send` takes from it until the next epoch.
    """

    recipe: ReleaseRecipe | Fit
    send: Send
    gaussian: bool = False

    def fitted(self, calibration: Calibration) -> Fitted:
        """The release as it would ship."""
        if isinstance(self.recipe, ReleaseRecipe):
            return Fitted(release=self.recipe.fit(calibration.z))
        return self.recipe(calibration)


@dataclass(frozen=True, eq=False, kw_only=True)
class Structure:
    """A change of what crosses: `tail(cloud(device(head(x))))`.

    Both map one tensor (n, *shape) and come from the catalogue of `splitveil.nets.carriers`, by
    which they are built again when weights are loaded.
    """

    device: nn.Module
    cloud: nn.Module


@dataclass(frozen=True, eq=False, kw_only=True)
class Part:
    """What a component adds to one training; whatever is None or empty it leaves to others.

    The loss is mean_i w_i (-Σ_c q_ic ln p_ic) + Σ terms. `targets` gives q (n, k), at most one
    component's; `weights` gives w (n), several multiply; `term` gives a scalar, and `validation`
    another in its place on validation images. `groups` (k) maps classes to what counts as the same
    answer; `notes` are sentences a reader should see.

    `release` stands at the cut, several in order. `adversaries` step before the loss is taken;
    `modules` is trained with the network where it has parameters, and its buffers are the
    component's memory. Both are kept in checkpoints and never ship. `observe` is told of every
    training batch, without gradients, after the network's step; write what must outlive a kill to
    buffers of `modules`. `frozen` are names of parameters, buffers or modules of the network that
    end as bit-equal to the source, modules being in eval throughout. `reduction` takes out of the
    network what training made needless, at most one component's. `needs_noise` refuses a
    training without Gaussian noise at the cut. With `slopes` training images carry gradient, so
    that a term may differentiate z by x; give it a `validation` in its place.
    """

    targets: PerBatch | None = None
    weights: PerBatch | None = None
    term: PerBatch | None = None
    validation: PerBatch | None = None
    groups: Tensor | None = None
    release: TrainedRelease | None = None
    adversaries: tuple[Adversary, ...] = ()
    modules: nn.Module | None = None
    observe: Callable[[Batch], None] | None = None
    frozen: tuple[str, ...] = ()
    reduction: Reduction | None = None
    slopes: bool = False
    needs_noise: bool = False
    notes: tuple[str, ...] = ()


class Component(ABC):
    """One component of a defence: an immutable dataclass of settings whose `repr` rebuilds it.

    Components know nothing of each other; `harden` trains one network with all of them.
    """

    name: ClassVar[str]
    reference: ClassVar[str]

    def begin(self, setting: Setting) -> Beginning | None:
        """The network to start from, asked first of all; None for `setting.source`.

        Raises:
            BadPlan: if it does not fit the source.
        """
        return None

    def structure(self, setting: Setting) -> Structure | None:
        """How this component changes what crosses, before any is prepared; None if not at all.

        Raises:
            BadPlan: if the cut cannot carry it.
        """
        return None

    @abstractmethod
    def prepare(self, setting: Setting) -> Part:
        """What this component adds to the training of a network like `setting.source`.

        Raises:
            BadPlan: if the settings cannot be met by this network.
        """

    @abstractmethod
    def __str__(self) -> str:
        """The form `parse_components` reads."""


def written(component: Component) -> str:
    """`name(required,...,other=value)`, settings at their default left out."""
    shown = []
    for setting in fields(component):  # type: ignore[arg-type]
        value = getattr(component, setting.name)
        text = f"{value:g}" if isinstance(value, float) else str(value)
        if setting.default is MISSING:
            shown.append(text)
        elif value != setting.default:
            shown.append(f"{setting.name}={text}")
    return f"{component.name}({','.join(shown)})" if shown else component.name


def least_noise(release: Release, like: Features) -> Tensor | None:
    """The least deviation of a release's Gaussian noise over all values; None without any."""
    if isinstance(release, ClippedGaussian):
        return like.new_tensor(release.sigma)
    return release.sigma.min().to(like) if isinstance(release, ShapedGaussian) else None
