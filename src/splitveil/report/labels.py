"""Finds room for names beside points, and leaves a name out rather than print it over another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle on the page."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Whether the two overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def within(self, other: "Box") -> bool:
        """Whether this lies wholly inside the other."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


def _candidates(x: float, y: float, width: float) -> Iterator[tuple[Box, float, float, str]]:
    for dy in (4.0, -7.0, 15.0):
        base = y + dy
        yield Box(x + 8, base - 10, x + 8 + width, base + 3), x + 8, base, "start"
        yield Box(x - 8 - width, base - 10, x - 8, base + 3), x - 8, base, "end"
    for base in (y - 11, y + 20):
        yield Box(x - width / 2, base - 10, x + width / 2, base + 3), x, base, "middle"


def place_tags(
    marks: Sequence[tuple[float, float, str]],
    room: Box,
    width_of: Callable[[str], float],
) -> Iterator[tuple[float, float, str, str]]:
    """Yield (x, y, anchor, text) for each named mark that finds room, first come first served.

    No name covers a mark, another name, or the edge of `room`.
    """
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y, _ in marks]
    for x, y, text in marks:
        if not text:
            continue
        for box, left, base, anchor in _candidates(x, y, width_of(text)):
            if box.within(room) and not any(box.meets(other) for other in taken):
                taken.append(box)
                yield left, base, anchor, text
                break
