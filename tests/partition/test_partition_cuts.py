"""Which cuts there are, and what they are called."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from handmade import BY_FX, Several, Shared
from torch import Tensor, nn

from splitveil.errors import UnknownName
from splitveil.models.reference import resnet, vgg, vit
from splitveil.models.reference.resnet import BasicBlock
from splitveil.partition import CutKind, trace
from splitveil.rng import Rng


class Wrapped(nn.Module):
    """Normalisation inside the model, as attackers need it."""

    def __init__(self, network: nn.Module) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.register_buffer("mean", torch.full((1, 1, 1, 1), 0.3))

    def forward(self, x: Any) -> Any:
        return self.network((x - self.mean) / 0.5)


@pytest.fixture
def grey() -> Tensor:
    return torch.rand(2, 1, 32, 32, generator=Rng(1).torch())


def test_menu_of_the_vgg_is_every_conv_activation_and_pool(grey: Tensor) -> None:
    menu = trace(vgg(), grey).menu()
    names = [cut.name for cut in menu]
    assert names[:4] == ["conv1", "relu1", "pool1", "conv2"]
    assert names[-1] == "pool5"
    counts = {kind: sum(cut.kind is kind for cut in menu) for kind in CutKind}
    assert counts[CutKind.CONVOLUTION] == counts[CutKind.ACTIVATION] == 8
    assert counts[CutKind.POOL] == 5
    assert len(menu) == 21


def test_menu_of_the_vit_is_patches_blocks_and_one_cut_inside_each(grey: Tensor) -> None:
    names = [cut.name for cut in trace(vit(), grey).menu()]
    inside = [name for i in range(5) for name in (f"blocks.{i}.mlp.1", f"blocks.{i}")]
    assert names == ["patches", *inside]


def test_the_output_and_the_pixels_are_not_on_the_menu(grey: Tensor) -> None:
    names = [cut.name for cut in trace(Wrapped(vgg()), grey).menu()]
    assert "classifier" not in names
    assert names[0] == "conv1"


def test_a_wrapper_changes_neither_names_nor_ids(grey: Tensor) -> None:
    bare, wrapped = trace(resnet(), grey).menu(), trace(Wrapped(resnet()), grey).menu()
    assert [(cut.name, cut.id) for cut in bare] == [(cut.name, cut.id) for cut in wrapped]


@pytest.mark.parametrize("factory", BY_FX)
def test_names_and_ids_are_unique_and_depth_rises(factory: Any, images: Tensor) -> None:
    traced = trace(factory(), images)
    for family in (traced.menu(), traced.prefixes(), tuple(traced.frontiers(200))):
        assert len({cut.id for cut in family}) == len(family)
        assert len({cut.name for cut in family}) == len(family)
        assert all(0 < cut.depth <= 1 for cut in family)
    for family in (traced.menu(), traced.prefixes()):
        assert all(a.depth <= b.depth for a, b in pairwise(family))
    for cut in traced.menu():
        assert traced.cut(cut.name) == traced.cut(cut.id) == cut


def test_shared_modules_are_counted(images: Tensor) -> None:
    names = [cut.name for cut in trace(Shared(), images).menu()]
    assert names == [
        "stem",
        "conv",
        "act",
        "conv#2",
        "act#2",
        "conv#3",
        "act#3",
        "adaptive_avg_pool2d",
    ]


def test_an_early_output_crosses_later_cuts_too(images: Tensor) -> None:
    traced = trace(Several(), images)
    assert [len(cut.layout.parts) for cut in traced.menu()] == [1, 1, 2, 2]


def test_ids_tell_shapes_apart() -> None:
    small, large = (trace(resnet(), torch.rand(1, 1, side, side)).menu() for side in (32, 64))
    assert [cut.name for cut in small] == [cut.name for cut in large]
    shared = {cut.id for cut in small} & {cut.id for cut in large}
    assert shared == {small[-1].id}  # the pool's output has one size


def test_unknown_names_suggest_the_nearest(images: Tensor) -> None:
    traced = trace(Shared(), images)
    with pytest.raises(UnknownName, match="did you mean stem"):
        traced.cut("stm")
    other = trace(vgg(), torch.rand(1, 1, 32, 32)).menu()[5]
    with pytest.raises(UnknownName, match="unknown cut 'pool2'"):
        traced.split(other)


def test_down_sets_of_three_residual_blocks_are_sixty() -> None:
    """A block has (5 + 1)(2 + 1) states before its sum, one after it; its last is the next's first.

    Thus 3 x 19 for three blocks whose skip is projected, and three steps of the stem.
    """
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    traced = trace(
        nn.Sequential(stem, *(BasicBlock(8, 8, 2) for _ in range(3))), torch.rand(1, 3, 16, 16)
    )
    assert sum(1 for _ in traced._finder.units.down_sets()) == 60
    found = list(traced.frontiers(1000))
    assert len(found) == 59  # the sixtieth is the whole network
    assert len(list(traced.frontiers(10))) == 10
    assert {cut.id for cut in traced.prefixes()} < {cut.id for cut in found}


def test_down_sets_come_lazily_where_they_are_too_many() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.stem = nn.Conv2d(3, 4, 1)
            self.arms = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(40))

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            return sum(arm(x) for arm in self.arms)

    traced = trace(Wide(), torch.rand(1, 3, 4, 4))  # more than 2^40 down-sets
    assert len(list(traced.frontiers(25))) == 25
