"""Wide residual networks and their mirrors: counted parameters, any image size."""

import pytest
import torch
from torch import nn

from splitveil.errors import BadPlan
from splitveil.nets.small_pair import SmallDecoder, small_classifier
from splitveil.nets.wide_resnet import MirroredWideResNet, wide_resnet


def parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def test_classifiers_have_the_published_parameters() -> None:
    assert parameters(wide_resnet(1, 10, width=1)) == 369_210  # .369 M
    assert parameters(wide_resnet(3, 10, width=5)) == 9_132_634  # 9.13 M


@pytest.mark.parametrize(
    ("code", "width", "channels", "millions"),
    [(10, 1, 1, 0.145), (10, 5, 3, 3.25), (100, 5, 3, 3.72), (200, 5, 3, 4.26)],
)
def test_decoders_have_the_published_parameters(
    code: int, width: int, channels: int, millions: float
) -> None:
    found = parameters(MirroredWideResNet(code, (channels, 32, 32), width=width))
    unused = code**2  # the published count holds a table of code x code that nothing reads
    assert round((found + unused) / 1e6, 3 if width == 1 else 2) == millions


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (20, 27), (8, 9)])
def test_pairs_take_images_of_any_size(size: tuple[int, int]) -> None:
    x = torch.rand(3, 2, *size)
    for classifier in (wide_resnet(2, 5, depth=10), small_classifier(2, 5)):
        assert classifier(x).shape == (3, 5)
    shape = (2, *size)
    for decoder in (MirroredWideResNet(5, shape, depth=10), SmallDecoder(5, shape)):
        picture = decoder(torch.randn(3, 5)).detach()
        assert picture.shape == x.shape
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


def test_small_pairs_are_small() -> None:
    assert 50_000 < parameters(small_classifier(1, 10)) < 100_000
    assert 100_000 < parameters(SmallDecoder(10, (1, 32, 32))) < 200_000


@pytest.mark.parametrize(("depth", "width"), [(9, 1), (12, 1), (4, 1), (28, 0)])
def test_a_depth_that_does_not_exist_is_refused(depth: int, width: int) -> None:
    with pytest.raises(BadPlan, match="10, 16, 22"):
        wide_resnet(1, 10, depth=depth, width=width)
    with pytest.raises(BadPlan, match="10, 16, 22"):
        MirroredWideResNet(10, (1, 32, 32), depth=depth, width=width)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(BadPlan, match="positive"):
        small_classifier(0, 10)
    with pytest.raises(BadPlan, match="positive"):
        SmallDecoder(0, (1, 8, 8))
