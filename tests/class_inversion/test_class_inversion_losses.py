"""Identity and prior losses against hand calculations, and what leaves them unmoved."""

import math

import pytest
import torch
from torch import Tensor

from splitveil.class_inversion import CrossEntropy, Logit, MaxMargin, Poincare, RealClass, Realness
from splitveil.class_inversion.losses import Answer, IdentityLoss
from splitveil.errors import BadPlan
from splitveil.rng import Rng

LOGITS = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 1.0]])
LABELS = torch.tensor([0, 2])
SOME = torch.randn(5, 3, generator=Rng(1).torch())
CLASSES = torch.tensor([0, 1, 2, 0, 1])


def of(loss: IdentityLoss, logits: Tensor, labels: Tensor = CLASSES) -> Tensor:
    return loss(Answer(logits), labels)


def test_cross_entropy_by_hand() -> None:
    first = -2 + math.log(math.exp(2) + math.exp(1) + math.exp(-1))
    second = -1 + math.log(1 + math.exp(3) + math.exp(1))
    assert of(CrossEntropy(), LOGITS, LABELS).tolist() == pytest.approx([first, second])


def test_the_logit_by_hand_with_and_without_features() -> None:
    offset = torch.tensor([[1.0, 2.0], [0.0, -3.0]])
    loss = Logit(regulariser=0.5)
    assert loss(Answer(LOGITS, offset), LABELS).tolist() == [-2 + 0.5 * 5, -1 + 0.5 * 9]
    assert of(loss, LOGITS, LABELS).tolist() == [-2, -1]  # a student has no regulariser
    assert loss.needs_features
    assert not Logit(regulariser=0.0).needs_features


def test_the_margin_by_hand() -> None:
    assert of(MaxMargin(), LOGITS, LABELS).tolist() == [1 - 2, 3 - 1]


def test_poincare_by_hand() -> None:
    u, v = [0.5, 0.25, -0.25], [1 - 1e-4, 0.0, 0.0]
    apart = sum((a - b) ** 2 for a, b in zip(u, v, strict=True))
    room = (1 - sum(a * a for a in u)) * (1 - v[0] ** 2)
    expected = math.acosh(1 + 2 * apart / room)
    assert float(of(Poincare(), LOGITS, LABELS)[0]) == pytest.approx(expected, rel=1e-6)


def test_poincare_stays_finite_where_one_logit_dominates() -> None:
    logits = torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    found = of(Poincare(), logits, torch.tensor([0, 1]))
    found.sum().backward()
    assert found.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [CrossEntropy(), MaxMargin()])
def test_a_constant_added_to_all_logits_changes_nothing(loss: IdentityLoss) -> None:
    assert torch.allclose(of(loss, SOME), of(loss, SOME + 7), atol=1e-5)


@pytest.mark.parametrize("loss", [Logit(regulariser=0.0), Poincare()])
def test_these_move_with_a_constant(loss: IdentityLoss) -> None:
    assert not torch.allclose(of(loss, SOME), of(loss, SOME + 7), atol=1e-2)


def test_poincare_is_unmoved_by_a_positive_factor() -> None:
    assert torch.allclose(of(Poincare(), SOME), of(Poincare(), 9 * SOME), atol=1e-5)


@pytest.mark.parametrize("loss", [CrossEntropy(), Logit(), MaxMargin(), Poincare()])
def test_no_image_enters_another_s_loss(loss: IdentityLoss) -> None:
    whole = of(loss, SOME)
    alone = torch.cat([of(loss, SOME[i : i + 1], CLASSES[i : i + 1]) for i in range(5)])
    assert torch.equal(whole, alone)


def test_the_critic_s_word_is_turned_round() -> None:
    assert Realness()(torch.tensor([1.5, -2.0])).tolist() == [-1.5, 2.0]


def test_the_real_class_is_log_of_one_plus_exp() -> None:
    verdict = torch.tensor([[0.0, 1.0, 2.0], [-3.0, -4.0, 0.0]])
    total = verdict.exp().sum(1)
    # -ln(Z / (Z + 1)) = ln(1 + 1 / Z)
    assert torch.allclose(RealClass()(verdict), torch.log1p(1 / total), atol=1e-6)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(BadPlan, match="regulariser"):
        Logit(regulariser=-1.0)
    with pytest.raises(BadPlan, match="inset"):
        Poincare(inset=1.0)
