"""Between what an inverse network stands: shapes of features, of targets, and what else it sees."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ends:
    """Features (c, h, w) or (f,) in, a target of `target` out, beside guesses and a class.

    `guesses` counts the first guesses the network is given, `classes` the rows of its class table.
    """

    features: tuple[int, ...]
    target: tuple[int, ...]
    guesses: int
    classes: int

    @property
    def are_maps(self) -> bool:
        """Whether features lie on a grid."""
        return len(self.features) == 3

    @property
    def is_image(self) -> bool:
        """Whether the target has channels, rows and columns."""
        return len(self.target) == 3
