"""ResNet-20 for 32x32 images (He et al. 2016): three stages of three basic blocks."""

from collections import OrderedDict

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """relu(x + F(x)), with a 1x1 projection on the skip where shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        nn.Module.__init__(self)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        residual = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        out: Tensor = self.relu2(residual + self.shortcut(x))
        return out


def resnet(channels: int = 1, classes: int = 10) -> nn.Module:
    """Stem of width 16, stages of width 16, 32, 64, average pool, linear layer."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(channels, 16, 3, padding=1, bias=False),
        norm=nn.BatchNorm2d(16),
        relu=nn.ReLU(inplace=True),
    )
    width = 16
    for stage, outputs in enumerate((16, 32, 64), start=1):
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        for block in range(1, 4):
            stride = 2 if stage > 1 and block == 1 else 1
            blocks[f"block{block}"] = BasicBlock(width, outputs, stride)
            width = outputs
        layers[f"stage{stage}"] = nn.Sequential(blocks)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(width, classes)
    return nn.Sequential(layers)
