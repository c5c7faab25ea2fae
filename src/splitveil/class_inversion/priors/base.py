"""What the attacker believes images to be: a generator, and perhaps a critic."""

import hashlib
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splitveil.errors import BadModel
from splitveil.models.weights import model_digest
from splitveil.naming import one_line
from splitveil.shapes import Images


@dataclass(frozen=True, eq=False, kw_only=True)
class Prior:
    """A generator from latents to images in [0, 1], both networks frozen and in eval mode.

    Args:
        name: what it is.
        generator: latents (n, latent) to images (n, *shape); where `classes` is given, latents and
            classes (n,).
        latent: values of a latent; they are standard normal where the prior is drawn from.
        shape: channels, height, width.
        classes: how many classes the generator knows; None where it is given none.
        critic: images to one number each, or to one for each class; None where there is none.
        queries: how many images its training asked of the model under attack.
        distilled: whether its training saw that model's answers: such a prior is of one model.
        notes: sentences a reader should see.

    """

    name: str
    generator: nn.Module
    latent: int
    shape: tuple[int, int, int]
    classes: int | None = None
    critic: nn.Module | None = None
    queries: int = 0
    distilled: bool = False
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for network in (self.generator, self.critic):
            if network is not None:
                network.eval().requires_grad_(requires_grad=False)

    def to(self, device: str) -> "Prior":
        """Itself, its networks moved to `device`."""
        self.generator.to(device)
        if self.critic is not None:
            self.critic.to(device)
        return self

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "count latent"]:
        """Latents of images as the prior has them, on the CPU."""
        return torch.randn(count, self.latent, generator=generator)

    def __call__(self, z: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> Images:
        """The images of latents, passing gradient; labels are ignored without classes."""
        given = (z,) if self.classes is None else (z, labels)
        images: Tensor = self.generator(*given)
        return images

    @property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits, over both networks."""
        parts = [model_digest(self.generator), str(self.latent), str(self.classes)]
        if self.critic is not None:
            parts.append(model_digest(self.critic))
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()

    def verify(self, generator: torch.Generator) -> None:
        """Draw two images and refuse a generator that does not do what it says.

        Raises:
            BadModel: if it fails, or its images have another shape or leave [0, 1].
        """
        place = next(iter(self.generator.parameters()), torch.zeros(0)).device
        z = self.draw(2, generator).to(place)
        try:
            with torch.no_grad():
                images = self(z, torch.zeros(2, dtype=torch.int64, device=place))
        except Exception as failure:
            raise BadModel(
                f"prior {self.name} failed on latents of shape {tuple(z.shape)}: "
                f"{one_line(failure)}"
            ) from failure
        if tuple(images.shape) != (2, *self.shape):
            raise BadModel(
                f"prior {self.name} drew {tuple(images.shape)}, expected images (2, "
                f"{', '.join(map(str, self.shape))}): give a generator of that size"
            )
        low, high = float(images.min()), float(images.max())
        if not (low >= -1e-4 and high <= 1 + 1e-4):
            raise BadModel(
                f"prior {self.name} draws pixels from {low:.3g} to {high:.3g}, expected [0, 1]: "
                "wrap it so that it does, as (x + 1) / 2 does for images in [-1, 1]"
            )

    def check(self, shape: tuple[int, ...], classes: int) -> None:
        """Refuse a prior of other images or classes than the model under attack.

        Raises:
            BadModel: naming both.
        """
        if tuple(self.shape) != tuple(shape):
            raise BadModel(
                f"prior {self.name} draws images of shape {tuple(self.shape)}, the model and the "
                f"public images have {tuple(shape)}: give a generator of that size, or train one"
            )
        if self.classes is not None and self.classes != classes:
            raise BadModel(
                f"prior {self.name} knows {self.classes} classes, the model {classes}: train a "
                "prior for this model"
            )
