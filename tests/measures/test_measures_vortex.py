"""The closed form of one step, and what is measured where label distributions act."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from splitveil.errors import BadData
from splitveil.estimators import ClassMoments
from splitveil.measures import radius_change, vortex_features, vortex_outputs
from splitveil.quantities import Kind
from splitveil.rng import Rng

N, D, K = 60, 7, 4


def problem(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = Rng(seed).torch()
    y = torch.arange(N) % K
    z = 2 * torch.randn(N, D, generator=g, dtype=torch.float64) + 3
    weight = torch.randn(K, D, generator=g, dtype=torch.float64)
    bias = torch.randn(K, generator=g, dtype=torch.float64)
    return z, y, weight, bias


def radii(z: Tensor, y: Tensor) -> Tensor:
    """R_c² by its definition, one class at a time."""
    return torch.stack([(z[y == c] - z[y == c].mean(0)).square().sum(1).mean() for c in range(K)])


def smoothed(alpha: float) -> Tensor:
    return torch.full((K, K), alpha / (K - 1), dtype=torch.float64).fill_diagonal_(1 - alpha)


@pytest.mark.parametrize("step", [1e-3, 0.3, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, -0.05])
def test_the_closed_form_is_the_change_of_a_real_gradient_step(alpha: float, step: float) -> None:
    z, y, weight, bias = problem()
    q = smoothed(alpha)[y]
    free = z.clone().requires_grad_()
    loss = cross_entropy(free @ weight.T + bias, q, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, free)
    true = radii(z - step * gradient, y) - radii(z, y)
    found = radius_change(z, y, weight, q, step=step, bias=bias)
    torch.testing.assert_close(found.total, true, rtol=1e-10, atol=1e-11)


def test_targets_of_each_image_are_exact_too() -> None:
    z, y, weight, _ = problem(1)
    q = torch.rand(N, K, generator=Rng(2).torch(), dtype=torch.float64).softmax(1)
    free = z.clone().requires_grad_()
    loss = cross_entropy(free @ weight.T, q, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, free)
    true = radii(z - 0.1 * gradient, y) - radii(z, y)
    found = radius_change(z, y, weight, q, step=0.1)
    torch.testing.assert_close(found.total, true, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("seed", range(20))
def test_the_first_term_contracts_and_forgets_the_targets_of_the_class(seed: int) -> None:
    z, y, weight, bias = problem(seed)
    found = [
        radius_change(z, y, weight, smoothed(a)[y], step=1.0, bias=bias).first
        for a in (0.0, 0.3, -0.05, -0.9)
    ]
    wild = 9 * torch.randn(K, K, generator=Rng(seed).torch(), dtype=torch.float64)
    found.append(radius_change(z, y, weight, wild[y], step=1.0, bias=bias).first)
    assert bool((found[0] < 0).all())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-11)


def test_targets_within_a_class_may_turn_the_pull_round() -> None:
    z, y, weight, _ = problem()
    same = (z @ weight.T).softmax(1)
    apart = radius_change(z, y, weight, same + (z @ weight.T), step=1.0).first
    assert bool((apart > 0).all())
    torch.testing.assert_close(
        radius_change(z, y, weight, same, step=1.0).total, torch.zeros(K, dtype=torch.float64)
    )


def test_a_step_moves_only_what_the_last_layer_sees() -> None:
    z, y, weight, _ = problem()
    weight = weight.clone()
    weight[:, 3:] = 0
    blind = z.clone()
    blind[:, :3] = 0
    seen = z.clone()
    seen[:, 3:] = 0
    q = smoothed(0.3)[y]
    whole = radius_change(z, y, weight, q, step=0.5).total
    torch.testing.assert_close(whole, radius_change(seen, y, weight, q, step=0.5).total)
    assert float(radius_change(blind, y, weight, q, step=0.5).total.abs().max()) < 1e-12


def test_the_contraction_of_logits_is_the_first_order_rate() -> None:
    z, y, weight, bias = problem()
    rate = radius_change(z, y, weight, smoothed(0.3)[y], step=1.0, bias=bias).first / -2
    found = vortex_outputs(z @ weight.T + bias, y, Rng(0))["contraction"]
    assert found.value == pytest.approx(float(rate.mean()), rel=1e-9)
    assert found.kind is Kind.PROXY


def test_contraction_approaches_its_linearisation_where_classes_are_tight() -> None:
    z, y, weight, _ = problem()
    centre = z[:K][y]
    gaps = []
    for scale in (1e-1, 1e-2, 1e-3):
        s = (centre + scale * z) @ weight.T
        found = vortex_outputs(s, y, Rng(0))
        gaps.append(abs(found["contraction"].value / found["contraction_linear"].value - 1))
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2]
    assert gaps[2] < 1e-2


def test_outputs_at_known_distributions() -> None:
    y = torch.arange(30) % 3
    flat = vortex_outputs(torch.zeros(30, 3), y, Rng(0))
    assert flat["p_true"].value == pytest.approx(1 / 3)
    assert flat["trace_hessian"].value == pytest.approx(2 / 3)
    assert flat["entropy"].value == pytest.approx(math.log(3))
    assert flat["contraction"].value == 0
    p = torch.full((3, 3), 0.15, dtype=torch.float64).fill_diagonal_(0.7)
    at_target = vortex_outputs(p.log()[y].float(), y, Rng(0))
    # 1 - (1-a)² - a²/(K-1) at p = q, a = 0.3
    assert at_target["trace_hessian"].value == pytest.approx(1 - 0.7**2 - 0.3**2 / 2, abs=1e-6)
    sure = vortex_outputs(1e6 * torch.eye(3)[y], y, Rng(0))
    assert sure["entropy"].value == 0
    assert sure["trace_hessian"].value == 0


def test_classes_weigh_alike_and_lone_images_nothing() -> None:
    z, y, weight, _ = problem()
    s = z @ weight.T
    few = torch.cat([torch.nonzero(y == 0)[:, 0], torch.nonzero(y == 1)[:5, 0]])
    lone = torch.cat([few, torch.nonzero(y == 2)[:1, 0]])
    rates = []
    for c in (0, 1):
        rows = few[y[few] == c]
        d = s[rows] - s[rows].mean(0)
        p = s[rows].softmax(1)
        rates.append(float((d * (p - p.mean(0))).sum(1).mean()))
    for chosen in (few, lone):
        found = vortex_outputs(s[chosen], y[chosen], Rng(0))["contraction"]
        assert found.value == pytest.approx(sum(rates) / 2, rel=1e-9)


def test_features_give_the_norm_beside_the_radius() -> None:
    z, y, _, _ = problem()
    moments = ClassMoments(K, D)
    moments.update(z.float(), y, torch.arange(N))
    found = vortex_features(moments.result(), z.square().sum(1), Rng(0))
    assert set(found) == {"radius", "scatter_between", "nc1", "norm"}
    assert found["radius"].value == pytest.approx(float(radii(z, y).mean()), rel=1e-6)
    assert found["norm"].value == pytest.approx(float(z.square().sum(1).mean()))
    # S_W + S_B + |mean|² = mean |z|², with equal classes S_W = mean R_c²
    parts = found["radius"].value + found["scatter_between"].value + float(z.mean(0).square().sum())
    assert parts == pytest.approx(found["norm"].value, rel=1e-6)


def test_classes_at_one_place_have_no_nc1() -> None:
    moments = ClassMoments(2, 1)
    z, y = torch.tensor([[1.0], [2.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    moments.update(z, y, torch.arange(4))
    found = vortex_features(moments.result(), z.double().square().sum(1), Rng(0))
    assert "nc1" not in found


def test_bad_input() -> None:
    z, y, weight, _ = problem()
    q = smoothed(0.0)[y]
    with pytest.raises(BadData, match="do not fit"):
        radius_change(z, y[:-1], weight, q, step=1.0)
    with pytest.raises(BadData, match="does not take 6 features"):
        radius_change(z[:, :-1], y, weight, q, step=1.0)
    with pytest.raises(BadData, match="targets hold 60 values that are NaN"):
        radius_change(z, y, weight, torch.where(torch.arange(K) == 0, math.nan, q), step=1.0)
    with pytest.raises(BadData, match="answers hold"):
        vortex_outputs(torch.full((4, 2), math.inf), torch.tensor([0, 1, 0, 1]), Rng(0))
    with pytest.raises(BadData, match="0 answers"):
        vortex_outputs(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), Rng(0))
