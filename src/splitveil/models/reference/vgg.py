"""A narrow VGG-11 with batch normalisation for 32x32 images (Simonyan & Zisserman 2015)."""

from collections import OrderedDict

from torch import nn

_PLAN = (16, "M", 32, "M", 64, 64, "M", 128, 128, "M", 128, 128, "M")


def vgg(channels: int = 1, classes: int = 10) -> nn.Module:
    """Eight 3x3 convolutions, each with BatchNorm and ReLU, five max-pools, one linear layer."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    width, index, pools = channels, 0, 0
    for step in _PLAN:
        if isinstance(step, int):
            index += 1
            layers[f"conv{index}"] = nn.Conv2d(width, step, 3, padding=1, bias=False)
            layers[f"norm{index}"] = nn.BatchNorm2d(step)
            layers[f"relu{index}"] = nn.ReLU(inplace=True)
            width = step
        else:
            pools += 1
            layers[f"pool{pools}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["classifier"] = nn.Linear(width, classes)
    return nn.Sequential(layers)
