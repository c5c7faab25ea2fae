"""Models of the attacker's own, taught by the model under attack: what LOMMA averages over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from splitveil.class_inversion import files
from splitveil.class_inversion.access import Access
from splitveil.errors import BadPlan
from splitveil.models.reference import ir, resnet, vgg
from splitveil.naming import resolve
from splitveil.rng import Rng
from splitveil.shapes import Images
from splitveil.training import Epoch, Schedule, fit

_FAMILIES: dict[str, Callable[..., nn.Module]] = {"ir": ir, "resnet": resnet, "vgg": vgg}


@dataclass(frozen=True, kw_only=True)
class Students:
    """Networks that learn the model's probabilities on public images; no private image is used.

    Each lowers KL(p, softmax of its logits) to the model's p. `families` are "resnet", "ir" and
    "vgg" for images of 32 pixels, or `package.module:factory`, called with channels and classes.

    References: Hinton et al. 2015; Nguyen et al., CVPR 2023.

    Raises:
        BadPlan: if there are none.
    """

    families: tuple[str, ...] = ("resnet", "ir", "vgg")
    schedule: Schedule = field(default_factory=lambda: Schedule(epochs=20))

    def __post_init__(self) -> None:
        if not self.families:
            raise BadPlan("students need at least one family, such as resnet")


def teach(
    recipe: Students,
    public: Images,
    target: Access,
    *,
    rng: Rng,
    folder: Path | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> tuple[nn.Module, ...]:
    """Train the students, or read those that `folder` holds; one query a public image.

    Raises:
        KnowledgeMissing: with label access.
        BudgetExceeded: if the queries run out.
        BadPlan: if a family does not exist, training diverges, or a file is damaged.
        StorageFailed: if one cannot be written.
    """
    answers = target.scores(public).clamp(min=1e-12)
    shown = public.to(target.device)
    digest = files.digest(recipe, public, rng, target.digest)
    found = []
    for place, family in enumerate(recipe.families):
        own = rng.child("student", place)
        make = _FAMILIES.get(family) or resolve(family, what="student", error=BadPlan)
        with own.child("weights").as_global():
            network: nn.Module = make(channels=public.shape[1], classes=answers.shape[1])
        kept = None if folder is None else folder / f"student-{place}-{digest[:16]}.safetensors"
        stored = None if kept is None else files.read(kept)
        if stored is not None:
            network.load_state_dict(stored[0])
        else:
            _fit(network, shown, answers, recipe.schedule, own, target.device, on_epoch)
            if kept is not None:
                files.write(kept, network.state_dict(), {"family": family})
        found.append(network.eval())
    return tuple(found)


def _fit(
    network: nn.Module,
    shown: Images,
    answers: Tensor,
    schedule: Schedule,
    rng: Rng,
    device: str,
    on_epoch: Callable[[Epoch], None],
) -> None:
    def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
        rows = indices.to(shown.device)
        wanted = answers[rows]
        said = module(shown[rows]).log_softmax(1)
        return (wanted * (wanted.log() - said)).sum(1).mean()

    fit(
        network,
        loss,
        size=len(shown),
        schedule=schedule,
        rng=rng.child("training"),
        device=device,
        on_epoch=on_epoch,
    )
