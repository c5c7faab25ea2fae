"""Who a picture is of, told by pictures of everyone there is and no classifier."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from splitveil.errors import BadData, BadPlan
from splitveil.shapes import Images, Labels, PerImage


@dataclass(frozen=True, kw_only=True)
class PictureOracle(ABC):
    """√(1 - r²), r the largest correlation, 0 or more, with known pictures of an identity.

    Both are moved to the middle of their ink: blind to shade, contrast and place. 0 for a known
    picture itself, 1 for one that resembles none.

    Raises:
        BadPlan: if there are no templates.
    """

    templates: int = 24

    def __post_init__(self) -> None:
        if self.templates < 1:
            raise BadPlan(f"an oracle needs one template or more, got {self.templates}")

    @abstractmethod
    def known(self, size: int) -> Tensor:
        """Standardised pictures (identities, pictures, values), see `standard`."""

    def __call__(self, images: Images, labels: Labels) -> PerImage:
        """A distance for each image, float64."""
        return self.distances(images)[torch.arange(len(images)), labels]

    def named(self, images: Images) -> Labels:
        """The identity that each image is nearest to: a judge that nobody can train against."""
        return self.distances(images).argmin(1)

    def distances(self, images: Images) -> Float[Tensor, "n identities"]:
        """Distances to all identities, float64.

        Raises:
            BadData: if images are not square, or have other channels than the known pictures.
        """
        if images.shape[2] != images.shape[3]:
            raise BadData(f"the known pictures are square, got images {tuple(images.shape[1:])}")
        known = self.known(images.shape[2])
        if known.shape[2] != images[0].numel():
            raise BadData(
                f"the known pictures have {known.shape[2]} values, got images "
                f"{tuple(images.shape[1:])}: give as many channels"
            )
        found = [
            (standard(centred(part)) @ known.flatten(0, 1).T).unflatten(1, known.shape[:2])
            for part in images.detach().cpu().float().split(256)
        ]
        nearest = torch.cat(found).amax(2).double().clamp(0, 1)
        return (1 - nearest.square()).sqrt()


def centred(x: Images) -> Images:
    """Pictures moved so that the middle of what is darker ink than average is theirs."""
    ink = (x - x.mean((2, 3), keepdim=True)).relu().sum(1)
    places = (torch.arange(x.shape[2]).float() + 0.5) / x.shape[2] * 2 - 1
    total = ink.sum((1, 2)).clamp(min=1e-6)
    across, down = ink.sum(1) @ places / total, ink.sum(2) @ places / total
    still = torch.eye(2).expand(len(x), 2, 2)
    theta = torch.cat([still, torch.stack([across, down], 1)[:, :, None]], 2)
    grid = affine_grid(theta, [*x.shape], False)
    return grid_sample(x, grid, padding_mode="border", align_corners=False)


def standard(x: Images) -> Tensor:
    """Pixels as rows of mean 0 and length 1; constant ones become 0."""
    rows = x.flatten(1)
    apart = rows - rows.mean(1, keepdim=True)
    return apart / apart.norm(dim=1, keepdim=True).clamp(min=1e-6)
