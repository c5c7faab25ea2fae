"""Fixed maps across a cut: principal channels, low frequencies, tokens."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from splitveil.nets.carrier import Carrier


class Principal(Carrier):
    """Coordinates of channels along fixed directions: B'(z - m)."""

    centre: Tensor
    basis: Tensor

    def __init__(self, channels: int, kept: int) -> None:
        Carrier.__init__(self, channels=channels, kept=kept)
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("basis", torch.eye(channels)[:, :kept].contiguous())

    def forward(self, z: Tensor) -> Tensor:
        """Map maps, tokens or vectors to fewer channels."""
        axis = 1 if z.dim() == 4 else -1
        out: Tensor = ((z.movedim(axis, -1) - self.centre) @ self.basis).movedim(-1, axis)
        return out


class Unproject(Carrier):
    """The way back from `Principal`: m + B z."""

    centre: Tensor
    basis: Tensor

    def __init__(self, channels: int, kept: int) -> None:
        Carrier.__init__(self, channels=channels, kept=kept)
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("basis", torch.eye(channels)[:, :kept].contiguous())

    def forward(self, z: Tensor) -> Tensor:
        """Map coordinates to all channels."""
        axis = 1 if z.dim() == 4 else -1
        out: Tensor = (z.movedim(axis, -1) @ self.basis.T + self.centre).movedim(-1, axis)
        # in plain order, so that convolutions behind it round as they do behind unpacked features
        return out.contiguous()


def cosines(size: int, kept: int) -> Tensor:
    """The first `kept` rows of the orthonormal DCT-II of length `size`."""
    places = torch.arange(size, dtype=torch.float64)
    rows = torch.arange(kept, dtype=torch.float64)[:, None]
    matrix = (math.pi / size * rows * (places + 0.5)).cos() * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


class LowFrequencies(Carrier):
    """The lowest `kept` x `kept` cosine coefficients of every map."""

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, kept: int) -> None:
        Carrier.__init__(self, height=height, width=width, kept=kept)
        self.register_buffer("rows", cosines(height, kept))
        self.register_buffer("columns", cosines(width, kept))

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, c, height, width) to (n, c, kept, kept)."""
        return self.rows @ z @ self.columns.T


class FromFrequencies(Carrier):
    """The way back from `LowFrequencies`, the missing ones zero."""

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, kept: int) -> None:
        Carrier.__init__(self, height=height, width=width, kept=kept)
        self.register_buffer("rows", cosines(height, kept))
        self.register_buffer("columns", cosines(width, kept))

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, c, kept, kept) to (n, c, height, width)."""
        return self.rows.T @ z @ self.columns


class FirstToken(Carrier):
    """The first token alone."""

    def __init__(self) -> None:
        Carrier.__init__(self)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, t, d) to (n, 1, d)."""
        return z[:, :1]


class OtherTokens(Carrier):
    """Learnt tokens in the place of those that stayed behind."""

    def __init__(self, tokens: int, width: int) -> None:
        Carrier.__init__(self, tokens=tokens, width=width)
        self.others = nn.Parameter(torch.zeros(1, tokens - 1, width))

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, 1, d) to (n, t, d)."""
        return torch.cat([z, self.others.expand(z.shape[0], -1, -1)], 1)


class Grouping(Carrier):
    """A fixed matrix over tokens: `weights` (t, k) as nested numbers, tokens to groups."""

    matrix: Tensor

    def __init__(self, tokens: int, groups: Sequence[int], *, mean: int) -> None:
        Carrier.__init__(self, tokens=tokens, groups=list(groups), mean=mean)
        self.register_buffer("matrix", membership(tokens, groups, mean=bool(mean)))

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, t, d) to (n, k, d)."""
        return self.matrix.T @ z


class Ungrouping(Carrier):
    """Every token gets its group's value; tokens of no group a learnt one."""

    matrix: Tensor
    absent: Tensor

    def __init__(self, tokens: int, groups: Sequence[int], width: int) -> None:
        Carrier.__init__(self, tokens=tokens, groups=list(groups), width=width)
        matrix = membership(tokens, groups, mean=False)
        self.register_buffer("matrix", matrix)
        self.register_buffer("absent", 1 - matrix.sum(1, keepdim=True))
        self.filler = nn.Parameter(torch.zeros(width))

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, k, d) to (n, t, d)."""
        return self.matrix @ z + self.absent * self.filler


def membership(tokens: int, groups: Sequence[int], *, mean: bool) -> Tensor:
    """(t, k) with 1, or 1 / size, where token i is in group k; -1 in `groups` means in none."""
    given = torch.tensor(list(groups))
    matrix = torch.zeros(tokens, int(given.max()) + 1)
    inside = given >= 0
    matrix[torch.arange(tokens)[inside], given[inside]] = 1.0
    return matrix / matrix.sum(0) if mean else matrix
