from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from splitveil.nets import evaluating
from splitveil.nets.inverter import ImageInverter, MapStem, VectorInverter
from splitveil.rng import Rng


def image_net(features: tuple[int, ...], shape: tuple[int, ...]) -> ImageInverter:
    with Rng(0).as_global():
        return ImageInverter(features, shape, guesses=2, classes=3, width=8, depth=1).eval()


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with Rng(0, ("nets",)).as_global():
        yield


SHAPES = [
    ((16, 32, 32), (1, 32, 32)),
    ((4, 8, 8), (3, 32, 32)),
    ((4, 1, 1), (1, 32, 32)),
    ((4, 7, 7), (1, 30, 30)),
    ((4, 10, 6), (2, 20, 12)),
    ((9,), (1, 13, 17)),
]


@pytest.mark.parametrize(("features", "shape"), SHAPES)
def test_image_inverter_starts_as_no_correction_and_keeps_shapes(
    features: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    net = image_net(features, shape)
    z = torch.randn(5, *features)
    guesses = torch.randn(5, 2 * shape[0], *shape[1:])
    rows = torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(net(z, guesses, rows), torch.zeros(5, *shape))
    nn.init.normal_(net.out.weight)
    together = net(z, guesses, rows)
    apart = torch.cat([net(z[i : i + 1], guesses[i : i + 1], rows[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(apart, together, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("features", "shape"), SHAPES)
def test_every_weight_gets_a_gradient(features: tuple[int, ...], shape: tuple[int, ...]) -> None:
    net = image_net(features, shape)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    guesses = torch.randn(3, 2 * shape[0], *shape[1:])
    net(torch.randn(3, *features), guesses, torch.tensor([0, 1, 2])).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())


def test_memory_format_of_features_does_not_matter() -> None:
    """Channels-last features must not reach GroupNorm, whose kernel for them crashes."""
    net = image_net((4, 8, 8), (1, 32, 32))
    nn.init.normal_(net.out.weight)
    z, guesses = torch.randn(2, 4, 8, 8), torch.randn(2, 2, 32, 32)
    rows = torch.tensor([0, 1])
    last = z.to(memory_format=torch.channels_last)
    out = net(last, guesses.to(memory_format=torch.channels_last), rows)
    torch.testing.assert_close(out, net(z, guesses, rows))
    out.sum().backward()


@pytest.mark.parametrize("size", [(32, 32), (2, 2), (8, 8), (5, 5)])
def test_stem_reaches_its_grid(size: tuple[int, int]) -> None:
    assert MapStem(3, size, 8, (8, 8))(torch.zeros(2, 3, *size)).shape == (2, 8, 8, 8)


def test_folding_loses_nothing() -> None:
    """A finer map and the grid hold the same values, so the stem's input can be read back."""
    stem = MapStem(2, (8, 8), 32, (2, 2))
    assert stem.conv.in_channels == 2 * 16
    assert stem.conv.kernel_size == (1, 1)


def test_vector_inverter_starts_as_no_correction() -> None:
    net = VectorInverter(6, 4, guesses=1, classes=2, width=16, depth=2)
    out: Tensor = net(torch.randn(3, 6), torch.randn(3, 4), torch.tensor([0, 1, 0]))
    assert torch.equal(out, torch.zeros(3, 4))


def test_evaluating_restores_every_mode_also_after_an_error() -> None:
    still = nn.BatchNorm1d(2)
    module = nn.Sequential(nn.Dropout(), nn.Sequential(still, nn.Dropout())).train()
    still.eval()
    before = [part.training for part in module.modules()]
    with evaluating(module):
        assert not any(part.training for part in module.modules())
        assert not torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), evaluating(module):
        raise ZeroDivisionError
    assert [part.training for part in module.modules()] == before
    assert torch.is_grad_enabled()
