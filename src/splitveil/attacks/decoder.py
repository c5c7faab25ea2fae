"""A trained inverse network, started from the best linear inversion."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence, gather, in_shape, observed, transmitted
from splitveil.attacks.grid import Grid
from splitveil.attacks.guesses import Guesses
from splitveil.errors import BadInput, BadPlan
from splitveil.nets.inverter import ImageInverter, VectorInverter
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import BlackBox, Observation, QueryFree, WhiteBox
from splitveil.training import Epoch, Schedule, fit

_BATCH = 256
_AVERAGE = 0.99
_FEWEST = 12


@dataclass(frozen=True, eq=False)
class Standard:
    """Features with mean 0 and variance 1: per channel of a map, per value of a vector."""

    mean: Tensor
    deviation: Tensor
    grid: Grid | None

    @staticmethod
    def of(found: Evidence) -> "Standard":
        """The scales of the auxiliary features; maps where the targets are images."""
        try:
            grid = Grid.of(found.layout, found.shape)
        except BadInput:
            grid = None
        axes = (0,) if grid is None else (0, 2, 3)
        count = len(found.z) * (1 if grid is None else grid.height * grid.width)

        def total(values: Callable[[Tensor], Tensor]) -> Tensor:
            batches = (z if grid is None else grid(z) for z in found.z.split(_BATCH))
            sums = [values(z.double()).sum(axes, keepdim=True) for z in batches]
            return torch.stack(sums).sum(0) / count

        mean = total(lambda z: z)
        deviation = total(lambda z: (z - mean).square()).sqrt()
        floor = 1e-3 * deviation.max().clamp(min=1e-12)
        return Standard(mean.float(), deviation.clamp(min=floor).float(), grid)

    def __call__(self, z: Tensor) -> Tensor:
        """Map z (n, f) to maps (n, c, h, w) or vectors (n, f)."""
        return ((z if self.grid is None else self.grid(z)) - self.mean) / self.deviation


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
        z, rows = observed(observation, self.layout, self.classes, self.standard.mean.device)
        if not len(z):
            return in_shape(self.guesses.centre(rows)[:, 0], self.shape)
        with torch.no_grad():
            found = [
                self.correct(self.net, q, self.guesses(q, r), r)
                for q, r in zip(z.split(_BATCH), rows.split(_BATCH), strict=True)
            ]
        return in_shape(torch.cat(found), self.shape)

    def correct(self, net: nn.Module, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        """Map z (n, f), guesses (n, g, d) and label rows to targets (n, d), not clamped."""
        middle = (guesses - self.guesses.centre(rows)) / self.scale
        shape = (-1, *self.shape[1:]) if len(self.shape) == 3 else (-1,)
        moved: Tensor = net(self.standard(z), middle.flatten(1).unflatten(1, shape), rows)
        return guesses[:, 0] + self.scale * moved.flatten(1)


@dataclass(frozen=True, kw_only=True)
class Decoder(Attack):
    """A network trained to map what was sent, and the linear guesses made from it, to the target.

    x̂ = x̃ + s · g_θ(z, x̃_1, x̃_2, y), where x̃_1 and x̃_2 are the full and the patch-local ridge,
    x̃ the better of them, and θ minimises the squared error. Training targets' own guesses are
    those of a ridge fitted without them (its leave-one-out formula), or the network would learn to
    mend errors that unseen images do not have. The network starts as no correction, and its
    weights are a running average, kept from the epoch with the least error on a sixth of the
    auxiliary images. Where the attacker holds the release and it is random, every epoch sees
    fresh noise.

    An MSE-trained decoder tends to E[X | z], the best attack in squared error, as data, size and
    training grow; at this effort it is short of that, and its failure proves nothing. `seconds`
    caps training by the clock, the ridges come on top; a run it cuts short does not repeat bit for
    bit.

    Knowledge: black-box; one query an auxiliary image, at most `samples`. Cost: both ridges, then
    about 50 width² (depth + 1) operations for every 16 pixels of an image, each epoch.
    """

    requires: ClassVar[type[QueryFree]] = BlackBox
    reference: ClassVar[str] = "inverse network of Dosovitskiy & Brox 2016, on a ridge residual"

    epochs: int = 12
    width: int = 64
    depth: int = 2
    batch: int = 64
    learning_rate: float = 2e-3
    samples: int = 10_000
    seconds: float | None = None
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or self.depth < 1 or self.samples < _FEWEST:
            raise BadPlan(
                "width must be a multiple of 8, depth at least 1 and samples at least "
                f"{_FEWEST}: {self}"
            )
        if self.seconds is not None and not self.seconds > 0:
            raise BadPlan(f"seconds must be positive, got {self.seconds}")
        self.schedule()

    def schedule(self) -> Schedule:
        """The training schedule these settings mean."""
        return Schedule(
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
            precision=self.precision,
        )

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        found = gather(self, knowledge, rng, limit=self.samples)
        if len(found.x) < _FEWEST:
            raise BadInput(
                f"a decoder needs at least {_FEWEST} auxiliary targets, got "
                f"{len(found.x)}: give the attacker more data or queries, or use the ridge"
            )
        guesses, guessed = Guesses.learn(found, rng.child("guesses"))
        error = float((guessed[:, 0] - found.x).square().mean())
        standard = Standard.of(found)
        with rng.child("init").as_global():
            net = self._network(found, standard, guesses).to(found.x.device)
        start = Decoded(
            net,
            guesses,
            standard,
            max(error**0.5, 1e-6),
            found.classes,
            found.layout,
            found.shape,
            (),
        )
        return _train(self, start, _Sample(found, guessed, guesses, knowledge), rng)

    def _network(self, found: Evidence, standard: Standard, guesses: Guesses) -> nn.Module:
        classes, count = len(found.classes.seen) + 1, len(guesses.fitted)
        if len(found.shape) == 3:
            grid = standard.grid
            seen = (found.z.shape[1],)
            return ImageInverter(
                seen if grid is None else (grid.channels, grid.height, grid.width),
                found.shape,
                guesses=count,
                classes=classes,
                width=self.width,
                depth=self.depth,
            )
        return VectorInverter(
            found.z.shape[1],
            found.x.shape[1],
            guesses=count,
            classes=classes,
            width=2 * self.width,
            depth=self.depth,
        )


class _Sample:
    """What the network is trained on: z and guesses, drawn anew where the release is random."""

    def __init__(
        self, found: Evidence, guessed: Tensor, guesses: Guesses, knowledge: QueryFree
    ) -> None:
        self.found, self.z, self.guessed = found, found.z, guessed
        self._guesses = guesses
        self._whole: WhiteBox | None = None
        if isinstance(knowledge, WhiteBox) and knowledge.knows_defence:
            two = [knowledge.release(found.z[:2], Rng(i).torch()) for i in range(2)]
            self._whole = None if torch.equal(*two) else knowledge
        if self._whole is not None:
            self._first, self._plain = guessed, guesses(found.z, found.rows)

    def renew(self, rng: Rng) -> None:
        """Draw the release's noise again; guesses move by the linear map of the difference."""
        if self._whole is None:
            return
        x = self.found.x.unflatten(1, self.found.shape)
        self.z = transmitted(self._whole, x, rng).float()
        self.guessed = self._first + self._guesses(self.z, self.found.rows) - self._plain


def _train(settings: Decoder, start: Decoded, sample: _Sample, rng: Rng) -> Decoded:
    found = sample.found
    order = torch.randperm(len(found.x), generator=rng.child("held out").torch())
    held, seen = (part.to(found.x.device) for part in order.tensor_split([len(order) // 6]))
    kept = (found.z[held], sample.guessed[held], found.rows[held], found.x[held])
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
        i = seen[indices.to(seen.device)]
        guess = start.correct(net, sample.z[i], sample.guessed[i], found.rows[i])
        return (guess - found.x[i]).square().mean() / start.scale**2

    def epoch(done: Epoch) -> None:
        check()
        if done.number < done.of:
            sample.renew(rng.child("noise", done.number))

    check()
    fit(
        start.net,
        loss,
        size=len(seen),
        schedule=settings.schedule(),
        rng=rng.child("training"),
        device=found.x.device.type,
        on_epoch=epoch,
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
