"""Several attacks on one model, scored alike, kept in a folder that a kill does not lose."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from splitveil.class_inversion.access import Access, Level
from splitveil.class_inversion.attack import ClassInversion
from splitveil.class_inversion.evaluation import (
    Baseline,
    Curve,
    Judge,
    Judges,
    Score,
    agreed,
    best_public,
    net_accuracy,
    random_draws,
    robust_accuracy,
    score,
    seconds_to,
    train_judges,
)
from splitveil.class_inversion.evaluation.robust import SMALL
from splitveil.class_inversion.evaluation.score import Guesses, IdentityOracle
from splitveil.class_inversion.invert import Chunk, Hooks, invert
from splitveil.class_inversion.priors import Prior, train_prior
from splitveil.class_inversion.searches.base import OnStep
from splitveil.class_inversion.students import teach
from splitveil.data import LabelledImages
from splitveil.errors import AuditError, BadPlan
from splitveil.rng import Rng
from splitveil.shapes import Images
from splitveil.storage import make_folder, write_whole

RESULTS, SHEET = "class-inversion.json", "sheet.safetensors"
_SHOWN = 8
_AGREED = "accuracy@1 by all"
_WEAK = 0.7
_SUCCESS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False, kw_only=True)
class Campaign:
    """What is attacked, how, and what judges it.

    Args:
        model: images in [0, 1] to logits.
        attacks: recipes; a failure of one is recorded and sinks no other.
        public: the attacker's images.
        private: labelled images that judges are trained on and distances are measured to; they
            should not have trained the model.
        held_out: others, for the accuracy of judges and model.
        classes: which are attacked.
        rng: the stream of everything.
        level: the access of every attack.
        budget: queries of each attack, its prior and students included; None for any number.
        prior: in place of those the attacks would train.
        first: the network before it was fine-tuned, where an attack knows it.
        judges: how they are trained.
        radii: of robust accuracy.
        images: images a class of the baselines.
        chunk: classes at once.
        device: where everything computes.
        oracle: the distance to the true identity, where the data have one.

    Raises:
        BadPlan: if there are no attacks, or two of one name.
    """

    model: nn.Module
    attacks: tuple[ClassInversion, ...]
    public: Images
    private: LabelledImages
    held_out: LabelledImages
    classes: tuple[int, ...]
    rng: Rng
    level: Level = "white"
    budget: int | None = None
    prior: Prior | None = None
    first: nn.Module | None = None
    judges: Judges = field(default_factory=Judges)
    radii: tuple[float, ...] = SMALL
    images: int = 5
    chunk: int = 60
    device: str = "cpu"
    oracle: IdentityOracle | None = None

    def __post_init__(self) -> None:
        names = [attack.name for attack in self.attacks]
        if not names or len(set(names)) < len(names):
            raise BadPlan(f"give one or more attacks, each once: got {', '.join(names) or 'none'}")


def run_campaign(
    plan: Campaign, folder: Path, *, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Train judges, run every attack, score all alike; the record, also in class-inversion.json.

    Judges, priors, students and chunks of classes lie in `folder` as they are made: the same call
    goes on after a kill. The record is written anew after every attack.

    Args:
        plan: what is attacked and how.
        folder: where everything is kept.
        say: told of what is done, a line at a time.

    Raises:
        BadData: if private images lack labels or a class that is attacked.
        BadPlan: if settings do not fit each other.
        StorageFailed: if a file cannot be written.
    """
    room = _Room(plan, folder, say)
    record: dict[str, Any] = {
        "access": plan.level,
        "budget": plan.budget,
        "classes": [*plan.classes],
        "model": {"digest": Access(plan.model, "label").digest},
        "private": len(plan.private),
        "public": len(plan.public),
        "judges": {one.name: one.accuracy.to_json() for one in room.judges},
        "robust": room.robust(),
        "notes": room.notes(),
        "baselines": {},
        "attacks": {},
        "failures": {},
        "complete": False,
    }
    record["baselines"]["best public image"] = room.scored(room.public_ones).to_json()
    room.show("private", room.one_a_class())
    room.show("best public image", room.public_ones.images[:, 0])
    for attack in plan.attacks:
        say(f"{attack.name} ...")
        try:
            record["attacks"][attack.name] = room.attack(attack, record["baselines"])
        except AuditError as error:
            record["failures"][attack.name] = str(error)
            say(f"Failed: {attack.name}: {error}")
        room.write(record)
    record["complete"] = True
    room.write(record)
    return record


class _Room:
    """One campaign under way."""

    def __init__(self, plan: Campaign, folder: Path, say: Callable[[str], None]) -> None:
        self.plan, self.folder, self.say = plan, folder, say
        self.classes = Access(plan.model, "label").outputs(tuple(plan.private.x.shape[1:]))
        say("Training judges ...")
        self.judges: tuple[Judge, ...] = train_judges(
            plan.judges,
            plan.private,
            plan.held_out,
            classes=self.classes,
            rng=plan.rng.child("judges"),
            folder=folder / "judges",
            device=plan.device,
            on_epoch=lambda name, epoch: say(f"Judge {name}: epoch {epoch.number}/{epoch.of}"),
        )
        self.private_seen = [judge(plan.private.x)[1] for judge in self.judges]
        # anyone may try public images: they cost the attacks nothing
        door = Access(plan.model, plan.level, device=plan.device)
        self.public_ones = best_public(
            door, plan.public, plan.classes, rng=plan.rng.child("public"), count=plan.images
        )
        self.public_score: Score = self.scored(self.public_ones)
        self.shown: dict[str, Tensor] = {}
        self.taken: dict[str, list[bool]] = {}

    def robust(self) -> dict[str, Any]:
        """Natural accuracy under 0, robust accuracy under each radius."""
        plan = self.plan
        assert plan.held_out.y is not None  # noqa: S101 - judges were measured on them
        self.say("Robust accuracy ...")
        found = robust_accuracy(
            plan.model,
            plan.held_out.x,
            plan.held_out.y,
            rng=plan.rng.child("robust"),
            radii=plan.radii,
            device=plan.device,
        )
        return {f"{radius:g}": one.to_json() for radius, one in found.items()}

    def notes(self) -> list[str]:
        """What a reader must know of the judges."""
        return [
            f"Judge {one.name} names {one.accuracy.value:.0%} of private images right: what it "
            "says of reconstructions means as little."
            for one in self.judges
            if one.accuracy.value < _WEAK
        ]

    def scored(self, found: Guesses) -> Score:
        """What the judges say, the same stream for all so that classes are resampled alike."""
        plan = self.plan
        return score(
            found,
            self.judges,
            plan.private,
            rng=plan.rng.child("score"),
            oracle=plan.oracle,
            seen=self.private_seen,
        )

    def attack(self, attack: ClassInversion, baselines: dict[str, Any]) -> dict[str, Any]:
        """Run one attack and score it."""
        plan, rng = self.plan, self.plan.rng
        target = Access(plan.model, plan.level, budget=plan.budget, device=plan.device)
        prior, students = self._learnt(attack, target)
        before, curve = target.used, Curve(self.judges, every=25)
        place = self.folder / "attacks" / attack.name.lower()
        found = invert(
            attack,
            target,
            prior,
            plan.classes,
            rng=rng.child("attack", attack.name),
            public=plan.public,
            students=students,
            first=plan.first,
            chunk=plan.chunk,
            folder=place,
            hooks=Hooks(
                on_step=self._search(attack.name, curve), on_chunk=self._chunk(attack.name)
            ),
        )
        drawn = f"random draw of {prior.name}"
        if drawn not in baselines:
            baselines[drawn] = self.scored(self._drawn(prior)).to_json()
        self.show(attack.name, found.images[:, 0])
        result = self.scored(found)
        net = None
        if float(self.public_score.by_class[_AGREED].mean()) < 1:
            net = net_accuracy(
                result.by_class[_AGREED], self.public_score.by_class[_AGREED], rng.child("net")
            ).to_json()
        return {
            "recipe": repr(attack),
            "prior": {"name": prior.name, "digest": prior.digest, "distilled": prior.distilled},
            "queries": target.used,
            "search_queries": target.used - before,
            "images": found.images.shape[1],
            "steps": float(found.steps.double().mean()),
            "seconds_per_class": found.seconds_per_class,
            "processor_seconds_per_class": found.processor_seconds / len(found.classes),
            "notes": [*found.notes],
            "net_accuracy": net,
            **self._along(place / "curve.json", curve),
            **result.to_json(),
        }

    def _learnt(
        self, attack: ClassInversion, target: Access
    ) -> tuple[Prior, tuple[nn.Module, ...]]:
        """The attack's prior and students, trained or read."""
        plan = self.plan
        prior = plan.prior or train_prior(
            attack.prior,
            plan.public,
            target,
            rng=plan.rng.child("prior"),
            folder=self.folder / "priors",
            on_step=self._step(attack.name),
        )
        if attack.students is None:
            return prior, ()
        self.say(f"{attack.name}: teaching students ...")
        students = teach(
            attack.students,
            plan.public,
            target,
            rng=plan.rng.child("students"),
            folder=self.folder / "students",
        )
        return prior, students

    def _drawn(self, prior: Prior) -> Baseline:
        plan = self.plan
        return random_draws(prior, plan.classes, rng=plan.rng.child("draws"), count=plan.images)

    def _step(self, name: str) -> Callable[[int, int], None]:
        def on_step(step: int, of: int) -> None:
            if step % 100 == 0 or step == of:
                self.say(f"{name}: prior, step {step}/{of}")

        return on_step

    def _search(self, name: str, curve: Curve) -> OnStep:
        def on_step(step: int, images: Tensor, labels: Tensor) -> None:
            curve(step, images, labels)
            if step and step % 100 == 0:
                self.say(f"{name}: search, step {step}")

        return on_step

    def _chunk(self, name: str) -> Callable[[Chunk], None]:
        def on_chunk(chunk: Chunk) -> None:
            said = f", {chunk.seconds:.1f} s" if chunk.seconds else ", from the folder"
            self.say(f"{name}: {chunk.done} of {chunk.of} classes{said}")

        return on_chunk

    def _along(self, kept: Path, curve: Curve) -> dict[str, Any]:
        """How soon the search succeeded; of an earlier run where this one read its chunks."""
        if curve.classes == len(self.plan.classes):
            points = curve.points()
            told = {
                "curve": [vars(point) for point in points],
                "seconds_to": {f"{share:g}": seconds_to(points, share) for share in _SUCCESS},
            }
            make_folder(kept.parent)
            write_whole(kept, (json.dumps(told) + "\n").encode())
        if not kept.is_file():
            return {"curve": [], "seconds_to": {}}
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found

    def one_a_class(self) -> Tensor:
        """The first private image of each class."""
        labels = self.plan.private.y
        assert labels is not None  # noqa: S101 - judges were trained on them
        wanted = torch.tensor(self.plan.classes)
        return self.plan.private.x[(labels[None] == wanted[:, None]).float().argmax(1)]

    def show(self, name: str, images: Tensor) -> None:
        """Keep one image of each of the first classes for the contact sheet, and who takes it."""
        few, classes = images[:_SHOWN].clamp(0, 1), torch.tensor(self.plan.classes[:_SHOWN])
        one = Baseline(name=name, classes=classes, images=few[:, None])
        self.taken[name] = [bool(share) for share in agreed(one, self.judges)]
        self.shown[name] = few.mul(255).round().to(torch.uint8)

    def write(self, record: dict[str, Any]) -> None:
        """Replace the record and the pictures."""
        record["shown"] = self.taken
        text = json.dumps(_plain(record), indent=1, ensure_ascii=False, allow_nan=False)
        make_folder(self.folder)
        write_whole(self.folder / RESULTS, (text + "\n").encode())
        pictures = {name: np.ascontiguousarray(x.numpy()) for name, x in self.shown.items()}
        write_whole(self.folder / SHEET, save(pictures))


def _plain(value: Any) -> Any:
    """Infinite floats as text, since JSON has none."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
