"""Figures of likeness: exact where the answer is known, and in every attack's record."""

import math

import pytest
import torch

from splitveil.audit.likeness import likeness_of, risk_of, whitening_of
from splitveil.measures import risk
from splitveil.rng import Rng


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(60, 1, 12, 12, generator=Rng(0).torch())
    return x, torch.arange(60) % 3


def test_the_originals_themselves_are_wholly_like() -> None:
    x, y = _images()
    found = likeness_of(x.clone(), x, y, Rng(1))
    assert found["psnr_of_mean"].value == math.inf
    for name in ("r_squared", "r_squared_in_class", "found", "found_in_class"):
        assert found[name].value == pytest.approx(1), name
    assert found["found_chance"].value == pytest.approx(1 / 60)
    assert found["found_in_class_chance"].value == pytest.approx(1 / 20)


def test_class_means_tell_nothing_within_classes() -> None:
    x, y = _images()
    x = x + y[:, None, None, None]
    means = torch.stack([x[y == label].mean(0) for label in range(3)])
    found = likeness_of(means[y], x, y, Rng(1))
    assert found["r_squared"].value > 0.8
    assert found["r_squared_in_class"].value == pytest.approx(0, abs=0.06)
    assert found["found_in_class"].value < 0.3
    assert found["found_in_class"].low <= 1 / 20


def test_bands_sum_to_the_error_and_put_a_grey_shift_in_the_first() -> None:
    x, y = _images()
    noise = 0.1 * torch.randn(x.shape, generator=Rng(2).torch())
    found = likeness_of(x + noise + 0.2, x, y, Rng(1))
    bands = {name: q.value for name, q in found.items() if name.startswith("band")}
    assert sum(bands.values()) == pytest.approx(float((noise + 0.2).square().mean()), rel=1e-5)
    assert bands["band mean"] == pytest.approx(0.04, rel=0.05)


def test_without_labels_or_pixels_the_rest_remains() -> None:
    x, _ = _images()
    found = likeness_of(x.flatten(1), x.flatten(1), None, Rng(1))
    assert set(found) == {"psnr_of_mean", "r_squared", "found", "found_chance"}


def test_risks_are_those_of_the_measure_and_one_for_the_mean_image() -> None:
    x, _ = _images()
    auxiliary = torch.rand(80, 1, 12, 12, generator=Rng(3).torch())
    whitening = whitening_of(auxiliary)
    assert whitening is not None
    made = 0.7 * x + 0.3 * auxiliary.mean(0)
    found = risk_of(made, x, whitening, 5, Rng(1))
    direct = risk(made, x, whitening, Rng(1), code=5)
    assert direct.code is not None
    assert found == {
        "risk": direct.ratio,
        "log_risk": direct.log_ratio,
        "channel_used": direct.code.used,
    }
    mean = whitening.mean.float().reshape(1, 1, 12, 12).expand_as(x)
    blind = risk_of(mean, x, whitening, 5, Rng(1))
    assert blind["risk"].value == 1
    assert blind["channel_used"].value == pytest.approx(0, abs=1e-12)


def test_what_risk_cannot_be_said_of_is_left_out() -> None:
    x, _ = _images()
    assert whitening_of(torch.zeros(5, 1, 4, 4)) is None
    assert whitening_of(torch.rand(3, 3, 40, 40)) is None
    whitening = whitening_of(x)
    assert whitening is not None
    assert set(risk_of(x, x, whitening, 5, Rng(1))) == {"channel_used"}  # infinite
