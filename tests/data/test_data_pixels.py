import numpy as np
import pytest
import torch
from data_files import random_bytes
from PIL import Image

from splitveil.data.pixels import PixelPlan, to_unit
from splitveil.errors import BadData, BadPlan


def test_bytes_are_divided_by_255_exactly() -> None:
    x, note = to_unit(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), None, "here")
    assert torch.equal(x.flatten(), torch.arange(256) / 255)
    assert note == "Unsigned bytes were divided by 255."


def test_resizing_is_what_pillow_does() -> None:
    pixels = random_bytes(1, 40, 24, 3)
    x, _ = PixelPlan(size=16).apply(pixels, "here")
    pillow = Image.fromarray(pixels[0]).resize((16, 16), Image.Resampling.BILINEAR)
    theirs = torch.from_numpy(np.asarray(pillow).copy()).permute(2, 0, 1) / 255
    # Pillow rounds to bytes after each of two passes
    assert float((x[0] - theirs).abs().max()) <= 1.5 / 255


def test_grey_is_pillow_luma() -> None:
    pixels = random_bytes(1, 9, 9, 3)
    x, notes = PixelPlan(channels=1).apply(pixels, "here")
    theirs = torch.from_numpy(np.asarray(Image.fromarray(pixels[0]).convert("L")).copy()) / 255
    assert float((x[0, 0] - theirs).abs().max()) <= 1 / 255
    assert "RGB was made grey (ITU-R BT.601 luma)." in notes


def test_grey_repeats_to_rgb() -> None:
    x, notes = PixelPlan(channels=3).apply(random_bytes(2, 5, 5, 1), "here")
    assert x.shape == (2, 3, 5, 5)
    assert torch.equal(x[:, 0], x[:, 2])
    assert "Grey was repeated to three channels." in notes


def test_padding_resamples_nothing_and_centres() -> None:
    pixels = random_bytes(1, 3, 5, 1)
    x, _ = PixelPlan(size=8, fit="pad").apply(pixels, "here")
    assert torch.equal(x[0, 0, 2:5, 1:6], torch.from_numpy(pixels[0, ..., 0]) / 255)
    assert int((x > 0).sum()) == int((pixels > 0).sum())


def test_nothing_happens_unasked() -> None:
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 4, 4, 3)
    x, notes = PixelPlan().apply(values, "here")
    assert notes == ()
    assert torch.equal(x, torch.from_numpy(values).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((2, 3, 3, 1), 1.7, np.float32), r"pixels span \[1.7, 1.7\], outside \[0, 1\]"),
        (np.full((2, 3, 3, 1), -0.2, np.float32), "give pixel_range="),
        (np.full((2, 3, 3, 1), np.nan, np.float32), "2 of 2 images hold NaN or infinity"),
        (np.full((2, 3, 3, 1), 200, np.int64), "int64 pixels have no range of their own"),
        (np.eye(3, dtype=np.uint8).reshape(1, 3, 3, 1).repeat(2, 0), r"bytes span \[0, 1\]"),
        (np.full((2, 3, 3, 1), "a"), "expected numbers as pixels"),
    ],
)
def test_pixels_out_of_range_are_refused(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(BadData, match=message):
        to_unit(pixels, None, "here")


def test_padding_cannot_shrink() -> None:
    with pytest.raises(BadData, match="cannot be padded to 8x8"):
        PixelPlan(size=8, fit="pad").apply(random_bytes(1, 9, 9, 1), "here")


@pytest.mark.parametrize("settings", [{"size": 0}, {"channels": 2}, {"pixel_range": (1.0, 1.0)}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(BadPlan):
        PixelPlan(**settings)  # type: ignore[arg-type]
