"""P2: a generator against a critic that knows the model's classes from its answers (KEDMI)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from splitveil.class_inversion.access import Level
from splitveil.class_inversion.priors.recipe import PriorRecipe, Table
from splitveil.class_inversion.priors.two_players import Loss, Rules
from splitveil.errors import BadPlan
from splitveil.nets.class_critic import ClassCritic
from splitveil.nets.generator import Generator


@dataclass(frozen=True, kw_only=True)
class KPlusOne(PriorRecipe):
    """The critic has a logit a class and calls an image fake where all are low.

    With d its logits, l = ln Σ exp d, p the model's probabilities for a public image:
    critic: -Σ p ln softmax(d(x)) + ½ (softplus l(x') - l(x') + softplus l(G z)), x' other public
    images; generator: mean_j |E h_j(G z) - E h_j(x')| + `entropy` · the summed entropy of
    softmax(d(G z)), h the critic's features. Asks the model for every public image once.

    References: Chen et al., ICCV 2021.

    Raises:
        BadPlan: if a size is not positive or the weight negative.
    """

    name: ClassVar[str] = "k-plus-one"
    level: ClassVar[Level] = "score"
    distils: ClassVar[bool] = True
    latent: int = 100
    width: int = 32
    critic_width: int = 32
    entropy: float = 1e-4
    rules: Rules = field(default_factory=lambda: Rules(steps=9000))

    def __post_init__(self) -> None:
        if min(self.latent, self.width, self.critic_width) < 1 or self.entropy < 0:
            raise BadPlan(f"latent and widths must be positive, the weight 0 or more, got {self}")

    def networks(self, shape: tuple[int, int, int], classes: int) -> tuple[nn.Module, nn.Module]:
        return (
            Generator(self.latent, shape, width=self.width),
            ClassCritic(shape, classes, width=self.critic_width),
        )

    def losses(self, table: Table) -> tuple[Loss, Loss]:
        answers = table.target.scores(table.public)
        judge = table.critic
        assert isinstance(judge, ClassCritic)  # noqa: S101 - made by `networks`

        def critic(draws: torch.Generator) -> Tensor:
            rows = torch.randint(len(table.public), (table.batch,), generator=draws)
            rows = rows.to(answers.device)
            with torch.no_grad():
                fake = table.generator(table.latents(draws))
            named = -(answers[rows] * judge(table.public[rows]).log_softmax(1)).sum(1).mean()
            real = judge(table.real(draws)).logsumexp(1)
            made = judge(fake).logsumexp(1)
            return named + (softplus(real) - real + softplus(made)).mean() / 2

        def generator(draws: torch.Generator) -> Tensor:
            made = judge.features(table.generator(table.latents(draws)))
            with torch.no_grad():
                real = judge.features(table.real(draws)).mean(0)
            spread = judge.out(made).log_softmax(1)
            apart = (made.mean(0) - real).abs().mean()
            return apart - self.entropy * (spread.exp() * spread).sum()

        return generator, critic
