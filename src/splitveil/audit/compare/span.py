"""A written defence of which one setting is a range from weak to strong."""

import re
from dataclasses import dataclass

from splitveil.errors import BadPlan

_NUMBER = r"(\d*\.?\d+(?:[eE][+-]?\d+)?)"
_RANGE = re.compile(rf"{_NUMBER}\.\.{_NUMBER}")


@dataclass(frozen=True)
class Span:
    """`before` weak..strong `after`, such as `noise(0.05..2)+cem(rate=0.1)` or `bottleneck(32..2)`.

    Settings between the ends are spaced geometrically: place 0 is the weak end, 1 the strong one.
    Where both ends are whole numbers, so is what lies between. A defence without a range is one
    setting, wherever it is asked for.
    """

    before: str
    after: str = ""
    weak: float = 1.0
    strong: float = 1.0
    whole: bool = False

    @staticmethod
    def read(text: str) -> "Span":
        """The span behind a defence as people write it.

        Example:
            >>> Span.read("noise(0.1..10)+onehot").at(0.5)
            'noise(1)+onehot'

        Raises:
            BadPlan: if there are several ranges, or an end is not positive.
        """
        found = list(_RANGE.finditer(text))
        if not found:
            return Span(text.strip())
        if len(found) > 1:
            raise BadPlan(
                f"'{text}' has {len(found)} ranges: give one strength to vary and fix the others"
            )
        (match,) = found
        weak, strong = float(match[1]), float(match[2])
        if not (weak > 0 and strong > 0):
            raise BadPlan(
                f"'{match[0]}' in '{text}' has an end at 0, which geometric steps never reach: "
                "begin at a small strength"
            )
        whole = match[1].isdigit() and match[2].isdigit()
        before, after = text[: match.start()].lstrip(), text[match.end() :].rstrip()
        return Span(before, after, weak, strong, whole)

    @property
    def varies(self) -> bool:
        """Whether there is anything to seek."""
        return self.weak != self.strong

    def at(self, place: float) -> str:
        """The defence at a place from 0, weak, to 1, strong."""
        if not self.varies:
            return str(self)
        value = self.weak * (self.strong / self.weak) ** place
        return f"{self.before}{self._written(value)}{self.after}"

    def _written(self, value: float) -> str:
        return str(round(value)) if self.whole else f"{value:.4g}"

    def __str__(self) -> str:
        if not self.after:
            return self.before
        if not self.varies:
            return f"{self.before}{self._written(self.weak)}{self.after}"
        return f"{self.before}{self._written(self.weak)}..{self._written(self.strong)}{self.after}"
