"""Where a training run stands, so that it can be stopped and go on bit for bit."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from splitveil.errors import BadPlan


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, by "position.name"; its own tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": value for i, part in state.items() for name, value in part.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser back what `optimiser_tensors` found."""
    nested: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        position, _, name = key.partition(".")
        # loading aliases the tensors, and training would change them
        nested.setdefault(int(position), {})[name] = value.clone()
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": nested, "param_groups": groups})


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint:
    """A run after `epoch` whole passes: mean losses, the network's state, the optimiser's.

    `optimiser` holds each parameter's moments under "position.name". The tensors are the run's
    own and change as it goes on: `copied` before keeping one.
    """

    epoch: int
    losses: tuple[float, ...]
    network: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]

    @staticmethod
    def of(
        module: nn.Module, optimiser: torch.optim.Optimizer, losses: tuple[float, ...]
    ) -> "Checkpoint":
        """Where `module` and its optimiser stand."""
        return Checkpoint(
            epoch=len(losses),
            losses=losses,
            network=module.state_dict(),
            optimiser=optimiser_tensors(optimiser),
        )

    def copied(self) -> "Checkpoint":
        """The same on the CPU, in memory of its own."""
        return Checkpoint(
            epoch=self.epoch,
            losses=self.losses,
            network={name: value.detach().cpu().clone() for name, value in self.network.items()},
            optimiser={
                name: value.detach().cpu().clone() for name, value in self.optimiser.items()
            },
        )

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Put `module` and its optimiser back to where the run stood.

        Raises:
            BadPlan: if the checkpoint is of another network.
        """
        try:
            module.load_state_dict(dict(self.network))
            restore_optimiser(optimiser, self.optimiser)
        except (KeyError, RuntimeError, ValueError) as error:
            raise BadPlan(
                "the checkpoint is of another network: choose another folder to train in"
            ) from error
