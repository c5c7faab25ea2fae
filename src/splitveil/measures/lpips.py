"""Learned perceptual image patch similarity, with weights that you bring."""

from pathlib import Path
from typing import Literal

import torch
import torchmetrics
from torch import Tensor, nn

from splitveil.errors import BadModel, BadPlan
from splitveil.models.weights import read_weights

Backbone = Literal["alex", "vgg"]

# the sensor's mean and sd in [-1, 1], to which the published heads were fitted
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_ROUNDING = 1e-8
_LEAST_SIDE = {"alex": 31, "vgg": 16}
_WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


class Lpips(nn.Module):
    """LPIPS (Zhang, Isola, Efros, Shechtman and Wang 2018) as a network of two image batches.

    d(x, y) = sum_l mean over positions of sum_c w_lc (a_lc(x) - a_lc(y))², where a_l are the
    activations of stage l divided at each position by their length over channels, w_l >= 0 the
    head's weights. Make it with `lpips`, give it to `perceptual_distance`.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, stages: nn.ModuleList, heads: list[Tensor], *, least: int, size: int | None
    ) -> None:
        nn.Module.__init__(self)
        self.stages = stages
        self.least, self.size = least, size
        self.heads = nn.ParameterList(nn.Parameter(head, requires_grad=False) for head in heads)
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances (n,) of images (n, 1 or 3, h, w) in [0, 1].

        Raises:
            BadModel: if there are not 1 or 3 channels, or the images are too small.
        """
        total = x.new_zeros(len(x))
        a, b = self._prepared(x), self._prepared(y)
        for stage, head in zip(self.stages, self.heads, strict=True):
            a, b = stage(a), stage(b)
            apart = (_directions(a) - _directions(b)).square()
            total = total + torch.einsum("nchw,c->nhw", apart, head).mean((1, 2))
        return total

    def _prepared(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise BadModel(f"LPIPS looks at 1 or 3 channels, got shape {tuple(images.shape)}")
        coloured = images.expand(-1, 3, -1, -1)
        if self.size is not None:
            coloured = nn.functional.interpolate(
                coloured, (self.size, self.size), mode="bilinear", align_corners=False
            )
        height, width = coloured.shape[-2:]
        if min(height, width) < self.least:
            raise BadModel(
                f"LPIPS needs sides of at least {self.least} pixels, got {height}x{width}: give "
                "size=64, and compare with numbers of that size only"
            )
        scaled: Tensor = (2 * coloured - 1 - self.shift) / self.scale
        return scaled


def lpips(
    backbone: str | Path,
    *,
    net: Backbone = "alex",
    heads: str | Path | None = None,
    size: int | None = None,
) -> nn.Module:
    """LPIPS from files: a backbone trained on ImageNet, and the heads fitted to human judgement.

    Nothing is downloaded, and no backbone ships: `backbone` is a state dict of torchvision's
    AlexNet or VGG16 with its names (features.0.weight, ...), safetensors or .pt. The published
    heads come with torchmetrics. The two nets give different numbers: name the net beside them.
    It may not be the loss of the attack that is judged, which would then be judged by itself.

    Args:
        backbone: file of the backbone's weights; classifier weights in it are passed over.
        net: which network it is.
        heads: file of the heads (lin0.model.1.weight, ...), by default those in torchmetrics.
        size: side to which images are scaled first; None leaves them. LPIPS changes with size.

    Returns:
        A module of two batches in evaluation mode, for `perceptual_distance`.

    Raises:
        BadModel: if a file cannot be read or does not hold what the net needs.
        BadPlan: if `net` is neither, or `size` too small.
    """
    if net not in _WIDTHS:
        raise BadPlan(f"LPIPS has the nets alex and vgg here, got '{net}'")
    if size is not None and size < _LEAST_SIDE[net]:
        raise BadPlan(f"LPIPS with {net} needs size >= {_LEAST_SIDE[net]}, got {size}")
    features = _alex() if net == "alex" else _vgg()
    weights = read_weights(Path(backbone))
    own = {f"features.{name}": value for name, value in features.state_dict().items()}
    _fits(own, weights, f"{backbone} holds no {net} backbone")
    features.load_state_dict(
        {name.removeprefix("features."): weights[name].float() for name in own}
    )
    shipped = Path(torchmetrics.__file__).parent / f"functional/image/lpips_models/{net}.pth"
    found = read_weights(Path(heads) if heads is not None else shipped)
    names = [f"lin{stage}.model.1.weight" for stage in range(len(_WIDTHS[net]))]
    wanted = {
        name: torch.zeros(1, width, 1, 1) for name, width in zip(names, _WIDTHS[net], strict=True)
    }
    _fits(wanted, found, f"{heads or shipped} holds no {net} heads")
    fitted = [found[name].float().flatten() for name in names]
    made = Lpips(_staged(features), fitted, least=_LEAST_SIDE[net], size=size)
    return made.eval().requires_grad_(False)


def _fits(wanted: dict[str, Tensor], given: dict[str, Tensor], what: str) -> None:
    """Refuse weights that lack a name or have another shape.

    Raises:
        BadModel: naming the first.
    """
    for name, value in wanted.items():
        if name not in given:
            raise BadModel(f"{what}: '{name}' is missing")
        if given[name].shape != value.shape:
            raise BadModel(
                f"{what}: '{name}' has shape {tuple(given[name].shape)}, expected "
                f"{tuple(value.shape)}"
            )


def _alex() -> nn.Sequential:
    """AlexNet's features up to its fifth activation, numbered as in torchvision."""
    with torch.device("meta"):
        made = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
    return made.to_empty(device="cpu")


def _vgg() -> nn.Sequential:
    """VGG16's features up to relu5_3, numbered as in torchvision."""
    layers: list[nn.Module] = []
    before = 3
    with torch.device("meta"):
        for depth, width in zip((2, 2, 3, 3, 3), _WIDTHS["vgg"], strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            for _ in range(depth):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
        made = nn.Sequential(*layers)
    return made.to_empty(device="cpu")


def _staged(features: nn.Sequential) -> nn.ModuleList:
    """The layers between one looked-at activation and the next.

    AlexNet is looked at after every activation, VGG16 after the last one before each pooling.
    """
    layers = list(features)
    every = sum(isinstance(layer, nn.ReLU) for layer in layers) == len(_WIDTHS["alex"])
    ends = [
        place + 1
        for place, layer in enumerate(layers)
        if isinstance(layer, nn.ReLU)
        and (every or place + 1 == len(layers) or isinstance(layers[place + 1], nn.MaxPool2d))
    ]
    starts = [0, *ends[:-1]]
    return nn.ModuleList(
        nn.Sequential(*layers[start:end]) for start, end in zip(starts, ends, strict=True)
    )


def _directions(features: Tensor) -> Tensor:
    """Features of length one over channels at each position."""
    length = (features.square().sum(1, keepdim=True) + _ROUNDING).sqrt()
    return features / length
