"""Labelled images, splits, and what was done to them on the way in."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import torch
from jaxtyping import Int64
from torch import Tensor

from splitveil.data.duplicates import DuplicateReport
from splitveil.errors import BadData
from splitveil.shapes import Images

# their length is checked against the images in every use, not only under a type checker
WholeNumbers: TypeAlias = Int64[Tensor, "*length"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images in [0, 1] of shape (n, c, h, w), their labels if known, and their place in the source.

    `ids` are positions in the file, folder or official set that the images came from; left out,
    they count from zero.

    Raises:
        BadData: if labels or ids are not one an image.
    """

    x: Images
    y: WholeNumbers | None = None
    ids: WholeNumbers = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        if len(self.ids) == 0 and len(self.x):
            object.__setattr__(self, "ids", torch.arange(len(self.x)))
        for what, values in (("labels", self.y), ("ids", self.ids)):
            if values is not None and len(values) != len(self.x):
                raise BadData(
                    f"{len(values)} {what} for {len(self.x)} images: give one for each image"
                )

    def __len__(self) -> int:
        """How many images."""
        return len(self.x)

    def take(self, positions: Tensor) -> "LabelledImages":
        """The images at `positions`, in that order."""
        y = None if self.y is None else self.y[positions]
        return LabelledImages(self.x[positions], y, self.ids[positions])


@dataclass(frozen=True, eq=False)
class Splits:
    """The attacker's auxiliary images, and private ones for choosing and for scoring attacks.

    `conversions` are sentences that say what was done to the pixels; `duplicates` reports images
    that occur in two splits.
    """

    name: str
    licence: str
    auxiliary: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]
    conversions: tuple[str, ...]
    duplicates: DuplicateReport

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return self.test.x.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.test.x.shape[2], self.test.x.shape[3]

    @cached_property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits, over the pixels, labels and order of the three splits."""
        total = hashlib.sha256("\x1f".join(self.class_names).encode())
        for split in (self.auxiliary, self.validation, self.test):
            total.update(repr((tuple(split.x.shape), split.y is None)).encode())
            total.update(split.x.contiguous().numpy().tobytes())
            if split.y is not None:
                total.update(split.y.contiguous().numpy().tobytes())
        return total.hexdigest()

    def without_duplicates(self) -> "Splits":
        """These splits with near-duplicates of a later split removed from the earlier one.

        Test images stay as they are: an auxiliary image goes if it resembles a validation or test
        image, a validation image if it resembles a test image.

        Raises:
            BadData: if nothing would be left of a split.
        """
        kept: dict[str, LabelledImages] = {}
        for name, split in (("auxiliary", self.auxiliary), ("validation", self.validation)):
            stays = torch.ones(len(split), dtype=torch.bool)
            stays[list(self.duplicates.removable.get(name, ()))] = False
            if not stays.any():
                raise BadData(
                    f"every {name} image is a near-duplicate of a later split: give other images"
                )
            kept[name] = split.take(stays.nonzero().flatten())
        note = (
            f"{len(self.auxiliary) - len(kept['auxiliary'])} auxiliary and "
            f"{len(self.validation) - len(kept['validation'])} validation images were removed as "
            "near-duplicates of a later split."
        )
        return replace(
            self,
            auxiliary=kept["auxiliary"],
            validation=kept["validation"],
            conversions=(*self.conversions, note),
            duplicates=DuplicateReport(
                max_bits=self.duplicates.max_bits, max_rms=self.duplicates.max_rms
            ),
        )
