"""Bounds and proxies of a noisy release keep the promises of their interface."""

import pytest
import torch
from torch import Tensor, nn

from splitveil.measures import (
    bayes_identification,
    dfil,
    distance_correlation,
    genie_metric_bound,
    hsic,
    pair_ball,
    success_error,
)
from splitveil.release import ClippedGaussian
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance

RELEASE = ClippedGaussian(torch.ones(3), 3.0, 2.0)


def _vectors(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 3, generator=rng.child("x").torch())
    return x, 2 * x


_CASES = {
    "genie_metric_bound": MeasureCase(
        measure=lambda i, rng: genie_metric_bound(
            i[0], i[1], RELEASE, lambda x: torch.cdist(x, x), rng, unit="value"
        ),
        inputs=_vectors,
        unit="value",
        least=40,
        ordered=True,
    ),
    "bayes_identification": MeasureCase(
        measure=lambda i, rng: bayes_identification(i[1], RELEASE, rng),
        inputs=_vectors,
        unit="share",
        least=40,
        ordered=True,
    ),
    "pair_ball": MeasureCase(
        measure=lambda i, rng: pair_ball(i[0], rng, radius=0.1),
        inputs=_vectors,
        unit="probability",
        least=2,
        ordered=True,
    ),
    "success_error": MeasureCase(
        measure=lambda i, rng: success_error(i[0], 3, RELEASE, rng),
        inputs=_vectors,
        unit="mse per value",
        least=4,
        ordered=True,
    ),
    "dfil": MeasureCase(
        measure=lambda i, rng: dfil(nn.Tanh(), i[0], RELEASE, rng),
        inputs=_vectors,
        unit="1 / mse per value",
        least=2,
        ordered=True,
    ),
    "distance_correlation": MeasureCase(
        measure=lambda i, rng: distance_correlation(i[0], i[1], rng),
        inputs=_vectors,
        unit="share",
        least=40,
        ordered=True,
    ),
    "hsic": MeasureCase(
        measure=lambda i, rng: hsic(i[0], i[1], rng),
        inputs=_vectors,
        unit="share",
        least=40,
        ordered=True,
    ),
}


class TestBoundsAndProxies(MeasureConformance):
    @pytest.fixture(params=list(_CASES))
    def case(self, request: pytest.FixtureRequest) -> MeasureCase:
        return _CASES[request.param]
