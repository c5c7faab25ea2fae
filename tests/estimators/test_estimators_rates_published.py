"""The published regulariser beside a slow loop written from its formula."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from splitveil.estimators.centroids import ClassClusters, fit_clusters
from splitveil.estimators.rates.moving import MovingClusters, follow
from splitveil.estimators.rates.published import published_cem, published_share
from splitveil.estimators.rates.soft import class_rate
from splitveil.rng import Rng

SIGMA, FLOOR, OFFSET = 0.05, 0.125, 0.01


def problem(seed: int, classes: int, values: int = 12, rows: int = 64) -> tuple[Tensor, ...]:
    generator = Rng(seed).torch()
    z = torch.rand(rows, values, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (rows,), generator=generator)
    return z, y


def mixture(seed: int, classes: int, components: int, values: int = 12) -> ClassClusters:
    """Unequal shares, a component without any, and one nobody is near."""
    generator = Rng(seed).child("mixture").torch()
    centroids = torch.rand(classes, components, values, generator=generator, dtype=torch.float64)
    if components > 1:
        centroids[:, -1] += 50.0
    shares = torch.rand(classes, components, generator=generator, dtype=torch.float64)
    if components > 1:
        shares[0, 0] = 0.0
    variances = 0.1 * torch.rand(classes, components, 1, generator=generator, dtype=torch.float64)
    return ClassClusters(
        centroids=centroids, variances=variances, shares=shares / shares.sum(1, keepdim=True)
    )


def by_loop(
    z: Tensor, y: Tensor, clusters: ClassClusters, class_size: float, sigma: float = SIGMA
) -> Tensor:
    total, classes = torch.zeros((), dtype=z.dtype), 0
    for c in range(len(clusters.shares)):
        rows = [z[i] for i in range(len(z)) if int(y[i]) == c]
        if not rows:
            continue
        classes += 1
        members: dict[int, list[Tensor]] = {}
        for row in rows:
            lengths = [float((row.detach() - mu).square().sum()) for mu in clusters.centroids[c]]
            members.setdefault(min(range(len(lengths)), key=lengths.__getitem__), []).append(row)
        for k, some in members.items():
            share, old = float(clusters.shares[c, k]), float(clusters.variances[c, k, 0])
            mu, expected = clusters.centroids[c, k], share * class_size
            fresh = 10 * len(some) / expected if expected > 0 else math.inf
            fresh = 0.99 if fresh >= 1 else fresh
            mean = torch.stack([((row - mu) ** 2).mean() for row in some]).mean()
            mixed = fresh * mean + (1 - fresh) * old
            gap = torch.log(mixed + OFFSET) - math.log(FLOOR * sigma**2 + OFFSET)
            total = total + share * torch.clamp(gap, min=0)
    return total / classes


@pytest.mark.parametrize("class_size", [8.0, 60.0, 5000.0])
@pytest.mark.parametrize(("classes", "components"), [(1, 1), (3, 4), (10, 5), (80, 3)])
def test_value_and_gradient_are_those_of_the_loop(
    classes: int, components: int, class_size: float
) -> None:
    for seed in range(4):
        clusters = mixture(seed, classes, components)
        z, y = problem(seed, classes)
        ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
        value = published_cem(ours, y, clusters, sigma=SIGMA, class_size=class_size)
        slow = by_loop(theirs, y, clusters, class_size)
        assert abs(value.item() - slow.item()) < 1e-6
        (3 * value).backward()
        (3 * slow).backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        assert float((ours.grad - theirs.grad).abs().max()) < 1e-8
        assert classes == 1 or float(theirs.grad.abs().max()) > 1e-6


def test_the_hinge_stops_the_pull() -> None:
    """Rows closer than the floor: no value, no gradient."""
    clusters = ClassClusters(
        centroids=torch.zeros(1, 1, 4, dtype=torch.float64),
        variances=torch.zeros(1, 1, 1, dtype=torch.float64),
        shares=torch.ones(1, 1, dtype=torch.float64),
    )
    z = torch.full((5, 4), 0.01, dtype=torch.float64, requires_grad=True)
    value = published_cem(z, torch.zeros(5).long(), clusters, sigma=1.0, class_size=5.0)
    value.backward()
    assert value.item() == 0
    assert z.grad is not None
    assert float(z.grad.abs().max()) == 0


def test_class_sizes_may_differ() -> None:
    clusters, (z, y) = mixture(1, 3, 2), problem(1, 3)
    sizes = torch.tensor([100.0, 100.0, 100.0], dtype=torch.float64)
    one = published_cem(z, y, clusters, sigma=SIGMA, class_size=100.0)
    assert published_cem(z, y, clusters, sigma=SIGMA, class_size=sizes).item() == one.item()
    sizes[1] = 1e6
    assert published_cem(z, y, clusters, sigma=SIGMA, class_size=sizes).item() != one.item()


def test_noise_may_be_a_tensor() -> None:
    clusters, (z, y) = mixture(1, 3, 2), problem(1, 3)
    one = published_cem(z, y, clusters, sigma=SIGMA, class_size=100.0)
    other = published_cem(z, y, clusters, sigma=torch.tensor(SIGMA).double(), class_size=100.0)
    assert other.item() == pytest.approx(one.item(), rel=1e-7)


@pytest.mark.parametrize("rate", [0.05, 0.0004])
def test_one_backward_equals_two(rate: float) -> None:
    """The published step: the regulariser's gradient saved, then added to the encoder's."""
    with Rng(3).as_global():
        encoder = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(48, 12), nn.Sigmoid())
        tail = nn.Linear(12, 4)
    net = nn.Sequential(encoder, tail).double()
    x = torch.rand(32, 1, 6, 6, generator=Rng(4).torch(), dtype=torch.float64)
    y = torch.randint(4, (32,), generator=Rng(5).torch())
    noise = SIGMA * torch.randn(32, 12, generator=Rng(6).torch(), dtype=torch.float64)
    clusters, weight = mixture(7, 4, 3), 16.0

    def losses() -> tuple[Tensor, Tensor]:
        z = encoder(x)
        answer = nn.functional.cross_entropy(tail(z + noise), y)
        return answer, published_cem(z, y, clusters, sigma=SIGMA, class_size=20.0)

    answer, regulariser = losses()
    regulariser.backward(retain_graph=True)
    saved = [p.grad.clone() for p in encoder.parameters() if p.grad is not None]
    assert all(p.grad is None for p in tail.parameters())
    net.zero_grad()
    answer.backward()
    for p, extra in zip(encoder.parameters(), saved, strict=True):
        assert p.grad is not None
        p.grad += weight * published_share(rate) * extra
    two = [p.grad.clone() for p in net.parameters() if p.grad is not None]

    net.zero_grad()
    answer, regulariser = losses()
    (answer + weight * published_share(rate) * regulariser).backward()
    one = [p.grad for p in net.parameters() if p.grad is not None]
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_the_share_rises_as_the_learning_rate_falls() -> None:
    rates = (0.05, 0.01, 0.002, 0.0004, 0.00008)
    assert [round(published_share(r), 6) for r in rates] == [0.02, 0.1, 0.5, 1, 1]


def test_features_of_lower_precision_are_taken() -> None:
    clusters, (z, y) = mixture(1, 3, 2), problem(1, 3)
    single = clusters.to(z.float())
    state = MovingClusters.of(single, 100.0)
    rough, exact = z.bfloat16().requires_grad_(), z.bfloat16().double()
    value = published_cem(rough, y, single, sigma=SIGMA, class_size=100.0)
    value.backward()
    assert rough.grad is not None
    other = published_cem(exact, y, clusters, sigma=SIGMA, class_size=100.0)
    assert value.item() == pytest.approx(other.item(), rel=1e-4)
    moved = follow(state, rough.detach(), y, sigma=SIGMA, memory=50.0)
    assert moved.clusters.centroids.dtype is torch.float32
    rates = class_rate(rough, y, moved.clusters, sigma=SIGMA)
    torch.testing.assert_close(
        rates, class_rate(exact.float(), y, moved.clusters, sigma=SIGMA), rtol=1e-4, atol=1e-4
    )


class NoReadBack(TorchDispatchMode):
    """Fails where the host would wait for a value or a shape of the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__
        assert not any(
            word in name for word in ("_local_scalar_dense", "nonzero", "unique", "masked_select")
        ), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("components", [1, 5])
def test_no_value_is_read_back(components: int) -> None:
    clusters, (z, y) = mixture(0, 6, components), problem(0, 6)
    z.requires_grad_()
    state = MovingClusters.of(clusters, 100.0)
    with NoReadBack():  # type: ignore[no-untyped-call]
        published_cem(z, y, clusters, sigma=SIGMA, class_size=50.0).backward()
        class_rate(z, y, clusters, sigma=SIGMA).sum().backward()
        follow(state, z.detach(), y, sigma=SIGMA, memory=100.0)
    with pytest.raises(AssertionError, match="scalar"), NoReadBack():  # type: ignore[no-untyped-call]
        float(z.sum())


def test_the_same_seed_gives_the_same_curve() -> None:
    def curve() -> list[float]:
        z, y = problem(9, 5)
        z.requires_grad_()
        clusters = fit_clusters(
            z.detach(), y, classes=5, clusters=3, generator=Rng(1).torch(), power=1.0
        )
        found = []
        for _ in range(20):
            value = published_cem(z, y, clusters, sigma=SIGMA, class_size=10.0)
            (gradient,) = torch.autograd.grad(value, z)
            z = (z - 0.5 * gradient).detach().requires_grad_()
            found.append(value.item())
        return found

    first = curve()
    assert first == curve()
    assert first[-1] < 0.5 * first[0]
