"""What crosses a cut: the parts, their axes and types, and how they pack into one z."""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Part:
    """One tensor that crosses.

    `shape` is one image's share of the tensor, without its batch axis; `axis` is where the batch
    axis lies in the real tensor; `multiplicity` is how many rows of that axis belong to one image;
    `dtype` is torch's name without the prefix, such as "float32".
    """

    name: str
    shape: tuple[int, ...]
    axis: int = 0
    multiplicity: int = 1
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """Values per image."""
        return prod(self.shape) * self.multiplicity


@dataclass(frozen=True)
class Layout:
    """All parts that cross, in graph order; packs them as one z of shape (n, size) and back."""

    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Values per image over all parts."""
        return sum(part.size for part in self.parts)
