"""What an audit says while it runs; no torch.

In this order: `Stage` as each part of the preparation begins, `Utility` once the model has been
scored, `Begun` when trials start, `Ended` after each trial, then `Finished`. A `Warned` may come at
any time. `Finished` comes last however the run ends, an interruption included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from splitveil.quantities import Quantity
from splitveil.records import Outcome


@dataclass(frozen=True)
class Stage:
    """A part of the preparation begins: `text` reads as in "Loading model and data"."""

    text: str


@dataclass(frozen=True)
class Utility:
    """What the uncut model is good for on the test images.

    `name` is "accuracy", "utility" for the user's own score, or "agreement" without labels.
    """

    name: str
    quantity: Quantity
    images: int


@dataclass(frozen=True)
class Begun:
    """Trials start: `todo` of them in about `seconds`, `kept` were already in the folder."""

    todo: int
    kept: int
    cuts: int
    jobs: int
    seconds: float


@dataclass(frozen=True)
class Ended:
    """A trial ended; `cut` is its cut's name, `left` the estimated seconds to go."""

    outcome: Outcome
    cut: str
    done: int
    of: int
    left: float


@dataclass(frozen=True)
class Warned:
    """Something a person should know, in one line."""

    message: str


@dataclass(frozen=True)
class Finished:
    """The run is over and its summary written; `message` is one line with what to do next."""

    path: Path
    complete: bool
    verdict: str
    message: str


Event: TypeAlias = Stage | Utility | Begun | Ended | Warned | Finished
OnEvent: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
