"""Betting against a mean: expectation by enumeration, crossings by a binomial, no look ahead."""

import itertools
import math

import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng
from splitveil.vetting.betting import Capital, mean_of_logs

MEAN = 0.3


def _scores(kind: str, streams: int, n: int) -> Tensor:
    """Streams whose every score has mean 0.3 given its past."""
    g = Rng(7, (kind,)).torch()
    u = torch.rand(streams, n, generator=g, dtype=torch.float64)
    match kind:
        case "yes or no":
            return (u < MEAN).double()
        case "triangular":
            other = torch.rand(streams, n, generator=g, dtype=torch.float64)
            return torch.minimum(u, other) * (MEAN / (1 / 3))
        case "small spread":
            return MEAN + 0.02 * (u - 0.5)
        case "follows the past":
            # spread wide after a high score, narrow after a low one: dependent, same mean
            high = (u < MEAN).double()
            wide = torch.cat([torch.ones(streams, 1, dtype=torch.float64), high[:, :-1]], 1)
            return torch.where(wide > 0, high, MEAN + 0.2 * (u - 0.5))
        case _:
            raise ValueError(kind)


@pytest.mark.parametrize("kind", ["yes or no", "triangular", "small spread", "follows the past"])
@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_at_the_null_capital_rarely_ever_reaches_one_over_alpha(kind: str, alpha: float) -> None:
    streams = 2000
    _, path = Capital.begin(MEAN, (streams,)).after(_scores(kind, streams, 1000))
    crossed = int((path.amax(1) >= -math.log(alpha)).sum())
    assert crossed <= binom.ppf(0.999, streams, alpha)


def test_the_mean_of_two_capitals_rarely_reaches_it_either() -> None:
    streams, alpha = 2000, 0.1
    scores = _scores("yes or no", streams, 500)
    _, high = Capital.begin(MEAN, (streams,)).after(scores)
    _, low = Capital.begin(1 - MEAN, (streams,)).after(1 - scores)
    both = mean_of_logs(torch.stack([high.flatten(), low.flatten()])).reshape(streams, -1)
    crossed = int((both.amax(1) >= -math.log(alpha)).sum())
    assert crossed <= binom.ppf(0.999, streams, alpha)


@pytest.mark.parametrize("mean", [0.05, 0.3, 0.8])
def test_expected_capital_over_all_outcomes_is_one(mean: float) -> None:
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=12)), dtype=torch.float64)
    chance = torch.where(outcomes > 0, mean, 1 - mean).prod(1)
    _, path = Capital.begin(mean, (len(outcomes),)).after(outcomes)
    expected = (chance[:, None] * path.exp()).sum(0)
    assert torch.allclose(expected, torch.ones(12, dtype=torch.float64), atol=1e-12)
    assert float(path.exp().max()) > 2  # something was staked


def test_a_lower_mean_can_only_lose() -> None:
    outcomes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=10)), dtype=torch.float64)
    chance = torch.where(outcomes > 0, 0.2, 0.8).prod(1)
    _, path = Capital.begin(0.3, (len(outcomes),)).after(outcomes)
    expected = (chance[:, None] * path.exp()).sum(0)
    assert bool((expected.diff() <= 1e-15).all())


def test_a_stake_knows_nothing_of_what_it_is_staked_on() -> None:
    past = (_scores("triangular", 1, 40)[0] + 0.3).clamp(max=1)
    ends = []
    for last in (0.0, 0.4, 1.0):
        _, path = Capital.begin(MEAN).after(torch.cat([past, past.new_tensor([last])]))
        ends.append((float(path[-2]), float(path[-1].exp())))
    assert len({before for before, _ in ends}) == 1
    low, middle, high = (after for _, after in ends)
    assert middle == pytest.approx(low + 0.4 * (high - low), rel=1e-12)
    assert high > low


def test_scores_at_or_below_the_null_stake_nothing() -> None:
    grown, path = Capital.begin(MEAN).after(torch.full((50,), 0.2, dtype=torch.float64))
    assert float(grown.log) == 0.0
    assert bool((path == 0).all())


def test_growth_is_most_of_what_the_best_stake_known_beforehand_would_give() -> None:
    g = Rng(3).torch()
    scores = (torch.rand(4000, generator=g, dtype=torch.float64) < 0.6).double()
    _, path = Capital.begin(MEAN).after(scores)
    # of yes-or-no scores the best growth is the Kullback-Leibler divergence
    best = 0.6 * math.log(0.6 / MEAN) + 0.4 * math.log(0.4 / 0.7)
    assert 0.8 < float(path[-1]) / 4000 / best < 1.1


def test_batches_may_be_cut_anywhere() -> None:
    scores = _scores("triangular", 3, 60)
    whole, path = Capital.begin(MEAN, (3,)).after(scores)
    part = Capital.begin(MEAN, (3,))
    paths = []
    for piece in scores.split([1, 0, 20, 39], 1):
        part, one = part.after(piece)
        paths.append(one)
    assert part.images == whole.images == 60
    assert torch.allclose(torch.cat(paths, 1), path, atol=1e-12)
    assert torch.allclose(part.second, whole.second, atol=1e-9)


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(BadData, match="scores lie in"):
        Capital.begin(MEAN).after(torch.tensor([0.5, 1.1], dtype=torch.float64))
    with pytest.raises(BadPlan, match="inside"):
        Capital.begin(1.0)
