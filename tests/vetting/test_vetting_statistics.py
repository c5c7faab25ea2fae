"""Statistics against closed forms: known linear codes, collapse, gradients by hand."""

import math

import pytest
import torch
from vetting_toys import CLASSES, VARIANCES, answers, problem

from splitveil.estimators import ratio_interval
from splitveil.rng import Rng
from splitveil.vetting import (
    Answers,
    LastLayer,
    effective_rank,
    kernel_probe,
    last_layer_gain,
    linear_probe,
    residual_gradient,
    saliency,
    spread,
)
from splitveil.vetting.statistics import smoother

RNG = Rng(0)


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0])
def test_the_linear_probe_finds_the_share_that_a_noisy_code_carries(noise: float) -> None:
    x, labels, own = problem(3000)
    generator = Rng(1).torch()
    drawn = torch.randn(3000, 3, generator=generator, dtype=torch.float64)
    sent = own[:, :3] + math.sqrt(noise) * drawn
    sent = sent + 20 * torch.nn.functional.one_hot(labels, CLASSES)[:, :3]
    kept = VARIANCES[:3]
    exact = float((kept**2 / (kept + noise)).sum() / kept.sum())
    found = linear_probe(answers(x, labels, sent), RNG)
    error = (found.high - found.low) / 3.92
    assert found.value == pytest.approx(exact, abs=4 * error + 0.01)
    assert found.low <= found.value <= found.high


def test_the_kernel_probe_counts_the_whole_variance_of_a_linear_code() -> None:
    x, labels, own = problem()
    found = kernel_probe(answers(x, labels, own[:, :3]), RNG)
    assert found.value == pytest.approx(float(VARIANCES[:3].sum() / VARIANCES.sum()), abs=0.05)


def test_collapsed_classes_tell_nothing() -> None:
    x, labels, _ = problem(200)
    sent = torch.nn.functional.one_hot(labels, CLASSES).double() * 7
    collapsed = answers(x, labels, sent)
    for statistic in (linear_probe, kernel_probe, spread, effective_rank):
        assert statistic(collapsed, RNG).value == 0, statistic.__name__


def test_independent_noise_tells_nothing_beyond_chance() -> None:
    x, labels, _ = problem(600)
    sent = torch.randn(600, 4, generator=Rng(3).torch(), dtype=torch.float64)
    for probe in (linear_probe, kernel_probe):
        assert -0.02 < probe(answers(x, labels, sent), RNG).value < 0.02


@pytest.mark.parametrize("probe", [linear_probe, kernel_probe])
def test_no_invertible_linear_map_hides_a_code(probe: type) -> None:
    x, labels, own = problem(300)
    sent = own[:, :4] + 0.3 * own[:, 4:8]
    mixed = torch.randn(4, 4, generator=Rng(2).torch(), dtype=torch.float64) + 3 * torch.eye(4)
    scaled = (sent @ mixed) * torch.tensor([1e-3, 1.0, 100.0, 1.0])
    plain, hidden = (probe(answers(x, labels, s), RNG).value for s in (sent, scaled))
    assert hidden == pytest.approx(plain, abs=1e-7)


def test_a_code_that_no_line_reads_is_read_by_the_kernel() -> None:
    n = 600
    labels = torch.arange(n) % CLASSES
    own = torch.rand(n, generator=Rng(5).torch(), dtype=torch.float64) * 2 - 1
    x = torch.zeros(n, 1, 3, 3, dtype=torch.float64)
    x[:, 0, 1, 1] = own
    # both parts are uncorrelated with a uniform value
    sent = torch.stack([own**2, own**3 - 0.6 * own], 1)
    seen = answers(x, labels, sent)
    assert linear_probe(seen, RNG).value < 0.1
    assert kernel_probe(seen, RNG).value > 0.8


def test_leaving_out_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels, own = problem(24)
    penalty = 0.7
    monkeypatch.setattr(smoother, "_PENALTIES", torch.tensor([penalty], dtype=torch.float64))
    code, y = own[:, :3] + own[:, 3:6], x.flatten(1)
    from splitveil.vetting.statistics import centred

    inside = centred(code, labels)
    u, s, _ = torch.linalg.svd(inside, full_matrices=False)
    errors, floor = smoother.left_out(u, s.square(), centred(y, labels), labels)
    strength = penalty * float(s.square().mean())
    dummies = torch.nn.functional.one_hot(labels, CLASSES).double()
    for i in range(24):
        kept = torch.arange(24) != i
        design = torch.cat([dummies, code], 1)
        ridge = torch.diag(torch.tensor([0.0] * CLASSES + [strength] * 3, dtype=torch.float64))
        solved = torch.linalg.solve(design[kept].T @ design[kept] + ridge, design[kept].T @ y[kept])
        by_hand = (y[i] - design[i] @ solved).square().sum()
        alone = (y[i] - y[kept & (labels == labels[i])].mean(0)).square().sum()
        assert float(floor[i]) == pytest.approx(float(alone))
        if float(errors.sum()) < float(floor.sum()):
            assert float(errors[i]) == pytest.approx(float(by_hand))
    assert float(errors.sum()) < float(floor.sum())
    assert smoother.share(errors, floor, RNG, of="").value == pytest.approx(
        1 - ratio_interval(errors.numpy(), floor.numpy(), RNG).value
    )


def test_spread_and_rank_of_a_known_scatter() -> None:
    labels = torch.arange(8) % 2
    sent = torch.zeros(8, 2, dtype=torch.float64)
    sent[:, 0] = torch.where(labels == 0, -3.0, 3.0)
    sent[:, 1] = torch.tensor([1.0, 1, -1, -1, 1, 1, -1, -1])
    x = torch.rand(8, 1, 2, 2, generator=Rng(0).torch())
    seen = Answers(
        images=x.flatten(1).double(), labels=labels, sent=sent, scores=torch.zeros(8, 2).double()
    )
    assert spread(seen, RNG).value == pytest.approx(1 / 9)
    assert effective_rank(seen, RNG).value == pytest.approx(1)
    both = Answers(
        images=seen.images,
        labels=labels,
        sent=torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0], [0, 1], [0, 1], [0, -1], [0, -1]])
        .double()
        .repeat_interleave(1, 0),
        scores=seen.scores,
    )
    assert effective_rank(both, RNG).value == pytest.approx(2)
    assert spread(both, RNG).value == math.inf


def _linear(n: int = 60, rested: bool = False) -> Answers:
    generator = Rng(7).torch()
    labels = torch.arange(n) % 3
    inputs = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    inputs[:, 0] += 0.5 * labels
    weight = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    if rested:
        weight.requires_grad_()
        bias.requires_grad_()
        optimiser = torch.optim.LBFGS(
            [weight, bias], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-10
        )

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, labels)
            loss.backward()
            return loss

        optimiser.step(closure)
        weight, bias = weight.detach(), bias.detach()
    last = LastLayer(inputs, weight, bias)
    return Answers(images=inputs, labels=labels, sent=last.outputs, scores=last.outputs, last=last)


def test_the_residual_gradient_is_that_of_autograd() -> None:
    seen = _linear()
    assert seen.last is not None
    weight = seen.last.weight.clone().requires_grad_()
    bias = seen.last.bias.clone().requires_grad_()
    torch.nn.functional.cross_entropy(seen.last.inputs @ weight.T + bias, seen.labels).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    length = math.sqrt(float(weight.grad.square().sum() + bias.grad.square().sum()))
    expected = length / float(weight.detach().norm())
    assert residual_gradient(seen, RNG).value == pytest.approx(expected, rel=1e-12)


def test_a_last_layer_at_rest_has_no_pull_and_nothing_to_gain() -> None:
    seen = _linear(rested=True)
    assert residual_gradient(seen, RNG).value < 1e-5
    assert last_layer_gain(seen, RNG).value < 1e-6
    assert last_layer_gain(_linear(), RNG).value > 0.05


def test_saliency_of_known_slopes() -> None:
    slopes = torch.tensor([[2.0, 1.0, 1.0], [3.0, 6.0, 0.0]], dtype=torch.float64)
    scores = torch.tensor([[9.0, 0, 0], [0, 9, 0]], dtype=torch.float64)
    seen = Answers(
        images=scores, labels=torch.tensor([0, 1]), sent=scores, scores=scores, slopes=slopes
    )
    assert saliency(seen, RNG).value == pytest.approx(((1 + 1) / 2 + (3 + 0) / 2) / (2 + 6))
