"""Named random streams: adding a trial changes no other trial's numbers."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Rng:
    """A stream named by a seed and a path; `child` names an independent one.

    The generator depends on the seed and the path only, never on what was drawn before, so two
    calls of `torch()` give the same numbers: name a child for each use. Draw on the CPU and move
    the result, so that every device sees the same numbers.
    """

    seed: int
    path: tuple[str, ...] = ()
    from_system: bool = False

    @staticmethod
    def from_entropy() -> "Rng":
        """A stream nobody can repeat, for real noise: a seeded one can be subtracted."""
        return Rng(secrets.randbits(63), from_system=True)

    def child(self, *names: object) -> "Rng":
        """The independent stream named by this one's path followed by `names`."""
        return Rng(self.seed, (*self.path, *(str(name) for name in names)), self.from_system)

    def _key(self) -> int:
        text = "\x1f".join((str(self.seed), *self.path))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    def torch(self) -> torch.Generator:
        """A fresh CPU generator at the start of this stream."""
        return torch.Generator().manual_seed(self._key() & (2**63 - 1))

    def numpy(self) -> np.random.Generator:
        """A fresh numpy generator at the start of this stream."""
        return np.random.default_rng(self._key())

    @contextmanager
    def as_global(self) -> Iterator[None]:
        """Run code that only knows the global generator; its state is put back afterwards."""
        with torch.random.fork_rng():
            torch.manual_seed(self._key() & (2**63 - 1))  # noqa: TID251 - forked, restored on exit
            yield
