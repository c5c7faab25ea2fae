"""A decoder trained on against a critic: sharper pictures, larger squared error."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.groundwork import Groundwork
from splitveil.attacks.inverse_network import Decoded, InverseNetwork, held_out
from splitveil.attacks.small_decoder import SmallDecoder
from splitveil.errors import BadInput, BadPlan
from splitveil.nets.critic import Critic
from splitveil.rng import Rng
from splitveil.threat import Pairs, QueryFree
from splitveil.training import Schedule, fit

_PENALTY = 10.0
_BETAS = (0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class AdversarialDecoder(Attack):
    """A trained decoder, trained on by `fidelity` · MSE - critic(x̂), a critic telling x̂ from x.

    The critic maximises mean critic(x) - mean critic(x̂) under a gradient penalty (Wasserstein, 10),
    `critic_steps` steps for each of the decoder's. A minimiser of squared error answers with a
    blurred mean; this one leaves that for something that looks real. By the trade-off between
    perception and distortion its MSE is larger, so it never stands in the headline: judge it by
    perceptual distance, recognition and retrieval, and beware of detail that it invents.

    Knowledge: pairs, as the decoder's. Cost: the decoder, then each epoch `critic_steps` + 1
    times that of it and of a critic of `width`. Image targets only.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "Wasserstein critic of Gulrajani et al. 2017 on a trained decoder"
    headline: ClassVar[bool] = False

    decoder: InverseNetwork = field(default_factory=SmallDecoder)
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 5e-4
    critic_rate: float = 1e-3
    critic_steps: int = 2
    fidelity: float = 100.0
    width: int = 16

    def __post_init__(self) -> None:
        if self.width < 8 or self.width % 8 or self.critic_steps < 1:
            raise BadPlan(f"width must be a multiple of 8 and critic_steps at least 1: {self}")
        if not (self.fidelity >= 0 and self.critic_rate > 0):
            raise BadPlan(f"fidelity must not be negative, critic_rate positive: {self}")
        self.schedule()

    def schedule(self) -> Schedule:
        """The schedule of the training against the critic."""
        return Schedule(epochs=self.epochs, batch=self.batch, learning_rate=self.learning_rate)

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        if knowledge.auxiliary.x.ndim != 4:
            raise BadInput(
                f"AdversarialDecoder rebuilds images (channels, rows, columns), got targets of "
                f"shape {tuple(knowledge.auxiliary.x.shape[1:])}: use Decoder"
            )
        laid = Groundwork.lay(self, knowledge, self.decoder.ground, rng)
        return self.learn(laid, knowledge, rng)

    def learn(self, laid: Groundwork, knowledge: QueryFree, rng: Rng) -> Decoded:
        """Train the decoder on groundwork already laid, then train it on against a critic."""
        decoded = self.decoder.learn(laid, knowledge, rng)
        found, shape = laid.found, laid.found.shape
        seen = held_out(laid.places.shape[1], rng)[1]
        with rng.child("critic").as_global():
            critic = Critic(shape, width=self.width).to(found.x.device)
        teach = torch.optim.Adam(critic.parameters(), lr=self.critic_rate, betas=_BETAS)

        def loss(net: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
            rows = seen[indices]
            z, guessed = laid.draw(rows, generator)
            made = decoded.correct(net, z, guessed, found.rows[rows]).unflatten(1, shape)
            real = found.x[rows].unflatten(1, shape)
            for _ in range(self.critic_steps):
                _teach(critic, teach, real, made.detach(), generator)
            error = (made - real).square().mean() / laid.scale**2
            return self.fidelity * error - critic(made).mean()

        net = deepcopy(decoded.net)
        fit(
            net,
            loss,
            size=len(seen),
            schedule=self.schedule(),
            rng=rng.child("adversarial"),
            device=found.x.device.type,
        )
        return replace(decoded, net=net)


def _teach(
    critic: nn.Module,
    optimiser: torch.optim.Optimizer,
    real: Tensor,
    made: Tensor,
    generator: torch.Generator,
) -> None:
    """One step of the critic, with the penalty on its slope between real and made images."""
    share = torch.rand((len(real), 1, 1, 1), generator=generator).to(real.device)
    between = (share * real + (1 - share) * made).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    optimiser.zero_grad(set_to_none=True)
    (critic(made).mean() - critic(real).mean() + _PENALTY * penalty).backward()
    optimiser.step()
