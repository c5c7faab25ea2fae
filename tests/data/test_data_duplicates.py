import pytest
import torch

from splitveil.data import LabelledImages, Splits, find_duplicates
from splitveil.data.duplicates import low_spectrum, perceptual_hash
from splitveil.errors import BadData
from splitveil.rng import Rng


def smooth(count: int, *, channels: int = 1, size: int = 32, name: str = "x") -> torch.Tensor:
    coarse = torch.rand(count, channels, 6, 6, generator=Rng(0, (name,)).torch())
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").contiguous()


def planted() -> dict[str, torch.Tensor]:
    splits = {
        "auxiliary": smooth(3000, name="a"),
        "validation": smooth(40, name="v"),
        "test": smooth(80, name="t"),
    }
    noise = 0.01 * torch.randn(1, 32, 32, generator=Rng(0, ("noise",)).torch())
    splits["auxiliary"][2999] = (splits["test"][7] * 0.98 + noise).clamp(0, 1)
    splits["auxiliary"][5] = splits["validation"][3]
    splits["validation"][9] = 0.95 * splits["test"][7]
    return splits


def test_planted_copies_are_found_and_no_others() -> None:
    report = find_duplicates(planted(), max_rms=0.06)
    found = {(p.split, p.position, p.other, p.other_position) for p in report.pairs}
    assert found == {
        ("auxiliary", 2999, "test", 7),
        ("auxiliary", 5, "validation", 3),
        ("validation", 9, "test", 7),
        ("auxiliary", 2999, "validation", 9),
    }
    assert report.total == 4
    assert report.pairs[0].rms == 0
    assert report.to_json()["affected"] == {"auxiliary": 2, "validation": 1}
    assert report.to_json(examples=1)["examples"][0]["position"] == 5


def test_counts_equal_a_comparison_of_all_pairs() -> None:
    # coarse images in a narrow range: many pairs pass the pixel threshold
    splits = {
        name: 0.5 + 0.04 * (smooth(50, size=16, name=name) - 0.5) for name in ("auxiliary", "test")
    }
    report = find_duplicates(splits, max_bits=24, max_rms=0.015)
    a, t = splits["auxiliary"], splits["test"]
    signs_a, signs_t = (torch.from_numpy(perceptual_hash(low_spectrum(x))) for x in (a, t))
    bits = (signs_a[:, None] != signs_t[None]).sum(-1)
    rms = (a[:, None] - t[None]).double().square().flatten(2).mean(-1).sqrt()
    near = (bits <= 24) & (rms <= 0.015)
    assert 0 < int(near.sum()) < near.numel()
    assert report.counts["auxiliary-test"] == int(near.sum())
    assert report.removable["auxiliary"] == tuple(near.any(1).nonzero().flatten().tolist())


def test_identical_sets_report_every_image_but_few_pairs() -> None:
    x = torch.full((300, 1, 8, 8), 0.5)
    report = find_duplicates({"auxiliary": x, "test": x})
    assert report.counts["auxiliary-test"] == 300 * 300
    assert len(report.removable["auxiliary"]) == 300
    assert len(report.pairs) == 100


def test_hash_survives_resizing_and_brightness() -> None:
    x = smooth(20, channels=3, size=32)
    larger = torch.nn.functional.interpolate(x, (64, 64), mode="bilinear")
    first, second = (perceptual_hash(low_spectrum(image)) for image in (x, 0.7 * larger))
    bits = (first != second).sum(1)
    assert bits.max() <= 10


def splits_of(images: dict[str, torch.Tensor]) -> Splits:
    parts = {name: LabelledImages(x, torch.zeros(len(x)).long()) for name, x in images.items()}
    return Splits(
        name="planted",
        licence="none",
        auxiliary=parts["auxiliary"],
        validation=parts["validation"],
        test=parts["test"],
        class_names=("0",),
        conversions=(),
        duplicates=find_duplicates(images),
    )


def test_without_duplicates_keeps_the_test_images() -> None:
    images = planted()
    images["validation"][9] = images["test"][7]
    data = splits_of(images)
    clean = data.without_duplicates()
    assert torch.equal(clean.test.x, data.test.x)
    assert set(range(3000)) - set(clean.auxiliary.ids.tolist()) == {5, 2999}
    assert set(range(40)) - set(clean.validation.ids.tolist()) == {9}
    again = find_duplicates(
        {"auxiliary": clean.auxiliary.x, "validation": clean.validation.x, "test": clean.test.x}
    )
    assert again.total == 0
    assert "2 auxiliary and 1 validation" in clean.conversions[-1]
    assert clean.digest != data.digest


def test_without_duplicates_refuses_to_leave_nothing() -> None:
    x = torch.full((20, 1, 8, 8), 0.5)
    with pytest.raises(BadData, match="every auxiliary image"):
        splits_of({"auxiliary": x, "validation": x, "test": x}).without_duplicates()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 13, 7), (1, 5, 4)])
def test_coefficients_are_never_farther_apart_than_pixels(shape: tuple[int, ...]) -> None:
    x = torch.rand(40, *shape, generator=Rng(0, ("pair",)).torch())
    x = 0.5 + 0.1 * (x - 0.5) + 0.3 * torch.linspace(0, 1, 40).reshape(-1, 1, 1, 1)
    low = torch.from_numpy(low_spectrum(x)).double()
    pixels = (x[:, None] - x[None]).double().square().flatten(2).mean(-1).sqrt()
    assert (torch.cdist(low, low) <= pixels + 1e-6).all()
    # the differences in brightness alone are kept whole
    assert torch.allclose(low[:, 0], x.double().mean((1, 2, 3)), atol=1e-6)
