"""A hardening on disk: one file, replaced whole after every epoch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from splitveil.defences.watch import EpochState
from splitveil.errors import BadPlan
from splitveil.storage import make_folder, write_whole
from splitveil.training import Checkpoint

NAME = "checkpoint.safetensors"


@dataclass(frozen=True, eq=False, kw_only=True)
class Progress:
    """Where a hardening stands: the training, the network to keep, and what was watched.

    `plan` is the digest of all that decides the result; `states` begin with epoch 0; `kept` is the
    network of the epoch `best`; `finished` says that nothing is left to train; `adversaries` are
    the states of their optimisers.
    """

    plan: str
    training: Checkpoint
    kept: Mapping[str, Tensor]
    best: int
    states: tuple[EpochState, ...]
    finished: bool
    adversaries: Mapping[str, Tensor] = field(default_factory=dict)

    def store(self, folder: Path) -> None:
        """Write into `folder`, so that a kill leaves the old file or the new one.

        Raises:
            StorageFailed: if it cannot be written.
        """
        tensors = {f"network/{k}": v for k, v in self.training.network.items()}
        tensors |= {f"optimiser/{k}": v for k, v in self.training.optimiser.items()}
        tensors |= {f"kept/{k}": v for k, v in self.kept.items()}
        tensors |= {f"adversaries/{k}": v for k, v in self.adversaries.items()}
        described = {
            "plan": self.plan,
            "losses": list(self.training.losses),
            "best": self.best,
            "finished": self.finished,
            "states": [state.to_json() for state in self.states],
        }
        # clones, as tied weights may share memory and safetensors refuses that
        content = save(
            {k: v.clone().contiguous() for k, v in tensors.items()},
            {"splitveil": json.dumps(described)},
        )
        make_folder(folder)
        write_whole(folder / NAME, content)

    @staticmethod
    def load(folder: Path, plan: str) -> "Progress | None":
        """What `folder` holds, or None if nothing was trained there.

        Raises:
            BadPlan: if it holds a training of another plan, or a damaged file.
        """
        path = folder / NAME
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as stored:
                described = json.loads(stored.metadata()["splitveil"])
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
            states = tuple(map(EpochState.from_json, described["states"]))
            found, losses = described["plan"], tuple(described["losses"])
            best, finished = described["best"], described["finished"]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise BadPlan(f"{path} is damaged: remove it or choose another folder") from error
        if found != plan:
            raise BadPlan(
                f"{folder} holds a training with other settings, model or data: choose another "
                "folder, or repeat the settings to go on"
            )
        part = {
            name: {
                key.partition("/")[2]: value
                for key, value in tensors.items()
                if key.startswith(f"{name}/")
            }
            for name in ("network", "optimiser", "kept", "adversaries")
        }
        return Progress(
            plan=plan,
            training=Checkpoint(
                epoch=len(losses),
                losses=losses,
                network=part["network"],
                optimiser=part["optimiser"],
            ),
            kept=part["kept"],
            best=best,
            states=states,
            finished=finished,
            adversaries=part["adversaries"],
        )
