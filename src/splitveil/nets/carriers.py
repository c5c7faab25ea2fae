"""Modules that change what crosses a cut: the device's side of each, and the cloud's.

They act on one tensor that crosses, maps (n, c, h, w), tokens (n, t, d) or vectors (n, d), and are
built again from their class name and `settings` when stored weights are loaded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from splitveil.nets.carrier import Carrier
from splitveil.nets.projections import (
    FirstToken,
    FromFrequencies,
    Grouping,
    LowFrequencies,
    OtherTokens,
    Principal,
    Ungrouping,
    Unproject,
)


def channels_of(shape: Sequence[int]) -> int:
    """The channels of maps (c, h, w), the width of tokens (t, d) or vectors (d)."""
    return shape[0] if len(shape) == 3 else shape[-1]


def with_channels(shape: Sequence[int], channels: int) -> tuple[int, ...]:
    """The same shape with other channels."""
    return (channels, *shape[1:]) if len(shape) == 3 else (*shape[:-1], channels)


def mixing(shape: Sequence[int], before: int, after: int, reach: int) -> nn.Conv2d | nn.Linear:
    """A convolution over maps, reaching `reach` cells; a linear map over tokens and vectors.

    It starts as the identity, as far as channels go.
    """
    mix: nn.Conv2d | nn.Linear
    if len(shape) == 3:
        mix = nn.Conv2d(before, after, reach, padding=reach // 2)
        nn.init.dirac_(mix.weight)
    else:
        mix = nn.Linear(before, after)
        nn.init.eye_(mix.weight)
    assert mix.bias is not None  # noqa: S101 - the layers' default
    nn.init.zeros_(mix.bias)
    return mix


class Narrow(Carrier):
    """All channels of `shape` to `kept` by a 3x3 convolution, or a linear map."""

    def __init__(self, shape: Sequence[int], kept: int) -> None:
        Carrier.__init__(self, shape=list(shape), kept=kept)
        self.mix = mixing(shape, channels_of(shape), kept, 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, *shape) to fewer channels."""
        out: Tensor = self.mix(z)
        return out


class Widen(Carrier):
    """The way back from `Narrow`."""

    def __init__(self, shape: Sequence[int], kept: int) -> None:
        Carrier.__init__(self, shape=list(shape), kept=kept)
        self.mix = mixing(shape, kept, channels_of(shape), 3)

    def forward(self, z: Tensor) -> Tensor:
        """Map `kept` channels to (n, *shape)."""
        out: Tensor = self.mix(z)
        return out


class Through(Carrier):
    """What arrives, unchanged."""

    def __init__(self) -> None:
        Carrier.__init__(self)

    def forward(self, z: Tensor) -> Tensor:
        """The same."""
        return z


class Spread(Carrier):
    """Means of `kept` channels, in units of each channel's own noise: mix(z) / s."""

    def __init__(self, shape: Sequence[int], kept: int) -> None:
        Carrier.__init__(self, shape=list(shape), kept=kept)
        self.mix = mixing(shape, channels_of(shape), kept, 1)
        self.log_scale = nn.Parameter(torch.zeros(kept))

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, *shape) to `kept` channels."""
        scale = along_channels(self.log_scale.exp(), z)
        out: Tensor = self.mix(z) / scale
        return out


class Gather(Carrier):
    """The way back from `Spread`: mix(s · what arrives)."""

    def __init__(self, shape: Sequence[int], kept: int) -> None:
        Carrier.__init__(self, shape=list(shape), kept=kept)
        self.mix = mixing(shape, kept, channels_of(shape), 1)
        self.log_scale = nn.Parameter(torch.zeros(kept))

    def forward(self, z: Tensor) -> Tensor:
        """Map `kept` channels to (n, *shape)."""
        out: Tensor = self.mix(z * along_channels(self.log_scale.exp(), z))
        return out


@torch.no_grad()
def start_at_principal(device: Narrow, cloud: Widen, z: Tensor) -> None:
    """Start a bottleneck as the best linear one: the principal channels of features (n, *shape)."""
    centre, basis = principal_channels(z, device.settings["kept"])
    for mix, weight, shift in (
        (device.mix, basis.T, -basis.T @ centre),
        (cloud.mix, basis, centre),
    ):
        nn.init.zeros_(mix.weight)
        middle = mix.weight[:, :, 1, 1] if isinstance(mix, nn.Conv2d) else mix.weight
        middle.copy_(weight)
        assert mix.bias is not None  # noqa: S101 - the layers' default
        mix.bias.copy_(shift)


def principal_channels(z: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """Mean (c) of channels over images and places, and the leading directions (c, kept)."""
    values = (z.movedim(1, -1) if z.dim() == 4 else z).flatten(0, -2).double()
    centre = values.mean(0)
    offset = values - centre
    directions = torch.linalg.eigh(offset.T @ offset / len(values)).eigenvectors
    return centre, directions.flip(1)[:, :kept]


def along_channels(values: Tensor, z: Tensor) -> Tensor:
    """One value a channel, shaped to meet a batch of maps, tokens or vectors."""
    return values[:, None, None] if z.dim() == 4 else values


class ChannelGate(Carrier):
    """Zeroes all but the `kept` channels that a small network scores highest, image by image.

    Kept channels are weighed by the sigmoid of their score, which is how the scores learn.
    """

    def __init__(self, channels: int, kept: int) -> None:
        Carrier.__init__(self, channels=channels, kept=kept)
        hidden = max(4, channels // 2)
        self.score = nn.Sequential(
            nn.Linear(channels, hidden), nn.SiLU(), nn.Linear(hidden, channels)
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, c, h, w) or (n, t, c) to the same shape."""
        maps = z.dim() == 4
        scores = self.score(z.mean((2, 3)) if maps else z.mean(1))
        least = scores.topk(self.settings["kept"], 1).values[:, -1:]
        gate = 2 * scores.sigmoid() * (scores >= least)
        return z * (gate[:, :, None, None] if maps else gate[:, None])


class SparseCode(Carrier):
    """Codes of a learnt dictionary by `steps` of locally competitive activity.

    u <- u + (W'z - u - (W'W - I) a) / 2, a = the part of u above `threshold`, per place.
    """

    def __init__(self, shape: Sequence[int], codes: int, steps: int, threshold: float) -> None:
        Carrier.__init__(self, shape=list(shape), codes=codes, steps=steps, threshold=threshold)
        start = torch.empty(channels_of(shape), codes)
        nn.init.orthogonal_(start)
        self.dictionary = nn.Parameter(start)

    def forward(self, z: Tensor) -> Tensor:
        """Map maps, tokens or vectors to `codes` channels."""
        maps = z.dim() == 4
        values = z.movedim(1, -1) if maps else z
        drive = values @ self.dictionary
        rivals = self.dictionary.T @ self.dictionary
        threshold = self.settings["threshold"]
        state = drive
        for _ in range(self.settings["steps"]):
            active = nn.functional.softshrink(state, threshold)
            state = state + 0.5 * (drive - state - active @ rivals + active)
        codes = nn.functional.softshrink(state, threshold)
        return codes.movedim(-1, 1) if maps else codes


class SparseDecode(Carrier):
    """The way back from `SparseCode`: a dictionary of its own."""

    def __init__(self, shape: Sequence[int], codes: int) -> None:
        Carrier.__init__(self, shape=list(shape), codes=codes)
        start = torch.empty(codes, channels_of(shape))
        nn.init.orthogonal_(start)
        self.dictionary = nn.Parameter(start)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes to (n, *shape)."""
        out = z.movedim(1, -1) @ self.dictionary if z.dim() == 4 else z @ self.dictionary
        # in plain order, so that convolutions behind it round as they do behind unpacked features
        return out.movedim(-1, 1).contiguous() if z.dim() == 4 else out


CARRIERS: dict[str, type[Carrier]] = {
    kind.__name__: kind
    for kind in (
        ChannelGate,
        FirstToken,
        FromFrequencies,
        Gather,
        Grouping,
        LowFrequencies,
        Narrow,
        OtherTokens,
        Principal,
        SparseCode,
        SparseDecode,
        Spread,
        Through,
        Ungrouping,
        Unproject,
        Widen,
    )
}


@torch.no_grad()
def shape_behind(module: nn.Module, shape: Sequence[int]) -> tuple[int, ...]:
    """What `module` makes of the shape of one image's tensor."""
    state = module.training
    found = module.eval()(torch.zeros(2, *shape))
    module.train(state)
    return tuple(found.shape[1:])
