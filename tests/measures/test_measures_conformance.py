"""Every measure keeps the promises of its interface."""

import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators import ClassMoments
from splitveil.measures import (
    accuracy,
    agreement,
    genie_bound,
    leakage,
    mse,
    psnr,
    psnr_of_mean,
    radius,
    ssim,
    tail_leakage,
)
from splitveil.quantities import Quantity
from splitveil.release import ClippedGaussian
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance


def _images(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 2, 12, 12, generator=rng.child("x").torch())
    noise = torch.randn(x.shape, generator=rng.child("noise").torch())
    return (x + 0.1 * noise).clamp(0, 1), x


def _perfect_images(n: int, rng: Rng) -> tuple[Tensor, ...]:
    _, x = _images(n, rng)
    return x.clone(), x


def _answers(n: int, rng: Rng) -> tuple[Tensor, ...]:
    y = torch.randint(0, 4, (n,), generator=rng.child("y").torch())
    logits = torch.randn(n, 4, generator=rng.child("logits").torch())
    return logits + 2 * torch.eye(4)[y], y


def _right_answers(n: int, rng: Rng) -> tuple[Tensor, ...]:
    _, y = _answers(n, rng)
    return torch.eye(4)[y], y


def _two_answers(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return _answers(n, rng)[0], _answers(n, rng.child("other"))[0]


def _same_answers(n: int, rng: Rng) -> tuple[Tensor, ...]:
    logits, _ = _answers(n, rng)
    return logits.clone(), 2 * logits


def _errors(n: int, rng: Rng) -> tuple[Tensor, ...]:
    floor = 0.05 + torch.rand(n, generator=rng.child("floor").torch())
    return floor * torch.rand(n, generator=rng.child("share").torch()), floor


def _no_errors(n: int, rng: Rng) -> tuple[Tensor, ...]:
    _, floor = _errors(n, rng)
    return torch.zeros(n), floor


def _features(n: int, rng: Rng) -> tuple[Tensor, ...]:
    y = torch.arange(n) % 3
    z = torch.randn(n, 6, generator=rng.child("z").torch()) + y[:, None]
    return z, y, torch.arange(n)


def _radius(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
    moments = ClassMoments(3, 6)
    moments.update(*inputs)
    found = radius(moments.result())
    if "nc1" not in found:
        raise BadData("no class differs from another: there is no ratio")
    return found["nc1"]


def _vectors(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 3, generator=rng.child("x").torch())
    return x, 2 * x


def _genie(inputs: tuple[Tensor, ...], rng: Rng) -> Quantity:
    x, features = inputs
    return genie_bound(x, features, ClippedGaussian(torch.ones(3), 3.0, 2.0), rng)


_CASES = {
    "mse": MeasureCase(
        measure=lambda i, rng: mse(i[0], i[1], rng),
        inputs=_images,
        unit="mse per value",
        ideal=_perfect_images,
        best=0.0,
    ),
    "psnr": MeasureCase(
        measure=lambda i, rng: psnr(i[0], i[1], rng),
        inputs=_images,
        unit="dB",
        ideal=_perfect_images,
        best=float("inf"),
    ),
    "psnr_of_mean": MeasureCase(
        measure=lambda i, rng: psnr_of_mean(i[0], i[1], rng),
        inputs=_images,
        unit="dB",
        ideal=_perfect_images,
        best=float("inf"),
    ),
    "ssim": MeasureCase(
        measure=lambda i, rng: ssim(i[0], i[1], rng),
        inputs=_images,
        unit="ssim",
        ideal=_perfect_images,
        best=1.0,
    ),
    "accuracy": MeasureCase(
        measure=lambda i, rng: accuracy(i[0], i[1]),
        inputs=_answers,
        unit="share",
        ideal=_right_answers,
        best=1.0,
    ),
    "agreement": MeasureCase(
        measure=lambda i, rng: agreement(i[0], i[1]),
        inputs=_two_answers,
        unit="share",
        ideal=_same_answers,
        best=1.0,
    ),
    "leakage": MeasureCase(
        measure=lambda i, rng: leakage(i[0], i[1], rng),
        inputs=_errors,
        unit="share",
        ideal=_no_errors,
        best=1.0,
    ),
    "tail_leakage": MeasureCase(
        measure=lambda i, rng: tail_leakage(i[0], i[1]),
        inputs=_errors,
        unit="share",
        ideal=_no_errors,
        best=1.0,
    ),
    "radius": MeasureCase(measure=_radius, inputs=_features, unit="", least=4, ordered=True),
    "genie_bound": MeasureCase(
        measure=_genie, inputs=_vectors, unit="mse per value", least=40, ordered=True
    ),
}


class TestMeasures(MeasureConformance):
    @pytest.fixture(params=list(_CASES))
    def case(self, request: pytest.FixtureRequest) -> MeasureCase:
        return _CASES[request.param]
