"""What attacks make of a network's classes, and how much each layer matters to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from splitveil.class_inversion import (
    Access,
    ClassInversion,
    Draws,
    Hooks,
    Inversion,
    Prior,
    brep_mi,
    gmi,
    invert,
    kedmi,
    knowing,
    lomma,
    plg_mi,
    teach,
    train_prior,
)
from splitveil.class_inversion.evaluation import (
    Judge,
    Judges,
    agreed,
    best_public,
    nearest_in_class,
    standing_images,
    train_judges,
)
from splitveil.class_inversion.presets import Constants
from splitveil.measures.fisher import ImportanceAlong, LayerImportance, layer_importance
from splitveil.models.reference import vgg
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.experiment import Arm, Measured, Scale
from splitveil.reproduce.gpz.vortex import folder_of
from splitveil.reproduce.tldmi.claims import NONE, RADII
from splitveil.reproduce.tldmi.images import CLASSES, Identity, identities
from splitveil.reproduce.tldmi.networks import Network
from splitveil.rng import Rng
from splitveil.shapes import Images
from splitveil.training import Schedule

SHOWN = 10
STEPS = (0, 100, 200, 300, 400)
_PRIORS = Rng(0, ("tldmi", "priors"))
_TWO = Draws(restarts=2)


def _fewer(attack: ClassInversion, constants: Constants) -> ClassInversion:
    """At a CPU's constants two restarts a class where the paper has five."""
    return replace(attack, start=_TWO) if constants == "cpu" else attack


def _logit(constants: Constants) -> ClassInversion:
    return lomma(constants, of=_fewer(gmi(constants), constants), students=False)


_RECIPES: dict[str, Callable[[Constants], ClassInversion]] = {
    "BREP-MI": brep_mi,
    "GMI": lambda constants: _fewer(gmi(constants), constants),
    "KEDMI": kedmi,
    "LOMMA+GMI": _logit,
    "LOMMA+GMI knowing the start": lambda constants: knowing(_logit(constants)),
    "LOMMA+KEDMI": lomma,
    "PLG-MI": lambda constants: _fewer(plg_mi(constants), constants),
}

_MINUTES: dict[str, dict[Constants, float]] = {
    "BREP-MI": {"cpu": 2.0, "paper": 17.0},
    "GMI": {"cpu": 0.6, "paper": 6.0},
    "KEDMI": {"cpu": 4.2, "paper": 82.0},
    "LOMMA+GMI": {"cpu": 0.5, "paper": 6.0},
    "LOMMA+GMI knowing the start": {"cpu": 0.7, "paper": 9.0},
    "LOMMA+KEDMI": {"cpu": 6.4, "paper": 23.0},
    "PLG-MI": {"cpu": 4.6, "paper": 275.0},
}
"""Those of the papers are from single steps of their priors, not from whole runs."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """An attack with all that it learns before it searches."""

    recipe: ClassInversion
    target: Access
    prior: Prior
    students: tuple[nn.Module, ...]
    public: Images
    rng: Rng

    def search(
        self, classes: Sequence[int], *, first: nn.Module | None = None, hooks: Hooks | None = None
    ) -> Inversion:
        """Search for `classes`; `first` is the network before fine-tuning, where asked for."""
        return invert(
            self.recipe,
            self.target,
            self.prior,
            classes,
            rng=self.rng,
            public=self.public,
            students=self.students,
            first=first,
            hooks=hooks or Hooks(),
        )


def prepared(
    attack: str,
    network: nn.Module,
    seed: int,
    folder: Path,
    kind: Identity = "characters",
    constants: Constants = "cpu",
) -> Prepared:
    """Train the attack's prior and students on a network, or read them."""
    recipe, public = _RECIPES[attack](constants), identities(kind).public
    target = Access(network, recipe.level if recipe.level == "label" else "white")
    rng = Rng(seed, ("tldmi", attack))
    # a prior that knows nothing of the model is one for all models and seeds
    prior = train_prior(
        recipe.prior, public, target, rng=_PRIORS, folder=place(folder, kind) / "priors"
    )
    students: tuple[nn.Module, ...] = ()
    if recipe.students is not None:
        students = teach(
            recipe.students,
            public,
            target,
            rng=rng.child("students"),
            folder=place(folder, kind) / "students",
        )
    return Prepared(
        recipe=recipe, target=target, prior=prior, students=students, public=public, rng=rng
    )


@dataclass(frozen=True, kw_only=True)
class SharedPrior(Arm):
    """The prior that knows nothing of a model, one for all models and seeds; kept as a file."""

    kind: ClassVar[Identity] = "characters"
    constants: ClassVar[Constants] = "cpu"

    @property
    def minutes(self) -> float:
        return 5.0 if self.constants == "cpu" else 132.0

    def run(self, bench: Bench) -> Measured:
        public = identities(self.kind).public
        with Rng(0, ("tldmi", "none")).as_global():
            door = Access(vgg(classes=CLASSES), "label")
        priors = place(folder_of(bench), self.kind) / "priors"
        train_prior(gmi(self.constants).prior, public, door, rng=_PRIORS, folder=priors)
        return Measured(details={"public images": len(public)})


@dataclass(frozen=True, kw_only=True)
class Judged(Arm):
    """The judges, kept as files. Quantities: their accuracy on pictures that trained nothing."""

    kind: ClassVar[Identity] = "characters"

    @property
    def minutes(self) -> float:
        return 3.5

    def run(self, bench: Bench) -> Measured:
        judges = judging(folder_of(bench), self.kind)
        return Measured(quantities={one.name: one.accuracy for one in judges})


@dataclass(frozen=True, kw_only=True)
class Attacked(Arm):
    """One attack on all forty classes of one network, beside the best public images.

    Arrays, one number a class: "attack" and "public", the share of images that both judges take for
    the class; "oracle", the share that the typefaces do; "nearest" and "identity", mean distances;
    and the first image of ten classes as bytes, "images".
    """

    networks: ClassVar[type[Network]] = Network
    constants: ClassVar[Constants] = "cpu"
    defence: str
    attack: str

    @property
    def minutes(self) -> float:
        return _MINUTES[self.attack][self.constants]

    def run(self, bench: Bench) -> Measured:
        folder = folder_of(bench)
        arm, kind = self.networks(defence=self.defence, seed=self.seed), self.networks.kind
        network, public = arm.network(bench), identities(kind).public
        ready = prepared(self.attack, network, self.seed, folder, kind, self.constants)
        asks = ready.recipe.objective is not None and ready.recipe.objective.identity.needs_first
        found = ready.search(
            range(CLASSES), first=arm.bodies(seed=self.seed).network(bench) if asks else None
        )
        door = Access(network, "white")
        best = best_public(door, public, range(CLASSES), rng=ready.rng.child("public"))
        arrays: dict[str, NDArray[np.generic]] = {**_judged(found, folder, kind)}
        arrays["public"] = agreed(best, judging(folder, kind)).numpy()
        arrays["images"] = found.images[:SHOWN, 0].mul(255).round().to(torch.uint8).numpy()
        return Measured(
            details={
                "seconds a class": found.processor_seconds / CLASSES,
                "queries": ready.target.used,
                "found": int(found.found.sum()),
            },
            arrays=arrays,
        )


class PublishedPrior(SharedPrior):
    """As `SharedPrior`, at the paper's constants."""

    constants: ClassVar[Constants] = "paper"


class PublishedAttacked(Attacked):
    """As `Attacked`, at the papers' constants."""

    constants: ClassVar[Constants] = "paper"


def attacked_by(scale: Scale) -> type[Attacked]:
    """Attacks at a CPU's constants, or at the papers'."""
    return Attacked if scale.small else PublishedAttacked


@dataclass(frozen=True, kw_only=True)
class Fragile(Arm):
    """How much accuracy small changes of pixels leave.

    Array "standing": (4, pictures), whether each of 400 pictures held out stays right as it is and
    under each of the radii.
    """

    defence: str

    @property
    def minutes(self) -> float:
        return 0.2

    def run(self, bench: Bench) -> Measured:
        network = Network(defence=self.defence, seed=self.seed).network(bench)
        held = identities("characters").held_out
        few = held.take(torch.arange(0, len(held), 2))
        assert few.y is not None  # noqa: S101 - identities are classes
        standing = standing_images(
            network, few.x, few.y, rng=Rng(self.seed, ("tldmi", "fragile")), radii=RADII, steps=5
        )
        return Measured(arrays={"standing": standing.double().numpy()})


@dataclass(frozen=True, kw_only=True)
class Weighed(Arm):
    """How much each layer of the undefended network matters: to the task, and along KEDMI.

    Arrays: "parameters"; "task plain", "task scaled" (rows, layers), rows being classes of private
    pictures; "step T plain", "step T scaled" for each step T.
    """

    @property
    def minutes(self) -> float:
        return 1.5

    def run(self, bench: Bench) -> Measured:
        network = Network(defence=NONE, seed=self.seed).network(bench)
        train = identities("characters").training.train
        assert train.y is not None  # noqa: S101 - identities are classes
        rows = torch.arange(0, len(train), 5)
        task = layer_importance(network, train.x[rows], train.y[rows], groups=train.y[rows])
        along = ImportanceAlong(network=network, loss=_identity, steps=STEPS)
        ready = prepared("KEDMI", network, self.seed, folder_of(bench))
        ready.search(range(CLASSES), hooks=Hooks(on_step=along))
        found = {"task": task} | {f"step {step}": one for step, one in along.found().items()}
        arrays = {
            f"{name} {kind}": value
            for name, one in found.items()
            for kind, value in (("plain", one.plain.numpy()), ("scaled", one.scaled.numpy()))
        }
        arrays["parameters"] = task.parameters.numpy()
        return Measured(details={"layers": list(task.layers)}, arrays=arrays)


def importance(measured: Measured, name: str) -> LayerImportance:
    """What was weighed, read back."""
    layers: object = measured.details["layers"]
    assert isinstance(layers, list)  # noqa: S101 - as `Weighed` wrote it
    return LayerImportance(
        layers=tuple(layers),
        parameters=torch.from_numpy(np.array(measured.arrays["parameters"])),
        plain=torch.from_numpy(np.array(measured.arrays[f"{name} plain"])),
        scaled=torch.from_numpy(np.array(measured.arrays[f"{name} scaled"])),
    )


def _identity(output: Tensor, labels: Tensor) -> Tensor:
    """KEDMI's identity loss, without its weight."""
    return output.logsumexp(1) - output.gather(1, labels[:, None])[:, 0]


def _judged(found: Inversion, folder: Path, kind: Identity) -> dict[str, NDArray[np.float64]]:
    """Numbers by class."""
    n, m = found.images.shape[:2]
    x, labels = found.images.flatten(0, 1), found.classes.repeat_interleave(m)
    apart = identities(kind).oracle.distances(x)
    named = (apart.argmin(1) == labels).double().view(n, m).mean(1)
    own = apart[torch.arange(len(x)), labels].view(n, m).mean(1)
    return {
        "attack": agreed(found, judging(folder, kind)).numpy(),
        "oracle": named.numpy(),
        "identity": own.numpy(),
        "nearest": _nearest(folder, kind, x, labels).view(n, m).mean(1).numpy(),
    }


def _nearest(folder: Path, kind: Identity, x: Tensor, labels: Tensor) -> Tensor:
    private = identities(kind).judges
    assert private.y is not None  # noqa: S101 - identities are classes
    features = judging(folder, kind)[0](x)[1]
    return nearest_in_class(features, labels, _private(folder, kind), private.y)


@cache
def _private(folder: Path, kind: Identity) -> Tensor:
    """The first judge's features of private pictures, asked for once a process."""
    return judging(folder, kind)[0](identities(kind).judges.x)[1]


@cache
def judging(folder: Path, kind: Identity = "characters") -> tuple[Judge, ...]:
    """Two families that are not the network's, trained on pictures it never saw."""
    held = identities(kind)
    return train_judges(
        Judges(schedule=Schedule(epochs=10)),
        held.judges,
        held.held_out,
        classes=CLASSES,
        rng=Rng(0, ("tldmi", "judges")),
        folder=place(folder, kind) / "judges",
    )


def place(folder: Path, kind: Identity) -> Path:
    """Where judges, priors and students of a kind of identities lie."""
    return folder / ("tldmi" if kind == "characters" else f"tldmi-{kind}")
