"""What every attack that trains a network to invert features has in common."""

from abc import abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import in_shape, observed
from splitveil.attacks.groundwork import FEWEST, STARTS, Ground, Groundwork
from splitveil.attacks.guesses import Guesses
from splitveil.attacks.memory import halving
from splitveil.attacks.standard import Standard
from splitveil.errors import BadPlan
from splitveil.nets.ends import Ends
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs, QueryFree
from splitveil.training import Schedule, fit

_BATCH = 64
_AVERAGE = 0.99


@dataclass(frozen=True, eq=False)
class Decoded(Reconstructor):
    """x̂ = first guess + scale · net(z, guesses, class).

    `held_out` is the squared error per value on held-out auxiliary targets before training and
    after each epoch; `net` is the one of the least.
    """

    net: nn.Module
    guesses: Guesses
    standard: Standard
    scale: float
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]
    held_out: tuple[float, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z, rows = observed(
            observation, self.layout, self.classes, self.guesses.fitted[0].x_mean.device
        )
        return in_shape(self.predict(z, rows), self.shape)

    @torch.no_grad()
    def predict(self, z: Tensor, rows: Tensor) -> Tensor:
        """Map z (n, f) and label rows (n,) to targets (n, d), not clamped."""
        if not len(z):
            return self.guesses.centre(rows)[:, 0]

        def by(size: int) -> Tensor:
            found = [
                self.correct(self.net, q, self.guesses(q, r), r)
                for q, r in zip(z.split(size), rows.split(size), strict=True)
            ]
            return torch.cat(found)

        return halving(by, _BATCH)

    def correct(self, net: nn.Module, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        """Map z (n, f), guesses (n, g, d) and label rows to targets (n, d), not clamped."""
        middle = (guesses - self.guesses.centre(rows)) / self.scale
        shape = (-1, *self.shape[1:]) if len(self.shape) == 3 else (-1,)
        moved: Tensor = net(self.standard(z), middle.flatten(1).unflatten(1, shape), rows)
        return guesses[:, 0] + self.scale * moved.flatten(1)


@dataclass(frozen=True, kw_only=True)
class InverseNetwork(Attack):
    """Base of attacks that train a network to map what was sent to the target.

    x̂ = x̃ + s · g_θ(z, x̃_1, ..., y), where x̃_i are linear guesses, x̃ the best of them, and θ
    minimises the squared error. Derive a frozen dataclass that names its settings and gives
    `network`; everything else is here.

    Maps and tokens are laid on one grid over the image; what crosses beside them, a class token
    among it, reaches the answer through the full ridge alone.

    `epochs`, `batch`, `learning_rate` and `precision` are those of the training; `samples` is the
    most auxiliary targets used; `seconds` caps training by the clock; with `flips` every image is
    also shown mirrored, where the attacker can encode it anew; `start` is "ridges", the full and
    the patch-local ridge, or "mean", the class mean, which saves their time.
    """

    requires: ClassVar[type[QueryFree]] = Pairs

    epochs: int = 12
    batch: int = 64
    learning_rate: float = 2e-3
    samples: int = 10_000
    seconds: float | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    flips: bool = False
    start: str = "ridges"

    def __post_init__(self) -> None:
        if self.samples < FEWEST:
            raise BadPlan(f"samples must be at least {FEWEST}, got {self.samples}")
        if self.seconds is not None and not self.seconds > 0:
            raise BadPlan(f"seconds must be positive, got {self.seconds}")
        if self.start not in STARTS:
            raise BadPlan(f'start must be "ridges" or "mean", got {self.start!r}')
        if self.precision not in ("32-true", "bf16-mixed"):
            raise BadPlan(f'precision must be "32-true" or "bf16-mixed", got {self.precision!r}')
        self.schedule(self.batch)

    @abstractmethod
    def network(self, ends: Ends) -> nn.Module:
        """The untrained network.

        Called with scaled features (n, *ends.features), guesses (n, guesses · colours, rows,
        columns) or (n, guesses · d), and class rows (n,), it gives corrections (n, *ends.target),
        all zero before training. It must treat each row by itself.

        Raises:
            BadInput: if it does not suit these shapes.
        """

    def schedule(self, batch: int) -> Schedule:
        """The training schedule these settings mean."""
        return Schedule(
            epochs=self.epochs,
            batch=batch,
            learning_rate=self.learning_rate,
            precision=self.precision,
        )

    @property
    def ground(self) -> Ground:
        """The groundwork these settings need: attacks that agree on it can share one."""
        return Ground(samples=self.samples, flips=self.flips, start=self.start)

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        return self.learn(Groundwork.lay(self, knowledge, self.ground, rng), knowledge, rng)

    def assembled(self, ends: Ends, laid: Groundwork, knowledge: QueryFree) -> nn.Module:
        """The untrained network for this attacker; override it for one that uses more than z."""
        return self.network(ends)

    def learn(self, laid: Groundwork, knowledge: QueryFree, rng: Rng) -> Decoded:
        """Train on groundwork already laid; where memory gives out, in batches of half the size.

        Raises:
            BadInput: if the network does not suit the shapes.
            BudgetExceeded: if memory gives out with one image a batch.
        """
        found = laid.found
        ends = Ends(
            laid.standard.shape(found.z.shape[1]),
            found.shape if len(found.shape) == 3 else (found.x.shape[1],),
            laid.guessed.shape[1],
            len(found.classes.seen) + 1,
        )
        with rng.child("init").as_global():
            net = self.assembled(ends, laid, knowledge).to(found.x.device)
        start = Decoded(
            net,
            laid.guesses,
            laid.standard,
            laid.scale,
            found.classes,
            found.layout,
            found.shape,
            (),
        )
        fresh = deepcopy(net.state_dict())

        def train(batch: int) -> Decoded:
            net.load_state_dict(fresh)
            return _train(self, batch, start, laid, rng)

        return halving(train, self.batch)


def held_out(n: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """Which of `n` targets training with the stream `rng` keeps apart, a sixth, and the others."""
    order = torch.randperm(n, generator=rng.child("held out").torch())
    held, seen = order.tensor_split([n // 6])
    return held, seen


def _train(
    settings: InverseNetwork, batch: int, start: Decoded, laid: Groundwork, rng: Rng
) -> Decoded:
    found, places = laid.found, laid.places
    held, seen = held_out(places.shape[1], rng)
    kept = (found.z[held], laid.guessed[held], found.rows[held], found.x[held])
    average = deepcopy(start.net).eval()
    best, steps = deepcopy(average), 0
    errors: list[float] = []

    @torch.no_grad()
    def check() -> None:
        total = sum(
            float((start.correct(average, z, g, r) - x).square().sum())
            for z, g, r, x in zip(*(part.split(_BATCH) for part in kept), strict=True)
        )
        if not errors or total < min(errors):
            best.load_state_dict(average.state_dict())
        errors.append(total)

    @torch.no_grad()
    def follow() -> None:
        nonlocal steps
        steps += 1
        share = 1 - min(_AVERAGE, (1 + steps) / (10 + steps))
        for mean, now in zip(average.parameters(), start.net.parameters(), strict=True):
            mean.lerp_(now, share)

    def loss(net: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
        rows = seen[indices]
        if len(places) > 1:
            view = torch.randint(len(places), rows.shape, generator=generator)
            rows = places[view, rows]
        z, guessed = laid.draw(rows, generator)
        guess = start.correct(net, z, guessed, found.rows[rows])
        return (guess - found.x[rows]).square().mean() / start.scale**2

    check()
    fit(
        start.net,
        loss,
        size=len(seen),
        schedule=settings.schedule(batch),
        rng=rng.child("training"),
        device=found.x.device.type,
        on_epoch=lambda epoch: check(),
        on_step=follow,
        seconds=float("inf") if settings.seconds is None else settings.seconds,
    )
    check()
    scaled = tuple(error / kept[3].numel() for error in errors)
    return Decoded(
        best,
        start.guesses,
        start.standard,
        start.scale,
        start.classes,
        start.layout,
        start.shape,
        scaled,
    )
