"""Bounds and proxies of a noisy release keep the promises of their interface."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from splitveil.errors import BadData
from splitveil.estimators import ClassMoments
from splitveil.measures import (
    CriticTraining,
    MixtureSource,
    Orbit,
    bayes_identification,
    bayesian_information,
    club,
    dfil,
    distance_correlation,
    entropy_floor,
    genie_bound,
    genie_metric_bound,
    hsic,
    info_nce,
    leak_budget,
    leave_one_out_bounds,
    log_det_bound,
    log_det_estimates,
    mine,
    noise_needed,
    nwj,
    orbit_bound,
    pair_ball,
    redundancy_bound,
    success_error,
    van_trees,
    variational_bound,
)
from splitveil.quantities import Quantity
from splitveil.release import ClippedGaussian, GaussianNoise, Identity, Release
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance

Proxy = Callable[[Tensor, Tensor, Rng], Quantity]
RELEASE = ClippedGaussian(torch.ones(3), 3.0, 2.0)


def _vectors(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 3, generator=rng.child("x").torch())
    return x, 2 * x


def _labelled(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x, z = _vectors(n, rng)
    return x, z + torch.arange(n)[:, None] % 3, torch.arange(n) % 3


def _wide(z: Tensor) -> Tensor:
    """Far more features than images, all of them multiples of the three."""
    return z.repeat(1, 100)


_WIDE = ClippedGaussian(torch.ones(300), 30.0, 20.0)
_SIGNS = Orbit.even("signs", (lambda x: x, lambda x: -x))


def _budget(i: tuple[Tensor, ...], labels: Tensor | None) -> Quantity:
    moments = ClassMoments(None if labels is None else 60, i[1].shape[1])
    moments.update(i[1], labels, torch.arange(len(i[1])))
    return leak_budget(moments.result(), (0.1, 0.3, 1.0), values=3)[0].least


def _tree(i: tuple[Tensor, ...], rng: Rng, probes: int = 64) -> Quantity:
    source = MixtureSource.twin(i[0], i[2], noise=0.1)
    found = bayesian_information(nn.Tanh(), source, RELEASE, rng, images=60, probes=probes)
    return van_trees(found)


def _cells(i: tuple[Tensor, ...], rng: Rng) -> Quantity:
    if not bool(torch.isfinite(i[0]).all()):
        raise BadData("cells of values that are not finite")
    return entropy_floor((4 * i[0][:, 0]).clamp(0, 3).long())


def _needed(i: tuple[Tensor, ...], rng: Rng) -> Quantity:
    def family(sigma: float) -> Release:
        return GaussianNoise(sigma=sigma).fit(i[1])

    return noise_needed(i[0], i[1], family, rng, error=0.01, steps=2).achieved


_CASES = {
    "leak_budget": MeasureCase(
        measure=lambda i, rng: _budget(i, i[2]),
        inputs=_labelled,
        unit="bit per input value",
        least=6,
        ordered=True,
        variants={
            "no labels": lambda i, rng: _budget(i, None),
            "wide": lambda i, rng: _budget((i[0], _wide(i[1])), i[2]),
        },
    ),
    "log_det_estimates": MeasureCase(
        measure=lambda i, rng: log_det_estimates(i[1], 0.5, rng)["ladder"],
        inputs=_vectors,
        unit="nat per image",
        least=4,
        ordered=True,
        variants={
            "no noise": lambda i, rng: log_det_estimates(i[1], 0.0, rng)["ladder"],
            "wide": lambda i, rng: log_det_estimates(_wide(i[1]), 0.5, rng)["ladder"],
        },
    ),
    "entropy_floor": MeasureCase(measure=_cells, inputs=_vectors, unit="nat per image"),
    "van_trees": MeasureCase(
        measure=_tree,
        inputs=_labelled,
        unit="mse per value",
        least=6,
        ordered=True,
        variants={"one probe": lambda i, rng: _tree(i, rng, probes=1)},
    ),
    "orbit_bound": MeasureCase(
        measure=lambda i, rng: orbit_bound(i[0], nn.Tanh(), RELEASE, rng, orbit=_SIGNS),
        inputs=_vectors,
        unit="mse per value",
        least=40,
        ordered=True,
        variants={
            "no noise": lambda i, rng: orbit_bound(i[0], nn.Tanh(), Identity(), rng, orbit=_SIGNS)
        },
    ),
    "genie_bound": MeasureCase(
        measure=lambda i, rng: genie_bound(i[0], i[1], RELEASE, rng, labels=i[2]),
        inputs=_labelled,
        unit="mse per value",
        least=40,
        ordered=True,
        variants={
            "no noise": lambda i, rng: genie_bound(i[0], i[1], Identity(), rng),
            "no labels": lambda i, rng: genie_bound(i[0], i[1], RELEASE, rng),
            "wide": lambda i, rng: genie_bound(i[0], _wide(i[1]), _WIDE, rng),
        },
    ),
    "rates": MeasureCase(
        measure=lambda i, rng: variational_bound(i[1], RELEASE, rng, labels=i[2]),
        inputs=_labelled,
        unit="nat per image",
        least=40,
        ordered=True,
        variants={
            "no noise": lambda i, rng: variational_bound(i[1], Identity(), rng),
            "no noise, log det": lambda i, rng: log_det_bound(i[1], Identity(), rng),
            "no labels": lambda i, rng: variational_bound(i[1], RELEASE, rng),
            "wide": lambda i, rng: variational_bound(_wide(i[1]), _WIDE, rng, labels=i[2]),
            "wide, log det": lambda i, rng: log_det_bound(_wide(i[1]), _WIDE, rng),
            "wide, given labels": lambda i, rng: redundancy_bound(_wide(i[1]), i[2], _WIDE, rng),
            "wide, both sides": lambda i, rng: leave_one_out_bounds(_wide(i[1]), _WIDE, rng)[0],
        },
    ),
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


@pytest.mark.parametrize("critic", [mine, nwj, info_nce, club])
def test_critics_answer_or_refuse(critic: Proxy) -> None:
    quick = CriticTraining(epochs=1, width=4)
    case = MeasureCase(
        measure=lambda i, rng: critic(i[0], i[1], rng, training=quick),  # type: ignore[call-arg]
        inputs=lambda n, rng: _vectors(400, rng),
        unit="nat per image",
        variants={"wide": lambda i, rng: critic(i[0], _wide(i[1]), rng, training=quick)},  # type: ignore[call-arg]
    )
    suite = MeasureConformance()
    suite.test_never_a_silent_nan(case)
    suite.test_answers_or_refuses_odd_inputs(case)
    suite.test_variants_answer_or_refuse(case)


def test_noise_needed_answers_or_refuses() -> None:
    case = MeasureCase(measure=_needed, inputs=_vectors, unit="mse per value")
    MeasureConformance().test_never_a_silent_nan(case)
    MeasureConformance().test_answers_or_refuses_odd_inputs(case)
