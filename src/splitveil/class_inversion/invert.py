"""Running an attack on the classes of a model, a chunk of classes at a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from splitveil.class_inversion import files
from splitveil.class_inversion.access import Access
from splitveil.class_inversion.attack import ClassInversion
from splitveil.class_inversion.kept import KeptSearch, Stopwatch
from splitveil.class_inversion.objective import Problem, check
from splitveil.class_inversion.priors.base import Prior
from splitveil.class_inversion.searches.base import OnStep
from splitveil.errors import BadData, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.rng import Rng
from splitveil.shapes import Images, Labels

PublicImages: TypeAlias = Float[Tensor, "public c2 h2 w2"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Inversion:
    """What an attack found, on the CPU.

    `classes` (n,); `images` (n, m, c, h, w) in [0, 1], m a class, best first where the selection
    ranks; `latents` (n, m, d); `found` (n,): False where the search had no start, so that the
    images are those of another class. `steps` (n,) is the mean over restarts. `queries` counts
    images asked of the model, prior and students not included; `seconds` and `processor_seconds`
    are of the search, without its hooks.
    """

    classes: Int64[Tensor, " n"]
    images: Float[Tensor, "n m c h w"]
    latents: Float[Tensor, "n m d"]
    found: Bool[Tensor, " n"]
    steps: Float[Tensor, " n"]
    queries: int
    seconds: float
    processor_seconds: float
    notes: tuple[str, ...] = ()

    @property
    def seconds_per_class(self) -> float:
        """Time of the search divided by the classes."""
        return self.seconds / len(self.classes)


@dataclass(frozen=True)
class Chunk:
    """`done` of `of` classes are attacked; `seconds` for the last chunk, 0 where it was read."""

    done: int
    of: int
    seconds: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Hooks:
    """Told of what happens: `on_step(t, images, labels)` at each step of each chunk, and chunks."""

    on_step: OnStep = field(default=lambda step, images, labels: None)
    on_chunk: Callable[[Chunk], None] = field(default=lambda chunk: None)


_SILENT = Hooks()


def invert(
    attack: ClassInversion,
    target: Access,
    prior: Prior,
    classes: Sequence[int],
    *,
    rng: Rng,
    public: PublicImages | None = None,
    students: Sequence[nn.Module] = (),
    first: nn.Module | None = None,
    chunk: int = 60,
    folder: Path | None = None,
    hooks: Hooks = _SILENT,
) -> Inversion:
    """Search for images of `classes`, `chunk` classes with all their restarts at once.

    With `folder` every chunk is stored there as it ends, and the one under way every second:
    killed, the same call goes on and loses no more than that, and what a start takes. The same seed
    and chunk give the same images. Queries of what is read count against the budget again, as they
    were asked.

    Args:
        attack: the recipe.
        target: the door to the model under attack.
        prior: what `train_prior` or `load_prior` gave.
        classes: which to attack, by number.
        rng: the stream of starts, views and steps.
        public: public images, where the identity loss asks for their features.
        students: what `teach` gave, where the attack has students.
        first: the network before it was fine-tuned, where the identity loss asks for it.
        chunk: classes at once; memory grows with it, and time a class falls.
        folder: where chunks are kept, of this attack alone.
        hooks: told of steps and chunks.

    Raises:
        KnowledgeMissing: if access is below what a part of the attack needs, or the network before
            fine-tuning is not given.
        BudgetExceeded: if the queries run out; chunks that ended are kept in `folder`.
        BadPlan: if classes repeat or do not exist, parts do not fit each other, a search diverges,
            or `folder` holds another attack.
        BadModel: if the prior is of another size, or the loss needs features that are not there.
        BadData: if the loss needs public images and there are none.
    """
    target.require(attack.level, attack.name)
    outputs = target.outputs(prior.shape)
    prior.check(prior.shape if public is None else tuple(public.shape[1:]), outputs)
    labels = _labels(classes, outputs, chunk)
    check(attack.objective, prior, attack.search.level)
    if (attack.students is None) != (not students):
        raise BadPlan(f"{attack.name} needs its students and no others: give what teach() made")
    asks = attack.objective is not None and attack.objective.identity.needs_first
    if asks and first is None:
        raise KnowledgeMissing(
            f"{attack.name} knows the network before it was fine-tuned: give first="
        )
    problem = Problem(
        target=target,
        prior=prior.to(target.device),
        objective=attack.objective,
        others=tuple(Access(network, "white", device=target.device) for network in students),
        centre=_centre(attack, target, public),
        first=Access(first, "white", device=target.device) if asks and first is not None else None,
    )
    plan = files.digest(
        attack,
        target.digest,
        prior.digest,
        labels,
        rng,
        chunk,
        problem.centre,
        target.level,
        *(other.digest for other in problem.others),
        *([] if problem.first is None else [problem.first.digest]),
    )
    parts: list[Inversion] = []
    for number, part in enumerate(labels.split(chunk)):
        kept = None if folder is None else folder / f"classes-{number:04}.safetensors"
        one = None if kept is None else _read(kept, plan)
        seconds = 0.0
        if one is None:
            try:
                watch = Stopwatch(hooks.on_step)
                under_way = None if kept is None else kept.with_suffix(".under-way")
                memory = KeptSearch(under_way, plan, target, watch)
                one = _chunk(attack, problem, part, rng.child("chunk", number), watch, memory)
            except BudgetExceeded as error:
                done = sum(len(each.classes) for each in parts)
                raise BudgetExceeded(f"{error} ({done} of {len(labels)} classes done)") from error
            if kept is not None:
                _write(kept, one, plan)
                memory.forget()
            seconds = one.seconds
        else:
            target.charge(one.queries)
        parts.append(one)
        hooks.on_chunk(Chunk(sum(len(each.classes) for each in parts), len(labels), seconds))
    return _joined(parts, prior)


def _labels(classes: Sequence[int], outputs: int, chunk: int) -> Labels:
    labels = torch.tensor([*classes], dtype=torch.int64)
    if not len(labels) or len(labels.unique()) < len(labels) or chunk < 1:
        raise BadPlan(f"give each class to attack once, and a chunk of at least 1: got {chunk}")
    if int(labels.min()) < 0 or int(labels.max()) >= outputs:
        raise BadPlan(
            f"classes run from {int(labels.min())} to {int(labels.max())}, the model knows "
            f"{outputs}: choose among 0 to {outputs - 1}"
        )
    return labels


def _centre(attack: ClassInversion, target: Access, public: Images | None) -> Tensor | None:
    """The mean penultimate feature of public images, where the identity loss asks for it."""
    if attack.objective is None or not attack.objective.identity.needs_features:
        return None
    if public is None or not len(public):
        raise BadData(
            f"{attack.name} holds features near those of public images: give public images, or an "
            "identity loss without a regulariser"
        )
    with torch.no_grad():
        total = torch.stack(
            [target.logits_and_features(x)[1].double().sum(0) for x in public.split(512)]
        ).sum(0)
    return (total / len(public)).float()


def _chunk(
    attack: ClassInversion,
    problem: Problem,
    labels: Labels,
    rng: Rng,
    watch: Stopwatch,
    memory: KeptSearch,
) -> Inversion:
    """All restarts of some classes in one batch."""
    labels = labels.to(problem.target.device)
    begun = memory.begun(lambda: attack.start.draw(problem, labels, rng.child("start")))
    restarts = begun.z.shape[1]
    rows = labels.repeat_interleave(restarts)
    # whoever calls may have switched gradients off
    with torch.enable_grad():
        reached = attack.search.run(
            problem,
            begun.z.flatten(0, 1),
            rows,
            begun.found.repeat_interleave(restarts),
            rng.child("search"),
            watch,
            memory,
        )
    each = reached.z.shape[1] * restarts
    z = reached.z.reshape(len(labels) * each, -1)
    images = problem.images(z, labels.repeat_interleave(each)).unflatten(0, (len(labels), each))
    picked = attack.selection.pick(images, problem, labels, rng.child("selection"))
    row = torch.arange(len(labels), device=labels.device)[:, None]
    return Inversion(
        classes=labels.cpu(),
        images=images[row, picked].cpu().contiguous(),
        latents=z.unflatten(0, (len(labels), each))[row, picked].cpu().contiguous(),
        found=begun.found.cpu(),
        steps=reached.steps.view(len(labels), -1).double().mean(1).float().cpu(),
        queries=memory.queries,
        seconds=watch.seconds,
        processor_seconds=watch.processor_seconds,
    )


_TENSORS = ("classes", "images", "latents", "found", "steps")
_NUMBERS = ("queries", "seconds", "processor_seconds")


def _write(path: Path, part: Inversion, plan: str) -> None:
    described = {"plan": plan} | {name: getattr(part, name) for name in _NUMBERS}
    files.write(path, {name: getattr(part, name) for name in _TENSORS}, described)


def _read(path: Path, plan: str) -> Inversion | None:
    stored = files.read(path)
    if stored is None:
        return None
    tensors, described = stored
    if described.get("plan") != plan:
        raise BadPlan(
            f"{path.parent} holds an attack with other settings, model, prior or classes: choose "
            "another folder, or repeat the settings to go on"
        )
    values: dict[str, Any] = {name: described[name] for name in _NUMBERS}
    values |= {name: tensors[name] for name in _TENSORS}
    return Inversion(**values)


def _joined(parts: Sequence[Inversion], prior: Prior) -> Inversion:
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS
    }
    lost = int((~joined["found"]).sum())
    notes = prior.notes
    if lost:
        notes += (
            f"{lost} of {len(joined['found'])} classes had no start: the model names no image that "
            "was drawn as one of them, and their images count as failures.",
        )
    return Inversion(
        **joined,
        queries=sum(part.queries for part in parts),
        seconds=math.fsum(part.seconds for part in parts),
        processor_seconds=math.fsum(part.processor_seconds for part in parts),
        notes=notes,
    )
