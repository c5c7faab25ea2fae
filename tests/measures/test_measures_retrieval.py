"""Retrieval against enumeration, and against the chance it must not beat."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from splitveil.errors import BadData, BadPlan
from splitveil.measures.retrieval import retrieval, retrieval_ranks
from splitveil.rng import Rng
from splitveil.testing.conformance.measures import MeasureCase, MeasureConformance


def _vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Rng(seed, ("vectors",)).torch())


def _pair(n: int, rng: Rng) -> tuple[Tensor, ...]:
    x = torch.rand(n, 1, 3, 3, generator=rng.child("x").torch())
    return x + 0.3 * torch.randn(x.shape, generator=rng.child("noise").torch()), x


def _equal(n: int, rng: Rng) -> tuple[Tensor, ...]:
    return _pair(n, rng)[1].clone(), _pair(n, rng)[1]


class TestRetrieval(MeasureConformance):
    @pytest.fixture(params=["top1", "top5", "lift", "median_rank", "auc"])
    def case(self, request: pytest.FixtureRequest) -> MeasureCase:
        name: str = request.param
        return MeasureCase(
            measure=lambda i, rng: retrieval(i[0], i[1], rng)[name],
            inputs=_pair,
            unit="rank" if name == "median_rank" else "share",
            ideal=_equal,
            best=1.0,
            least=2,
        )


def test_ranks_are_those_of_sorted_distances() -> None:
    queries, gallery = _vectors(30, 2, 4), _vectors(50, 2, 4, seed=1)
    own = torch.arange(30) + 7
    distances = torch.cdist(queries.flatten(1).double(), gallery.flatten(1).double())
    order = distances.argsort(1).tolist()
    by_hand = [order[i].index(i + 7) for i in range(30)]
    ranks = retrieval_ranks(queries, gallery, own=own)
    assert ranks.nearer.tolist() == by_hand
    assert (ranks.tied == 0).all()
    assert (ranks.size == 50).all()


def test_ranks_within_a_class_leave_out_the_others() -> None:
    queries, gallery = _vectors(30, 4), _vectors(30, 4, seed=1)
    labels = torch.arange(30) % 4
    distances = torch.cdist(queries.double(), gallery.double())
    nearer = (distances < distances.diagonal()[:, None]) & (labels == labels[:, None])
    ranks = retrieval_ranks(queries, gallery, labels=labels)
    assert ranks.nearer.tolist() == nearer.sum(1).tolist()
    assert ranks.size.tolist() == [8, 8, 7, 7] * 7 + [8, 8]


def test_equal_items_tie_although_their_distances_round_apart() -> None:
    """Matrix products round by position: two blocks of equal items differ in their last bits."""
    half = _vectors(101, 777) + 50
    ranks = retrieval_ranks(_vectors(202, 777, seed=1) + 50, torch.cat([half, half]))
    assert (ranks.tied == 1).all()


def test_one_answer_for_everything_is_exactly_chance() -> None:
    """Every item is asked for once and the order is the same each time."""
    gallery = _vectors(40, 6)
    found = retrieval(gallery.mean(0).expand(40, 6), gallery, Rng(0), top=(1, 7))
    assert found["top1"].value == pytest.approx(1 / 40)
    assert found["top7"].value == pytest.approx(7 / 40)
    assert found["top7_chance"].value == 7 / 40
    assert found["lift"].value == pytest.approx(0, abs=1e-12)
    assert found["auc"].value == pytest.approx(0.5)
    assert found["median_rank"].value == pytest.approx(20)


def test_an_embedding_that_sees_nothing_is_exactly_chance() -> None:
    found = retrieval(torch.ones(40, 6), torch.ones(40, 6), Rng(0), top=(1, 7))
    assert found["top1"].value == pytest.approx(1 / 40)
    assert found["top7"].value == pytest.approx(7 / 40)
    assert found["auc"].value == 0.5


def test_blind_guesses_stay_at_chance() -> None:
    """200 problems of 100 queries with their own galleries: 10 + 4 sqrt(10) misses allowed."""
    missed = dict.fromkeys(("top1", "top5", "auc"), 0)
    truth = {"top1": 1 / 50, "top5": 5 / 50, "auc": 0.5}
    for seed in range(200):
        found = retrieval(_vectors(100, 3, seed=seed), _vectors(50, 3, seed=1000 + seed), Rng(0),
                          own=torch.arange(100) % 50)  # fmt: skip
        for name, value in truth.items():
            missed[name] += not found[name].low <= value <= found[name].high
    assert max(missed.values()) <= 22, missed


@pytest.mark.parametrize("size", [2, 3, 5])
def test_smaller_galleries_are_the_average_of_all_of_them(size: int) -> None:
    queries, gallery = _vectors(4, 2), _vectors(6, 2, seed=3)
    gallery[5] = gallery[0]
    hits = {k: [] for k in (1, 2)}  # type: dict[int, list[float]]
    for i in range(4):
        others = [j for j in range(6) if j != i]
        distance = (queries[i].double() - gallery.double()).square().sum(1)
        for chosen in itertools.combinations(others, size - 1):
            nearer = sum(bool(distance[j] < distance[i]) for j in chosen)
            tied = sum(bool(distance[j] == distance[i]) for j in chosen)
            for k, store in hits.items():
                store.append(min(1.0, max(0.0, (k - nearer) / (tied + 1))))
    found = retrieval(queries, gallery, Rng(0), size=size, top=(1, 2))
    for k, store in hits.items():
        assert found[f"top{k}"].value == pytest.approx(np.mean(store))
    assert found["top1_chance"].value == 1 / size


def test_class_alone_is_no_retrieval_within_it() -> None:
    """The class mean finds the class among all, and nothing within it."""
    labels = torch.arange(60) % 3
    gallery = _vectors(60, 5) + 20 * torch.eye(5)[labels]
    means = torch.stack([gallery[labels == c].mean(0) for c in range(3)])
    found = retrieval(means[labels], gallery, Rng(0), labels=labels)
    assert found["top1"].value == pytest.approx(1 / 20)
    assert found["top5"].value == pytest.approx(5 / 20)
    assert found["auc"].value == pytest.approx(0.5)
    assert retrieval(means[labels], gallery, Rng(0))["auc"].value > 0.8
    assert any("same class" in words for words in found["top1"].assumptions)


def test_finding_every_image_of_a_sample_does_not_prove_certainty() -> None:
    gallery = _vectors(30, 4)
    for name in ("top1", "auc"):
        quantity = retrieval(gallery.clone(), gallery, Rng(0))[name]
        assert quantity.value == 1
        assert quantity.low == pytest.approx(0.025 ** (1 / 30))


def test_two_equal_items_share_the_hit() -> None:
    gallery = _vectors(5, 3)
    gallery[1] = gallery[0]
    found = retrieval(gallery.clone(), gallery, Rng(0), top=(1, 2))
    assert found["top1"].value == pytest.approx(4 / 5)
    assert found["top2"].value == 1


def test_a_class_of_one_is_left_out() -> None:
    gallery = _vectors(5, 3)
    found = retrieval(gallery.clone(), gallery, Rng(0), labels=torch.tensor([0, 0, 1, 2, 2]))
    assert found["top1"].n == 4
    with pytest.raises(BadData, match="larger gallery"):
        retrieval(gallery.clone(), gallery, Rng(0), labels=torch.arange(5))


def test_auc_counts_pairs() -> None:
    queries, gallery = _vectors(20, 2), _vectors(20, 2, seed=4)
    distances = torch.cdist(queries.double(), gallery.double())
    true = distances.diagonal()[:, None]
    pairs = (distances > true).sum() / (20 * 19)
    assert retrieval(queries, gallery, Rng(0))["auc"].value == pytest.approx(float(pairs))


def test_blocks_do_not_change_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = _vectors(30, 4), _vectors(30, 4, seed=1)
    labels = torch.arange(30) % 4
    whole = retrieval_ranks(queries, gallery, labels=labels)
    monkeypatch.setattr(sys.modules["splitveil.measures.retrieval"], "_BLOCK_VALUES", 100)
    parts = retrieval_ranks(queries, gallery, labels=labels)
    assert (whole.nearer == parts.nearer).all()
    assert (whole.size == parts.size).all()


def test_bad_galleries_are_refused() -> None:
    x = _vectors(4, 3)
    with pytest.raises(BadData, match="must be the same"):
        retrieval(x, x[:, :2], Rng(0))
    with pytest.raises(BadData, match="at least 1 and 2"):
        retrieval(x[:1], x[:1], Rng(0))
    with pytest.raises(BadData, match="true places run from 0 to 3"):
        retrieval(x, x[:3], Rng(0))
    with pytest.raises(BadData, match="one each"):
        retrieval(x, x, Rng(0), own=torch.arange(3))
    with pytest.raises(BadData, match="one each"):
        retrieval(x, x, Rng(0), labels=torch.arange(3))
    with pytest.raises(BadData, match="NaN"):
        retrieval(x * math.nan, x, Rng(0))
    with pytest.raises(BadData, match="4 items only"):
        retrieval(x, x, Rng(0), size=5)
    with pytest.raises(BadPlan, match="size >= 2"):
        retrieval(x, x, Rng(0), size=1)
    with pytest.raises(BadPlan, match="every k"):
        retrieval(x, x, Rng(0), top=(0,))
