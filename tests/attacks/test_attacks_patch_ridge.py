import pytest
import torch
from attack_problems import Problem, blobs, partition_of
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from splitveil.attacks import PatchRidge, Ridge
from splitveil.attacks.base import Attack
from splitveil.attacks.grid import Grid, blocks
from splitveil.attacks.patch_ridge import Local
from splitveil.errors import BadInput, BadPlan
from splitveil.partition.layout import Layout, Part
from splitveil.rng import Rng
from splitveil.threat import Observation


class Fold(nn.Module):
    """2 x 2 pixel blocks to channels, each position then shifted: exactly invertible per cell."""

    def forward(self, x: Tensor) -> Tensor:
        z = pixel_unshuffle(x, 2)
        ramp = torch.linspace(-1, 1, z.shape[-1])
        return (3 * z + ramp).flatten(1)


def problem(head: nn.Module, *shapes: tuple[int, ...], size: int = 8) -> Problem:
    (x, y), (x_test, y_test) = blobs(200, size, 1), blobs(60, size, 2)
    return Problem(partition_of(head, *shapes), x, y, x_test, y_test)


def attack(p: Problem, recipe: Attack) -> tuple[float, Local]:
    fitted = recipe.fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    assert guess.shape == p.x_test.shape
    return float((guess - p.x_test).square().mean()), fitted  # type: ignore[return-value]


def test_inverts_what_is_linear_in_a_cell_exactly_and_prefers_the_smallest_that_does() -> None:
    error, fitted = attack(problem(Fold(), (8, 4, 4)), PatchRidge(neighbourhoods=(1,)))
    assert error < 1e-8
    assert fitted.weight.shape == (8, 8, 1, 1)


def test_sharing_equals_least_squares_over_all_positions() -> None:
    """With the 1 x 1 neighbourhood the weights solve a ridge problem that can be written out."""
    p = problem(Fold(), (8, 4, 4))
    noisy = partition_of(Fold(), (8, 4, 4), sigma=0.5)
    p = Problem(noisy, p.auxiliary.x, torch.zeros(200, dtype=torch.int64), p.x_test, p.y_test * 0)
    _, fitted = attack(p, PatchRidge(neighbourhoods=(1,)))
    guess = fitted.predict(p.z_test[:, 0], torch.zeros(60, dtype=torch.int64))
    error = float((guess - p.x_test.flatten(1)).square().mean())
    # z = 3x + e in every cell, so that second moments give the least linear error
    cells = pixel_unshuffle(p.x_test, 2).transpose(0, 1).flatten(1).double()
    mean = pixel_unshuffle(p.auxiliary.x, 2).mean(0, keepdim=True)
    centred = (pixel_unshuffle(p.x_test, 2) - mean).transpose(0, 1).flatten(1).double()
    s = centred @ centred.T / cells.shape[1]
    gain = torch.linalg.solve(9 * s + 0.25 * torch.eye(8), 3 * s)
    exact = float((s - 3 * s @ gain).trace() / 8)
    assert error == pytest.approx(exact, rel=0.05)
    assert fitted.held_out_error == pytest.approx(exact, rel=0.15)


def test_beats_the_full_ridge_where_features_are_local(image_problem: Problem) -> None:
    local, fitted = attack(image_problem, PatchRidge())
    full, _ = attack(image_problem, Ridge())
    assert local < full
    assert fitted.neighbourhood > 1


def test_token_layouts_are_maps_with_the_class_token_left_out() -> None:
    class Tokens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tokens = pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)
            token = torch.full_like(tokens[:, :1], 1e6)
            return torch.cat([token, tokens], 1).flatten(1)

    error, fitted = attack(problem(Tokens(), (17, 8)), PatchRidge())
    assert error < 1e-8
    assert (fitted.grid.channels, fitted.grid.height, fitted.grid.width) == (8, 4, 4)


def test_channels_last_and_coarser_parts_are_joined() -> None:
    class Parts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            last = pixel_unshuffle(x, 2)[:, :4].permute(0, 2, 3, 1).flatten(1)
            coarse = pixel_unshuffle(x[:, 1:], 4).flatten(1)
            return torch.cat([last, coarse, x.mean((1, 2, 3), keepdim=True).flatten(1)], 1)

    error, fitted = attack(problem(Parts(), (4, 4, 4), (16, 2, 2), (1,)), PatchRidge())
    grid = fitted.grid
    assert (grid.channels, grid.height, grid.width) == (20, 4, 4)
    # the second colour is in the coarse map, whose position inside the cell is not known
    assert error < 0.02


@pytest.mark.parametrize(
    ("size", "cells", "reach"), [(8, 4, 2), (10, 4, 3), (32, 7, 5), (4, 8, 1), (28, 26, 2)]
)
def test_blocks_cover_every_pixel(size: int, cells: int, reach: int) -> None:
    found = blocks(size, cells)
    assert found.shape == (cells, reach)
    assert set(found.flatten().tolist()) == set(range(size))


@pytest.mark.parametrize(("kernel", "stride", "out"), [(4, 2, 3), (3, 1, 6), (2, 3, 3)])
def test_sizes_that_do_not_divide(kernel: int, stride: int, out: int) -> None:
    with Rng(0).as_global():
        head = nn.Sequential(nn.Conv2d(2, 40, kernel, stride), nn.Flatten())
    p = problem(head, (40, out, out))
    within = (
        p.x_test
        - torch.stack([p.auxiliary.x[p.auxiliary.y == k].mean(0) for k in range(3)])[p.y_test]
    )
    assert attack(p, PatchRidge())[0] < 0.1 * float(within.square().mean())


def test_finer_than_the_image() -> None:
    head = nn.Sequential(nn.Upsample(scale_factor=2), nn.Flatten())
    assert attack(problem(head, (2, 16, 16)), PatchRidge())[0] < 1e-7


def test_guesses_made_without_a_target_are_worse_than_those_made_with_it() -> None:
    from splitveil.attacks.evidence import gather

    p = problem(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), (2, 2, 2))
    found = gather(PatchRidge(), p.knowledge(), Rng(0))
    local, apart = PatchRidge().learn(found, Rng(0))
    own = local.predict(found.z, found.rows)
    inside, outside = ((g - found.x).square().mean() for g in (own, apart))
    assert inside < outside < 1.2 * inside


def test_refusals_say_why() -> None:
    with pytest.raises(BadInput, match="no part that crosses is a map"):
        Grid.of(Layout((Part("z", (10,)), Part("y", (3, 8, 9)))), (1, 8, 8))
    with pytest.raises(BadInput, match="image targets"):
        Grid.of(Layout((Part("z", (3, 8, 8)),)), (10,))
    with pytest.raises(BadInput, match="raise features"):
        attack(problem(Fold(), (8, 4, 4)), PatchRidge(features=4))
    with pytest.raises(BadPlan, match="odd"):
        PatchRidge(neighbourhoods=(2,))


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        ((65, 80), (1, 32, 32), (80, 8, 8)),
        ((64, 80), (1, 32, 32), (80, 8, 8)),
        ((16, 32, 32), (1, 32, 32), (16, 32, 32)),
        ((7, 7, 96), (3, 224, 224), (96, 7, 7)),
        ((12, 16, 8), (3, 96, 64), None),
        ((24, 5), (3, 96, 64), (5, 6, 4)),
        ((10, 5), (1, 32, 32), (5, 3, 3)),
    ],
)
def test_which_parts_are_maps(
    shape: tuple[int, ...], image: tuple[int, int, int], expected: tuple[int, ...] | None
) -> None:
    layout = Layout((Part("z", shape),))
    if expected is None:
        with pytest.raises(BadInput):
            Grid.of(layout, image)
        return
    grid = Grid.of(layout, image)
    assert (grid.channels, grid.height, grid.width) == expected
    assert grid(torch.zeros(2, layout.size)).shape == (2, *expected)
