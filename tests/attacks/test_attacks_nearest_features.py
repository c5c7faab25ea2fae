import pytest
import torch
from attack_problems import Problem, partition_of
from torch import nn

from splitveil.attacks import NearestAuxiliary, NearestFeatures
from splitveil.attacks.nearest_features import Averaged
from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.threat import Observation


def vectors(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=g), torch.randint(0, 2, (n,), generator=g)


def problem(sigma: float = 0.0) -> Problem:
    (x, y), (x_test, y_test) = vectors(60, 1), vectors(20, 2)
    return Problem(partition_of(nn.Flatten(), (3,), sigma=sigma), x, y, x_test, y_test)


def answer(p: Problem, attack: NearestFeatures | NearestAuxiliary) -> torch.Tensor:
    fitted = attack.fit(p.knowledge(), Rng(0))
    return fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))


@pytest.mark.parametrize("k", [1, 3, 500])
def test_it_is_the_mean_of_the_k_nearest_of_the_class(k: int) -> None:
    """One image at a time, in whichever of the two scales; k beyond the class takes it whole."""
    p = problem()
    fitted = NearestFeatures(neighbours=k).fit(p.knowledge(), Rng(0))
    assert isinstance(fitted, Averaged)
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    x, y, scale = p.auxiliary.x, p.auxiliary.y, fitted.near.scale
    assert y is not None
    for query, label, found in zip(p.x_test, p.y_test, guess, strict=True):
        own = x[y == label]
        order = ((own - query) / scale).norm(dim=1).argsort()
        torch.testing.assert_close(found, own[order[:k]].mean(0))


def test_averaging_pays_where_there_is_noise() -> None:
    p = problem(sigma=1.0)
    many = float((answer(p, NearestFeatures()) - p.x_test).square().mean())
    one = float((answer(p, NearestAuxiliary()) - p.x_test).square().mean())
    assert many < 0.8 * one


def test_a_loud_feature_without_meaning_is_brought_down() -> None:
    """Standardised features are chosen where they rebuild what is left out better."""
    g = torch.Generator().manual_seed(0)
    head = nn.Linear(4, 4, bias=False)
    head.weight.data = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1000.0]))
    x, x_test = torch.randn(200, 4, generator=g), torch.randn(50, 4, generator=g)
    nothing = torch.zeros(200, dtype=torch.int64)
    p = Problem(partition_of(head, (4,)), x, nothing, x_test, nothing[:50])
    fitted = NearestFeatures().fit(p.knowledge(), Rng(0))
    assert isinstance(fitted, Averaged)
    assert fitted.near.scale[3] > 100


def test_refusals() -> None:
    with pytest.raises(BadPlan, match="neighbours"):
        NearestFeatures(neighbours=0)
    with pytest.raises(BadPlan, match="samples"):
        NearestFeatures(samples=1)
