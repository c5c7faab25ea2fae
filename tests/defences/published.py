"""Bodies of the sizes that were frozen in published experiments, to be built without memory."""

from torch import Tensor, nn

CLASSES = 1000


class Unit(nn.Module):
    """A residual unit with its normalisation first."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        nn.Module.__init__(self)
        self.shortcut: nn.Module = nn.MaxPool2d(1, stride)
        if inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.residual(x)
        return out


def ir(units: tuple[int, int, int, int]) -> nn.Module:
    """Units of 64, 128, 256 and 512 channels for 64 x 64 faces, each stage halving the size."""
    body: list[nn.Module] = []
    width = 64
    for outputs, count in zip((64, 128, 256, 512), units, strict=True):
        for number in range(count):
            body.append(Unit(width, outputs, 2 if number == 0 else 1))
            width = outputs
    network = nn.Sequential()
    stem = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)
    )
    embed = nn.Sequential(
        nn.BatchNorm2d(512),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(512 * 16, 512),
        nn.BatchNorm1d(512),
    )
    parts = {"stem": stem, "body": nn.Sequential(*body), "embed": embed}
    for name, part in (parts | {"fc": nn.Linear(512, CLASSES)}).items():
        network.add_module(name, part)
    return network


def vgg16() -> nn.Module:
    """Thirteen convolutions with BatchNorm, and a head whose last normalisation has no shift."""
    layers: list[nn.Module] = []
    width = 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            conv = nn.Conv2d(width, outputs, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
            width = outputs
        layers.append(nn.MaxPool2d(2))
    network = nn.Sequential()
    norm = nn.BatchNorm1d(512 * 4)
    norm.bias.requires_grad_(False)
    parts = {"features": nn.Sequential(*layers), "flatten": nn.Flatten(), "bn": norm}
    for name, part in (parts | {"fc": nn.Linear(512 * 4, CLASSES)}).items():
        network.add_module(name, part)
    return network
