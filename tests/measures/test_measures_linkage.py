"""Verification against closed forms and a second method; lift against counting."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from splitveil.errors import BadData, BadPlan
from splitveil.measures import attribute_lift, roc_curve, verification
from splitveil.rng import Rng


def gaussian(m: int, n: int, shift: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    scores = torch.cat([torch.randn(m, generator=g) + shift, torch.randn(n, generator=g)])
    return scores, torch.arange(m + n) < m


def test_auc_and_tar_of_two_normals() -> None:
    scores, same = gaussian(4000, 4000, 1.5, 0)
    found = verification(scores, same, rates=(0.1, 0.01))
    auc = stats.norm.cdf(1.5 / math.sqrt(2))
    assert found["auc"].low < auc < found["auc"].high
    assert found["auc"].high - found["auc"].low < 0.02
    for rate in (0.1, 0.01):
        exact = stats.norm.sf(stats.norm.isf(rate) - 1.5)
        here = found[f"tar_at_far_{rate:g}"]
        assert here.low < exact < here.high
        assert found[f"tar_at_far_{rate:g}_chance"].value == rate


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    auc, tar = stats.norm.cdf(1 / math.sqrt(2)), stats.norm.sf(stats.norm.isf(0.1) - 1)
    held = np.zeros(2)
    for seed in range(200):
        found = verification(*gaussian(60, 80, 1.0, seed), rates=(0.1,))
        held += [
            found["auc"].low <= auc <= found["auc"].high,
            found["tar_at_far_0.1"].low <= tar <= found["tar_at_far_0.1"].high,
        ]
    # 95 % less three standard errors
    assert (held >= 200 * (0.95 - 3 * math.sqrt(0.95 * 0.05 / 200))).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=4, max_size=40))
def test_auc_counts_pairs_with_ties_half(pairs: list[tuple[int, bool]]) -> None:
    scores = torch.tensor([float(score) for score, _ in pairs])
    same = torch.tensor([kind for _, kind in pairs])
    if same.all() or not same.any():
        return
    if int((~same).sum()) < 2:
        return
    found = verification(scores, same, rates=(0.5,))
    difference = scores[same][:, None] - scores[~same]
    expected = float((difference > 0).double().mean() + 0.5 * (difference == 0).double().mean())
    assert found["auc"].value == pytest.approx(expected)
    far, tar = roc_curve(scores, same)
    assert np.trapezoid(tar, far) == pytest.approx(expected)
    assert (far[0], tar[0], far[-1], tar[-1]) == (0, 0, 1, 1)
    assert (np.diff(far) >= 0).all()
    assert (np.diff(tar) >= 0).all()


def test_perfect_scores_do_not_claim_certainty() -> None:
    scores, same = torch.tensor([2.0, 2.0, 1.0, 1.0]), torch.tensor([True, True, False, False])
    found = verification(scores, same, rates=(0.5,))
    assert found["auc"].value == 1
    assert found["auc"].low < 0.5
    assert found["tar_at_far_0.5"].value == 1


def test_lift_counts() -> None:
    truth = torch.tensor([0, 0, 1, 1, 1, 1])
    found = attribute_lift(truth, torch.ones(6, dtype=torch.int64), truth, Rng(0))
    assert found["accuracy"].value == 1
    assert found["floor"].value == pytest.approx(4 / 6)
    assert found["lift"].value == pytest.approx(2 / 6)


def test_bad_input() -> None:
    scores, same = gaussian(5, 5, 1.0, 0)
    with pytest.raises(BadData, match="give one each"):
        verification(scores[:-1], same)
    with pytest.raises(BadData, match="both pairs"):
        verification(scores, torch.ones_like(same))
    with pytest.raises(BadData, match="finite"):
        verification(scores / 0, same)
    with pytest.raises(BadData, match="at least 100"):
        verification(scores, same)
    with pytest.raises(BadPlan, match="false accept"):
        verification(scores, same, rates=(0.0,))
    with pytest.raises(BadData, match="as many"):
        attribute_lift(torch.zeros(3).long(), torch.zeros(2).long(), torch.zeros(3).long(), Rng(0))
