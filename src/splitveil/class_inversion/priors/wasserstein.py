"""P1: a Wasserstein generator with gradient penalty, of public images alone."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.priors.recipe import PriorRecipe, Table
from splitveil.class_inversion.priors.two_players import Loss, Rules
from splitveil.errors import BadPlan
from splitveil.nets.critic import Critic
from splitveil.nets.generator import Generator


@dataclass(frozen=True, kw_only=True)
class Wasserstein(PriorRecipe):
    """Critic: E D(G z) - E D(x) + `penalty` E (‖∇D(x̃)‖ - 1)², x̃ between the two; G: -E D(G z).

    Asks the model nothing: one prior serves every defence.

    References: Gulrajani et al. 2017; Zhang et al., CVPR 2020.

    Raises:
        BadPlan: if a size or the penalty is not positive.
    """

    name: ClassVar[str] = "wasserstein"
    level: ClassVar[Level] = "label"
    distils: ClassVar[bool] = False
    latent: int = 100
    width: int = 32
    critic_width: int = 32
    penalty: float = 10.0
    rules: Rules = field(default_factory=lambda: Rules(steps=9000))

    def __post_init__(self) -> None:
        if min(self.latent, self.width, self.critic_width) < 1 or not 0 < self.penalty < math.inf:
            raise BadPlan(f"latent, widths and penalty must be positive, got {self}")

    def networks(self, shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, nn.Module]:
        return Generator(self.latent, shape, width=self.width), Critic(
            shape, width=self.critic_width
        )

    def losses(self, table: Table) -> tuple[Loss, Loss]:
        def critic(draws: torch.Generator) -> Tensor:
            with torch.no_grad():
                fake = table.generator(table.latents(draws))
            real = table.real(draws)
            share = torch.rand(len(real), 1, 1, 1, generator=draws).to(real)
            between = torch.lerp(real, fake, share).requires_grad_()
            (slope,) = torch.autograd.grad(table.critic(between).sum(), between, create_graph=True)
            steep = (slope.flatten(1).norm(dim=1) - 1).square().mean()
            told: Tensor = table.critic(fake).mean() - table.critic(real).mean()
            return told + self.penalty * steep

        def generator(draws: torch.Generator) -> Tensor:
            told: Tensor = -table.critic(table.generator(table.latents(draws))).mean()
            return told

        return generator, critic
