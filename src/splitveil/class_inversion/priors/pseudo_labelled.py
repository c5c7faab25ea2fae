"""P3: a generator for each class, from the public images the model is surest of (PLG-MI)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.losses.base import Answer
from splitveil.class_inversion.losses.max_margin import MaxMargin
from splitveil.class_inversion.priors.recipe import PriorRecipe, Table
from splitveil.class_inversion.priors.two_players import Loss, Rules
from splitveil.class_inversion.views import Views
from splitveil.errors import BadPlan
from splitveil.nets.generator import Generator
from splitveil.nets.projection_critic import ProjectionCritic


@dataclass(frozen=True, kw_only=True)
class PseudoLabelled(PriorRecipe):
    """For each class the `top` public images by the model's probability; one may serve several.

    Conditional batch normalisation against a projection critic with hinge losses, and the margin of
    the model on a view of each image made, weighted `margin`, added to the generator's loss. Asks
    the model for every public image once, and for a batch at every step, whose gradient it follows.

    References: Yuan et al., AAAI 2023.

    Raises:
        BadPlan: if a size is not positive or the weight negative.
    """

    name: ClassVar[str] = "pseudo-labelled"
    level: ClassVar[Level] = "white"
    distils: ClassVar[bool] = True
    conditional: ClassVar[bool] = True
    latent: int = 128
    width: int = 32
    critic_width: int = 32
    top: int = 30
    margin: float = 0.2
    views: Views = field(default_factory=lambda: Views(draws=1))
    rules: Rules = field(default_factory=lambda: Rules(steps=30_000, decays=(0.0, 0.9)))

    def __post_init__(self) -> None:
        if min(self.latent, self.width, self.critic_width, self.top) < 1 or self.margin < 0:
            raise BadPlan(f"latent, widths and top must be positive, margin 0 or more, got {self}")

    def networks(self, shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, nn.Module]:
        return (
            Generator(self.latent, shape, width=self.width, classes=classes),
            ProjectionCritic(shape, classes, width=self.critic_width),
        )

    def losses(self, table: Table) -> tuple[Loss, Loss]:
        scores = table.target.scores(table.public)
        best = scores.topk(min(self.top, len(scores)), dim=0).indices.T
        shape = tuple(table.public.shape[1:])
        classes = table.target.outputs(shape)

        def labels(draws: torch.Generator) -> Tensor:
            return torch.randint(classes, (table.batch,), generator=draws).to(best.device)

        def critic(draws: torch.Generator) -> Tensor:
            wanted, other = labels(draws), labels(draws)
            places = torch.randint(best.shape[1], (table.batch,), generator=draws)
            real = table.public[best[wanted, places.to(best.device)]]
            with torch.no_grad():
                fake = table.generator(table.latents(draws), other)
            told = (1 - table.critic(real, wanted)).relu().mean()
            hinge: Tensor = told + (1 + table.critic(fake, other)).relu().mean()
            return hinge

        def generator(draws: torch.Generator) -> Tensor:
            wanted = labels(draws)
            made = table.generator(table.latents(draws), wanted)
            loss: Tensor = -table.critic(made, wanted).mean()
            if not self.margin:
                return loss
            answer = Answer(table.target.logits(self.views(made, draws)))
            return loss + self.margin * MaxMargin()(answer, wanted).mean()

        return generator, critic
