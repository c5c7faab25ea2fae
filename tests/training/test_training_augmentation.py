"""Views of images: each part against a loop, and nothing else changes."""

import pytest
import torch

from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.training import Augmentation


def images(n: int = 200, size: tuple[int, int] = (9, 12)) -> torch.Tensor:
    return torch.rand(n, 2, *size, generator=Rng(0).torch())


def test_a_flip_mirrors_and_nothing_else() -> None:
    x = images()
    always = Augmentation(flip=1, shift=0, erase=0)
    assert torch.equal(always(x, Rng(1).torch()), x.flip(-1))
    never = Augmentation(flip=0, shift=0, erase=0)
    assert torch.equal(never(x, Rng(1).torch()), x)


def test_about_half_are_mirrored() -> None:
    x = images(1000)
    found = Augmentation(shift=0, erase=0)(x, Rng(1).torch())
    mirrored = (found == x.flip(-1)).flatten(1).all(1)
    assert bool((mirrored | (found == x).flatten(1).all(1)).all())
    assert 0.45 < float(mirrored.double().mean()) < 0.55


def test_a_shift_repeats_the_edge() -> None:
    x = images(400)
    found = Augmentation(flip=0, shift=0.25, erase=0)(x, Rng(1).torch())
    reach_rows, reach_columns = 2, 3
    padded = torch.nn.functional.pad(
        x, (reach_columns, reach_columns, reach_rows, reach_rows), mode="replicate"
    )
    seen = set()
    for image, whole in zip(found, padded, strict=True):
        matches = [
            (i, j)
            for i in range(2 * reach_rows + 1)
            for j in range(2 * reach_columns + 1)
            if torch.equal(image, whole[:, i : i + 9, j : j + 12])
        ]
        assert matches
        seen.update(matches)
    assert len(seen) == 35  # every shift there is


def test_what_is_erased_is_one_rectangle_of_the_promised_area() -> None:
    x = torch.full((400, 1, 40, 40), 2.0)
    found = Augmentation(flip=0, shift=0, erase=1)(x, Rng(1).torch())[:, 0] != 2.0
    area = found.double().mean((1, 2))
    assert float(area.min()) > 0.01
    assert float(area.max()) < 0.24
    rows, columns = found.any(2).sum(1), found.any(1).sum(1)
    assert torch.equal(found.sum((1, 2)), rows * columns)  # a full rectangle
    half = Augmentation(flip=0, shift=0, erase=0.5)(x, Rng(1).torch())
    assert 0.4 < float((half != 2).flatten(1).any(1).double().mean()) < 0.6


def test_the_same_stream_draws_the_same_views() -> None:
    x = images()
    first, second = (Augmentation()(x, Rng(3).torch()) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("setting", [{"flip": 1.5}, {"erase": -0.1}, {"shift": 1.0}])
def test_impossible_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(BadPlan, match="probabilities"):
        Augmentation(**setting)
