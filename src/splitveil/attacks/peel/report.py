"""What PEEL says of its own work: all of it visible to the attacker."""

import math
from dataclasses import dataclass, field

from torch import Tensor

_EXPLAINED = 1e-2


@dataclass(frozen=True)
class Count:
    """Outputs against unknowns, known before any search; `limited` where the prior decides."""

    start: str
    outputs: int
    unknowns: int

    @property
    def ratio(self) -> float:
        """Outputs over unknowns."""
        return self.outputs / self.unknowns

    @property
    def limited(self) -> bool:
        """Whether there are fewer outputs than unknowns, so that many images explain them."""
        return self.outputs < self.unknowns

    def __str__(self) -> str:
        """`8192 outputs / 3072 unknowns = 2.67`, and a warning where it is below 1."""
        told = f"{self.outputs} outputs / {self.unknowns} unknowns = {self.ratio:.3g}"
        return f"{told}, prior-limited" if self.limited else told


@dataclass(frozen=True)
class StageReport:
    """One stage: its size, how many images it was solved for, and how well.

    `equations` counts rows that must be 0, mean per image: a ReLU leaves one where it passed.
    `misfit` is the median and worst |residual| / |outputs|; `sigma` the least and greatest singular
    value of the Jacobian (Lanczos, so the least is an upper estimate) and `amplification` the
    predicted mean squared error of the input per unit of noise variance on the outputs, both None
    where not asked for.
    """

    name: str
    kind: str
    outputs: int
    unknowns: int
    equations: float
    images: int
    solved: int
    misfit: tuple[float, float]
    steps: float
    products: float
    seconds: float
    sigma: tuple[float, float] | None = None
    amplification: float | None = None

    def __str__(self) -> str:
        """One line."""
        line = (
            f"{self.name} ({self.kind}): {self.outputs}/{self.unknowns}, {self.solved} of "
            f"{self.images} solved, misfit {self.misfit[0]:.1e} (worst {self.misfit[1]:.1e}), "
            f"{self.steps:.1f} steps, {self.products:.0f} products, {self.seconds:.2f} s"
        )
        if self.amplification is None or self.sigma is None:
            return line
        low, high = self.sigma
        return f"{line}, singular values {low:.2g} to {high:.2g}, noise x {self.amplification:.2g}"


@dataclass(frozen=True, eq=False)
class PeelReport:
    """A whole run: `count` first, stages in the order they were peeled, where chaining stopped.

    `misfit` is the final |f(x) - z| / |z| per image, through the whole head. `stopped` names the
    first stage that could not be peeled by itself, None if all could; what lies before it was
    solved jointly for the image.
    """

    count: Count
    stages: tuple[StageReport, ...]
    stopped: str | None
    misfit: Tensor
    notes: tuple[str, ...] = field(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the images must know: too few outputs, images that do not fit z."""
        found = [str(self.count)] if self.count.limited else []
        apart = ~(self.misfit <= _EXPLAINED)  # NaN among them
        if apart.any():
            worst = float(self.misfit.nan_to_num(math.inf).max())
            found.append(
                f"{int(apart.sum())} images do not explain what was sent: misfit up to {worst:.1e}"
            )
        return tuple(found)

    def __str__(self) -> str:
        """Several lines."""
        where = f"chaining stops at {self.stopped}" if self.stopped else "chained to the image"
        lines = [f"from {self.count.start}: {self.count}", *map(str, self.stages), where]
        return "\n".join([*lines, *self.notes])
