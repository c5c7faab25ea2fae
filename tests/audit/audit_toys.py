"""Small trials that work, fail, wait or die, for executors that must not care which."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitveil.audit.executors import Done, Work
from splitveil.errors import BadModel, UnknownName
from splitveil.quantities import Kind, Quantity
from splitveil.records import Environment, Outcome, Status, Task, Trial

HERE = Environment(
    splitveil="0", python="3", torch="2", platform="p", processor="c", threads=1, device="cpu"
)


def trial(number: int, *, method: str = "square()", cut: str = "c") -> Trial:
    return Trial(
        scope="s", task=Task.ATTACK, cut=cut, release="Identity()", method=method, seed=number
    )


def outcome(number: int, **changes: object) -> Outcome:
    settings: dict[str, object] = {
        "trial": trial(number),
        "status": Status.DONE,
        "environment": HERE,
        "seconds": 0.5,
        "quantities": {
            "mse": Quantity.exact(number**2 + 0.1, unit="x", kind=Kind.MEASURED, n=3),
            "psnr": Quantity.exact(float("inf"), unit="dB", kind=Kind.MEASURED, n=3),
        },
        "details": {"names": ["é", "\u2028 \n"], "losses": [0.1, 1e-300]},
    }
    return Outcome(**{**settings, **changes})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Toy:
    """Makes a worker; `method` says what a trial does to it."""

    folder: str = ""
    broken: str = ""

    def __call__(self) -> "Toy":
        if self.broken == "name":
            raise UnknownName("model", "vgh", ["vgg"])
        if self.broken == "model":
            raise BadModel("weights do not fit")
        if self.broken == "exit":
            os._exit(3)
        return self

    def do(self, task: Trial) -> Done:
        if task.method == "die()":
            os.kill(os.getpid(), signal.SIGKILL)
        if task.method == "die once()":
            mark = Path(self.folder) / "died"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if task.method == "wait()":
            time.sleep(60)
        result = outcome(task.seed, trial=task)
        return Done(task, result, {"x": np.arange(task.seed)})


@dataclass(frozen=True)
class MakeToy:
    toy: Toy

    def __call__(self) -> Work:
        return self.toy().do


class Line:
    """A queue in the order given."""

    def __init__(self, trials: list[Trial]) -> None:
        self.trials = list(trials)

    def next(self, last: Trial | None) -> Trial | None:
        return self.trials.pop(0) if self.trials else None
