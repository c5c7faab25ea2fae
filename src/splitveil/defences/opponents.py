"""Adversaries at work: networks that learn beside the one that is trained against them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from splitveil.defences.base import Adversary, Batch, Part
from splitveil.errors import BadPlan
from splitveil.training import Checkpoint

_CLIP = 1.0


class Opponents:
    """All adversaries of a training, each with an Adam of its own."""

    def __init__(self, parts: tuple[tuple[str, Part], ...]) -> None:
        self._all: list[tuple[str, Adversary, torch.optim.Optimizer]] = [
            (
                name,
                adversary,
                torch.optim.Adam(adversary.network.parameters(), lr=adversary.learning_rate),
            )
            for name, part in parts
            for adversary in part.adversaries
        ]

    def step(self, batch: Batch) -> None:
        """Let each adversary learn from a batch; afterwards its weights are constants.

        Raises:
            BadPlan: naming the component whose adversary diverges.
        """
        given = batch.detached()
        for name, adversary, optimiser in self._all:
            network = adversary.network.requires_grad_(requires_grad=True)
            for _ in range(adversary.steps):
                loss = adversary.loss(given)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
                if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
                    raise BadPlan(
                        f"the adversary of {name} diverged (loss {float(loss.detach())}): lower "
                        "the component's weight or the learning rate"
                    )
                optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            network.requires_grad_(requires_grad=False)

    def state(self) -> dict[str, Tensor]:
        """Copies of the optimisers' moments; weights are in the network's own state."""
        return {
            f"{place}.{name}": value
            for place, (_, adversary, optimiser) in enumerate(self._all)
            for name, value in Checkpoint.of(adversary.network, optimiser, ())
            .copied()
            .optimiser.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state` was taken, the weights being back already."""
        for place, (_, adversary, optimiser) in enumerate(self._all):
            own = {
                name.removeprefix(f"{place}."): value
                for name, value in state.items()
                if name.startswith(f"{place}.")
            }
            Checkpoint(
                epoch=0, losses=(), network=adversary.network.state_dict(), optimiser=own
            ).restore(adversary.network, optimiser)
            adversary.network.requires_grad_(requires_grad=False)
