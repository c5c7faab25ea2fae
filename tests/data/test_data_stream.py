"""Streams of images: what they hold, in what order, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from splitveil.data import load_data, open_stream
from splitveil.data.pixels import PixelPlan
from splitveil.errors import BadData, UnknownName
from splitveil.rng import Rng

PLAN = PixelPlan(size=32, fit="pad")


def test_the_demo_streams_its_test_images_as_stored() -> None:
    stream = open_stream(None, PLAN, batch=300)
    batches = list(stream)
    assert [len(x) for x in batches] == [300, 300, 300, 100]
    assert len(stream) == 1000
    assert torch.equal(torch.cat(batches), load_data(None).test.x)


def test_a_random_order_holds_every_image_once_and_repeats() -> None:
    stored = torch.cat(list(open_stream("demo", PLAN)))
    one, again, other = (
        torch.cat(list(open_stream("demo", PLAN, Rng(seed)))) for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, stored)
    key = [
        x.flatten(1).double() @ torch.rand(1024, dtype=torch.float64, generator=Rng(0).torch())
        for x in (one, stored)
    ]
    assert torch.equal(key[0].sort().values, key[1].sort().values)


def test_unlabelled_folders_and_arrays_stream(tmp_path: Path) -> None:
    pixels = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    np.savez(tmp_path / "images.npz", x=pixels)
    plain = PixelPlan(fit="bilinear")
    expected = torch.from_numpy(pixels[:, None] / 255).float()
    for source in (tmp_path / "images.npz", tmp_path):
        (tmp_path / "images.npz").unlink() if source == tmp_path else None
        found = torch.cat(list(open_stream(str(source), plain, batch=2)))
        assert torch.allclose(found, expected)


def test_images_of_two_shapes_and_sources_that_are_none_are_refused(tmp_path: Path) -> None:
    for i, side in enumerate((8, 8, 9)):
        Image.fromarray(np.zeros((side, side), np.uint8)).save(tmp_path / f"{i}.png")
    stream = iter(open_stream(str(tmp_path), PixelPlan(fit="bilinear"), batch=2))
    next(stream)
    with pytest.raises(BadData, match=r"shape \(1, 9, 9\) after \(1, 8, 8\)"):
        next(stream)
    with pytest.raises(UnknownName):
        open_stream("no-such-data", PLAN)
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 8, 8), np.uint8))
    with pytest.raises(BadData):
        open_stream(str(tmp_path / "none.npz"), PLAN)
