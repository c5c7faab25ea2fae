"""Small networks, each with one thing that makes cutting hard."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InPlace(nn.Module):
    """Four spellings of in-place change, and a skip that reads the changed tensor."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = self.conv1(x)
        skip = x
        F.relu(x, inplace=True)
        x = self.conv2(x)
        x.mul_(0.5)
        x += skip
        x = torch.relu_(self.relu(x))
        return self.fc(x.mean((2, 3)))


class FunctionalDropout(nn.Module):
    """Dropout and a hand-written batch normalisation that follow `self.training`."""

    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.fc1 = nn.Linear(8 * 49, 16)
        self.fc2 = nn.Linear(16, 4)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("variance", torch.ones(8))

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        x = F.batch_norm(x, self.mean, self.variance, training=self.training)
        x = F.dropout2d(F.relu(x), 0.2, training=self.training)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(F.dropout(x, 0.5, self.training))


class Shared(nn.Module):
    """One convolution and one activation used three times, with batch normalisation between."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.SiLU()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for _ in range(3):
            x = self.act(self.norm(self.conv(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Functional(nn.Module):
    """Parameters without modules, concatenation, chunks, and sums."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.kernel = nn.Parameter(torch.randn(8, 3, 3, 3) * 0.2)
        self.weight = nn.Parameter(torch.randn(4, 16) * 0.2)

    def forward(self, x: Any) -> Any:
        x = F.relu(F.conv2d(x, self.kernel, padding=1))
        left, right = x.chunk(2, 1)
        x = torch.cat([left + right, left * 2, torch.tanh(right), right - 1], 1)
        return F.linear(F.max_pool2d(x, 4).mean((2, 3)), self.weight)


class BatchSecond(nn.Module):
    """Tokens with the batch on axis 1, a class token, and positions, around torch's encoder."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(17, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=False)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        x = self.patches(x).flatten(2).permute(2, 0, 1)
        x = torch.cat([self.token.expand(-1, x.shape[1], -1), x], 0) + self.positions
        return self.fc(self.encoder(x)[0])


class Windows(nn.Module):
    """Rows of four windows an image, first image by image, then window by window."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.mix = nn.Linear(8, 8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        n, c, h, w = x.shape
        x = x.view(n, c, 2, h // 2, 2, w // 2).permute(0, 2, 4, 3, 5, 1)
        x = torch.relu(self.mix(x.reshape(n * 4, h // 2 * (w // 2), c)))
        x = x.view(n, 4, -1, c).transpose(0, 1).reshape(n * 4, -1, c)
        x = torch.tanh(self.mix(x))
        return self.fc(x.view(4, n, -1, c).mean((0, 2)))


class Several(nn.Module):
    """A dictionary of outputs, one of them early and one in a tuple."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2)
        self.fc = nn.Linear(72, 4)

    def forward(self, x: Any) -> Any:
        early = F.relu(self.conv1(x))
        coarse = early.mean(1)
        late = F.relu(self.conv2(early))
        return {"logits": self.fc(late.flatten(1)), "maps": (coarse, late)}


class Branching(nn.Module):
    """An inner module that branches on its data: fx must keep it whole."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Any) -> Any:
        return x * self.scale if x.sum() > 0 else x - self.scale


class WithBranching(nn.Module):
    """Convolutions around a data-dependent module."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.branch = Branching()
        self.conv2 = nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = self.branch(self.conv1(x))
        return self.fc(self.conv2(x).mean((2, 3)))


class OnlyExport(nn.Module):
    """Python on the shapes of the outermost module: fx cannot follow, export can."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        if x.shape[-1] % 2:
            x = F.pad(x, (0, 1))
        x = self.act(self.norm(self.conv(x)))
        x = F.dropout(x, 0.2, training=self.training)
        x = x * torch.arange(x.shape[-1], device=x.device)
        return self.fc(self.drop(x.mean((2, 3))))


class Untraceable(nn.Module):
    """The outermost module branches on its data."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


class Integers(nn.Module):
    """Whole numbers and booleans beside the features."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.table = nn.Embedding(8, 4)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        chosen = x.argmax(1)
        mask = (x > 0).any(1)
        return self.fc((self.table(chosen) * mask.unsqueeze(-1)).mean((1, 2)))


class ChangesItsInput(nn.Module):
    """Changes what it is given, and cannot be traced."""

    def forward(self, x: Any) -> Any:
        x += 1.0 if x.sum() > 0 else 2.0
        return x * 2


class WithInputChange(nn.Module):
    """A module changes in place a tensor that nobody reads afterwards."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(3, 8, 3)
        self.change = ChangesItsInput()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.fc(self.change(self.conv(x)).mean((2, 3)))


class DropPath(nn.Module):
    """Drops whole rows in train, and is nothing at all in eval."""

    def forward(self, x: Any) -> Any:
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full((x.shape[0], 1, 1, 1), 0.5)) / 0.5


class StochasticDepth(nn.Module):
    """A residual branch behind a module that only acts in train."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.drop = DropPath()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        x = self.conv1(x)
        x = x + self.drop(torch.relu(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


BY_FX: tuple[Callable[[], nn.Module], ...] = (
    InPlace,
    FunctionalDropout,
    Shared,
    Functional,
    BatchSecond,
    Windows,
    Several,
    WithBranching,
    Integers,
    WithInputChange,
    StochasticDepth,
)
