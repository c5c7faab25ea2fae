"""The loss against torchmetrics and against sums by hand."""

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from splitveil.errors import BadData, BadPlan
from splitveil.malicious import MultiAttribute, MultiClass, Resemblance
from splitveil.malicious.objective import Known, Similarity
from splitveil.measures import ssim_per_image
from splitveil.rng import Rng


def pair(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = Rng(0).torch()
    x = torch.rand(5, 3, *size, generator=generator)
    return x, (x + 0.2 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("size", [(32, 32), (11, 20), (25, 14)])
def test_similarity_and_its_gradient_are_those_of_torchmetrics(size: tuple[int, int]) -> None:
    x, other = pair(size)
    ours, theirs = other.clone().requires_grad_(), other.clone().requires_grad_()
    similarity = Similarity(size)
    first = similarity(ours, similarity.known(x))
    _, whole = structural_similarity_index_measure(
        theirs, x, data_range=1.0, return_full_image=True
    )
    assert isinstance(whole, torch.Tensor)
    second = whole[..., 5:-5, 5:-5].mean()  # windows that lie inside
    assert second.item() == pytest.approx(float(ssim_per_image(other, x).mean()), abs=2e-6)
    assert first.item() == pytest.approx(second.item(), abs=2e-6)
    first.backward()
    second.backward()
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-7)


def test_kept_statistics_are_those_of_the_images_taken() -> None:
    x, other = pair((16, 16))
    similarity = Similarity((16, 16))
    rows = torch.tensor([3, 0])
    known = Known.joined([similarity.known(x[:2]), similarity.known(x[2:])]).take(rows)
    torch.testing.assert_close(
        similarity(other[rows], known), similarity(other[rows], similarity.known(x[rows]))
    )


@pytest.mark.parametrize("size", [(8, 8), (3, 30), (1, 1)])
def test_small_images_have_a_smaller_window(size: tuple[int, int]) -> None:
    x, other = pair(size)
    similarity = Similarity(size)
    assert similarity(x, similarity.known(x)).item() == pytest.approx(1, abs=1e-6)
    assert similarity(other, similarity.known(x)).item() < 1


def test_the_resemblance_is_the_sum_by_hand() -> None:
    x, other = pair((16, 16))
    similarity = Similarity((16, 16))
    known = similarity.known(x)
    by_hand = 5 * 0.5 * (other - x).square().mean() + 1 - similarity(other, known)
    torch.testing.assert_close(Resemblance()(other, known, similarity), by_hand)
    plain = Resemblance(huber=2.0, similarity=0.0)(other, known, similarity)
    torch.testing.assert_close(plain, (other - x).square().mean())


@pytest.mark.parametrize(("huber", "similarity"), [(-1, 1), (0, 0), (float("nan"), 1)])
def test_impossible_weights_are_refused(huber: float, similarity: float) -> None:
    with pytest.raises(BadPlan, match="weights"):
        Resemblance(huber=huber, similarity=similarity)


def test_attributes_are_one_expression_of_the_weighted_loss() -> None:
    labels = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 1]])
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.4, 0.0], [1.0, 2.0]])
    found = MultiAttribute(("a", "b")).loss(labels)(logits, labels)
    p = logits.sigmoid()
    total = 0.0
    for k, weight in enumerate((3.0, 1.0)):  # no answers over yes answers
        for n in range(4):
            share = p[n, k] if labels[n, k] else 1 - p[n, k]
            total += float(-(weight if labels[n, k] else 1) * share.log()) / 8
    assert found.item() == pytest.approx(total, rel=1e-5)


def test_attributes_are_scored_by_sign() -> None:
    task = MultiAttribute(("a", "b"))
    logits, labels = torch.tensor([[0.0, -1.0], [2.0, 0.3]]), torch.tensor([[1, 0], [1, 0]])
    assert task.right(logits, labels).tolist() == [1.0, 0.5]
    assert task.each(logits, labels) == {"a": 1.0, "b": 0.5}
    assert task.accuracy(logits, labels, Rng(0)).value == 0.75
    torch.testing.assert_close(task.probability(logits), logits.sigmoid())


def test_classes_are_scored_by_the_largest() -> None:
    task = MultiClass(2)
    logits, labels = torch.tensor([[0.0, -1.0], [2.0, 0.3]]), torch.tensor([0, 1])
    assert task.right(logits, labels).tolist() == [1.0, 0.0]
    torch.testing.assert_close(task.probability(logits), logits.softmax(1))


def test_impossible_tasks_are_refused() -> None:
    with pytest.raises(BadPlan, match="MultiAttribute"):
        MultiClass(1)
    with pytest.raises(BadPlan, match="names"):
        MultiAttribute(())
    with pytest.raises(BadData, match="same for all 3"):
        MultiAttribute(("hat",)).loss(torch.ones(3, 1, dtype=torch.int64))
