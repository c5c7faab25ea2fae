"""Priors that are trained here, kept as files, and trained again for another model."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from splitveil.class_inversion import files
from splitveil.class_inversion.access import Access, Level
from splitveil.class_inversion.priors.base import Prior
from splitveil.class_inversion.priors.two_players import Ledger, Loss, Rules, play
from splitveil.errors import BadData
from splitveil.rng import Rng
from splitveil.shapes import Images


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """What a training is played on: public images, the door to the model, and both networks."""

    public: Images
    target: Access
    generator: nn.Module
    critic: nn.Module
    latent: int
    batch: int

    def real(self, generator: torch.Generator) -> Images:
        """Some public images."""
        rows = torch.randint(len(self.public), (self.batch,), generator=generator)
        return self.public[rows.to(self.public.device)]

    def latents(self, generator: torch.Generator) -> torch.Tensor:
        """Latents for as many, (batch, latent)."""
        drawn = torch.randn(self.batch, self.latent, generator=generator)
        return drawn.to(self.public)


class PriorRecipe(ABC):
    """Settings of a prior trained on public images; a frozen dataclass whose `repr` rebuilds it.

    `level` is the access its training needs. Where `distils` is True it learns from the model's
    answers: it belongs to one model, and is trained again for every defended one.
    """

    name: ClassVar[str]
    level: ClassVar[Level]
    distils: ClassVar[bool]
    conditional: ClassVar[bool] = False
    latent: int
    rules: Rules

    @abstractmethod
    def networks(self, shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, nn.Module]:
        """Generator and critic, untrained."""

    @abstractmethod
    def losses(self, table: Table) -> tuple[Loss, Loss]:
        """Those of the generator and of the critic."""

    def prior(
        self,
        networks: tuple[nn.Module, nn.Module],
        shape: tuple[int, int, int],
        classes: int,
        queries: int,
    ) -> Prior:
        """The trained networks as a prior."""
        generator, critic = networks
        return Prior(
            name=self.name,
            generator=generator,
            latent=self.latent,
            shape=shape,
            classes=classes if self.conditional else None,
            critic=None if self.conditional else critic,
            queries=queries,
            distilled=self.distils,
        )


def train_prior(
    recipe: PriorRecipe,
    public: Images,
    target: Access,
    *,
    rng: Rng,
    folder: Path | None = None,
    on_step: Callable[[int, int], None] = lambda step, of: None,
) -> Prior:
    """Train a prior on public images, or read it where `folder` holds it already.

    The file's name is a digest of the recipe, the images, the stream, and of the model where the
    prior distils it. Killed, the same call goes on. A prior that is read costs the queries that
    its training cost.

    Raises:
        BadData: if there are no public images, or they leave [0, 1].
        KnowledgeMissing: if access is below what the training needs.
        BudgetExceeded: if the queries run out.
        BadPlan: if training diverges, or a file is damaged.
        StorageFailed: if it cannot be written.
    """
    if not len(public) or not (float(public.min()) >= 0 and float(public.max()) <= 1):
        raise BadData(f"a prior needs public images in [0, 1], got {len(public)} of them")
    target.require(recipe.level, f"training {recipe.name}")
    shape = (public.shape[1], public.shape[2], public.shape[3])
    classes = target.outputs(shape)
    plan = files.digest(
        recipe, public, rng, target.digest if recipe.distils else None, classes, shape
    )
    kept = None if folder is None else folder / f"{recipe.name}-{plan[:16]}.safetensors"
    with rng.child("weights").as_global():
        generator, critic = recipe.networks(shape, classes)
    found = None if kept is None else files.read(kept)
    if found is not None:
        generator.load_state_dict(files.part(found[0], "generator"))
        critic.load_state_dict(files.part(found[0], "critic"))
        target.charge(int(found[1]["queries"]))
        read = recipe.prior((generator, critic), shape, classes, int(found[1]["queries"]))
        return read.to(target.device)
    before = target.used
    generator.to(target.device)
    critic.to(target.device)
    table = Table(
        public=public.to(target.device),
        target=target,
        generator=generator,
        critic=critic,
        latent=recipe.latent,
        batch=recipe.rules.batch,
    )
    generator_loss, critic_loss = recipe.losses(table)
    first = target.used
    checkpoint = None if kept is None else kept.with_name(f"{kept.stem}.checkpoint")
    play(
        generator,
        critic,
        generator_loss=generator_loss,
        critic_loss=critic_loss,
        rules=recipe.rules,
        rng=rng,
        ledger=Ledger(lambda: target.used - first, target.charge),
        plan=plan,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    queries = target.used - before
    if kept is not None and checkpoint is not None:
        tensors = files.named("generator", generator.state_dict())
        tensors |= files.named("critic", critic.state_dict())
        files.write(kept, tensors, {"recipe": repr(recipe), "plan": plan, "queries": queries})
        checkpoint.unlink(missing_ok=True)
    return recipe.prior((generator, critic), shape, classes, queries)
