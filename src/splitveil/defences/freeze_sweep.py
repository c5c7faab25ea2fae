"""The most that can be frozen within a loss of accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from splitveil.defences.base import Component
from splitveil.defences.freeze import Freeze
from splitveil.defences.harden import Hardened
from splitveil.defences.labels import OneHot
from splitveil.errors import BadPlan

Train: TypeAlias = Callable[[Sequence[Component]], Hardened]
_PLAIN = (OneHot(),)


@dataclass(frozen=True, eq=False, kw_only=True)
class FreezeSweep:
    """`plain` froze nothing; `tried` froze more and more; `drop` is the accuracy allowed to go."""

    plain: Hardened
    tried: tuple[tuple[Freeze, Hardened], ...]
    drop: float

    @property
    def chosen(self) -> tuple[Freeze, Hardened] | None:
        """The last tried that is within the drop on validation images; None where none is.

        Chosen on validation images, its accuracy there flatters itself: measure it anew.
        """
        least = self.plain.accuracy.value - self.drop
        within = [one for one in self.tried if one[1].accuracy.value >= least]
        return within[-1] if within else None


def sweep_freezing(
    train: Train,
    settings: Sequence[Freeze],
    *,
    drop: float = 0.05,
    others: Sequence[Component] = _PLAIN,
) -> FreezeSweep:
    """Train without freezing, then with each setting; all are kept, since accuracy may not fall.

    Example:
        `sweep_freezing(lambda parts: harden(model, data, parts, schedule=schedule, rng=rng),
        [Freeze(str(k)) for k in range(1, 6)])`

    Args:
        train: trains with components, from the same start and in the same way each time.
        settings: from the fewest layers to the most.
        drop: the share of accuracy on validation images that may be lost.
        others: components that are trained in every run, without any freezing too.

    Raises:
        BadPlan: if there are no settings, the drop is no share, or `train` refuses one.
    """
    if not settings or not 0 <= drop < 1:
        raise BadPlan(f"a sweep needs settings and a drop in [0, 1), got {len(settings)}, {drop}")
    plain = train(tuple(others))
    tried = tuple((one, train((*others, one))) for one in settings)
    return FreezeSweep(plain=plain, tried=tried, drop=drop)
