"""An IR network for 32x32 images: the face-recognition residual family (Deng et al. 2019).

Each unit normalises first, uses PReLU, and its shortcut is a strided sub-sampling where the width
stays and a 1x1 convolution where it changes.
"""

from collections import OrderedDict

from torch import Tensor, nn


class Unit(nn.Module):
    """shortcut(x) + BN-conv-BN-PReLU-conv-BN(x)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        nn.Module.__init__(self)
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.MaxPool2d(1, stride)
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        out: Tensor = self.shortcut(x) + self.residual(x)
        return out


def ir(channels: int = 1, classes: int = 10) -> nn.Module:
    """Stages of two units with widths 16, 32, 64, 64, a 64-value embedding, linear layer."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(channels, 16, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(16),
        prelu=nn.PReLU(16),
    )
    width = 16
    for stage, (outputs, stride) in enumerate(((16, 1), (32, 2), (64, 2), (64, 2)), start=1):
        layers[f"stage{stage}"] = nn.Sequential(
            OrderedDict(unit1=Unit(width, outputs, stride), unit2=Unit(outputs, outputs, 1))
        )
        width = outputs
    layers["norm_out"] = nn.BatchNorm2d(width)
    layers["dropout"] = nn.Dropout(0.2)
    layers["flatten"] = nn.Flatten()
    layers["embedding"] = nn.Linear(width * 16, 64)
    layers["norm_embedding"] = nn.BatchNorm1d(64)
    layers["classifier"] = nn.Linear(64, classes)
    return nn.Sequential(layers)
