import pytest
import torch
from attack_problems import Problem, partition_of
from torch import Tensor, nn

from splitveil.attacks import PartialLeastSquares, Ridge
from splitveil.attacks.base import Attack
from splitveil.attacks.partial_least_squares import directions
from splitveil.attacks.ridge import Linear
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.testing.oracles import LinearGaussian
from splitveil.threat import Observation


def by_iteration(z: Tensor, x: Tensor, components: int) -> Tensor:
    """Weights (f, d) by the older algorithm: scores by turns, and both sides deflated."""
    z, x = z.clone(), x.clone()
    weights, loads, answers = [], [], []
    for _ in range(components):
        u = x[:, x.square().sum(0).argmax()]
        for _ in range(2000):
            w = z.T @ u / (u @ u)
            w = w / w.norm()
            t = z @ w
            q = x.T @ t / (t @ t)
            u = x @ q / (q @ q)
        p = z.T @ t / (t @ t)
        z, x = z - torch.outer(t, p), x - torch.outer(t, q)
        weights.append(w)
        loads.append(p)
        answers.append(q)
    w, p, q = (torch.stack(each, 1) for each in (weights, loads, answers))
    return w @ torch.linalg.solve(p.T @ w, q.T)


@pytest.mark.parametrize("n", [15, 60])
@pytest.mark.parametrize("components", [1, 3, 7])
def test_it_equals_the_older_algorithm(n: int, components: int) -> None:
    """Tall and wide data."""
    g = torch.Generator().manual_seed(n)
    z = torch.randn(n, 30, generator=g, dtype=torch.float64) * torch.linspace(0.2, 3, 30)
    x = z @ torch.randn(30, 4, generator=g, dtype=torch.float64)
    x = x + torch.randn(n, 4, generator=g, dtype=torch.float64)
    z, x = z - z.mean(0), x - x.mean(0)
    found = directions(z, x, components, Rng(0))
    fresh = torch.randn(10, 30, generator=g, dtype=torch.float64)
    expected = fresh @ by_iteration(z, x, components)
    torch.testing.assert_close(
        fresh @ found.weights @ found.loadings, expected, atol=1e-6, rtol=1e-6
    )


def test_with_every_direction_it_is_least_squares() -> None:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(40, 6, generator=g, dtype=torch.float64)
    x = torch.randn(40, 8, generator=g, dtype=torch.float64)
    found = directions(z, x, 6, Rng(0))
    torch.testing.assert_close(found.weights @ found.loadings, torch.linalg.lstsq(z, x).solution)
    scores = z @ found.weights
    gram = scores.T @ scores
    torch.testing.assert_close(gram, gram.diagonal().diag())


def error(p: Problem, attack: Attack) -> float:
    fitted = attack.fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    return float((guess - p.x_test).square().mean())


def test_the_number_of_directions_is_chosen() -> None:
    """One number in the target, six in z: one direction suffices."""
    g = torch.Generator().manual_seed(0)
    line = torch.randn(1, 5, generator=g)
    x = torch.randn(300, 1, generator=g) @ line
    head = nn.Linear(5, 6, bias=False)
    head.weight.data = torch.randn(6, 5, generator=g)
    nothing = torch.zeros(300, dtype=torch.int64)
    p = Problem(partition_of(head, (6,), sigma=0.5), x[:200], nothing[:200], x[200:], nothing[200:])
    fitted = PartialLeastSquares().fit(p.knowledge(), Rng(0))
    assert isinstance(fitted, Linear)
    assert fitted.factors[0].shape[1] <= 2
    assert error(p, PartialLeastSquares()) < 1.1 * error(p, Ridge())


def test_near_the_least_error_on_the_oracle() -> None:
    problem = LinearGaussian.random(4, 6, Rng(1), sigma=0.5)
    fitted = PartialLeastSquares(samples=6000).fit(problem.knowledge(6000, Rng(2)), Rng(3))
    observation, x = problem.observe(10_000, Rng(4))
    found = float((fitted(observation, Rng(5)) - x).double().square().mean())
    assert found == pytest.approx(problem.mmse, rel=0.02)


def test_features_that_say_nothing_give_the_mean() -> None:
    nothing = torch.zeros(20, dtype=torch.int64)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=g)
    head = nn.Linear(3, 4)
    nn.init.zeros_(head.weight)
    p = Problem(partition_of(head, (4,)), x, nothing, x[:2], nothing[:2])
    fitted = PartialLeastSquares().fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    torch.testing.assert_close(guess, x.mean(0).expand(2, 3))


def test_refusals() -> None:
    with pytest.raises(BadPlan, match="components"):
        PartialLeastSquares(components=0)
    with pytest.raises(BadPlan, match="samples"):
        PartialLeastSquares(samples=3)
