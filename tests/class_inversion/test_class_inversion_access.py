"""The door to a model: levels held, queries counted, budgets kept."""

import pytest
import torch
from inverting import SHAPE, door, two_layers
from torch import nn

from splitveil.class_inversion import Access
from splitveil.errors import BadModel, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.rng import Rng

X = torch.rand(7, *SHAPE, generator=Rng(0).torch())


def test_every_question_is_counted_once_an_image() -> None:
    access = door()
    access.labels(X)
    access.scores(X)
    access.logits(X)
    access.logits_and_features(X)
    assert access.used == 28


def test_answers_agree_with_the_model_in_eval_mode_and_with_each_other() -> None:
    model = two_layers().train()
    access = Access(model, "white", batch=2)
    reference = two_layers().eval()(X)
    assert torch.equal(access.labels(X), reference.argmax(1))
    assert torch.allclose(access.scores(X), reference.softmax(1))
    logits, features = access.logits_and_features(X)
    assert torch.equal(logits, access.logits(X))
    assert torch.allclose(two_layers().get_submodule("4")(features), logits)
    assert model.training  # the caller's network is left alone, noise in its answers is not asked


def test_noise_of_training_never_enters_an_answer() -> None:
    access = Access(two_layers().train(), "score")
    assert torch.equal(access.scores(X), access.scores(X))


@pytest.mark.parametrize(
    ("level", "question"),
    [
        ("label", "scores"),
        ("label", "logits"),
        ("label", "logits_and_features"),
        ("score", "logits"),
        ("score", "logits_and_features"),
    ],
)
def test_a_level_below_is_refused_and_not_counted(level: str, question: str) -> None:
    access = door(level)
    with pytest.raises(KnowledgeMissing, match=r"white access|score access"):
        getattr(access, question)(X)
    assert access.used == 0


@pytest.mark.parametrize("level", ["label", "score"])
def test_gradients_raise_below_white(level: str) -> None:
    access = door(level)
    with pytest.raises(KnowledgeMissing, match="gradient needs white"):
        access.labels(X.clone().requires_grad_())
    assert access.used == 0


def test_white_access_passes_gradient_to_the_image_and_none_to_the_model() -> None:
    access, x = door(), X.clone().requires_grad_()
    access.logits(x).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    assert all(p.grad is None for p in access._model.parameters())


def test_an_exhausted_budget_is_said_before_anything_is_asked() -> None:
    access = door("label", budget=10)
    access.labels(X)
    with pytest.raises(BudgetExceeded, match="7 queries asked, 3 of 10 left"):
        access.labels(X)
    assert access.used == 7
    access.labels(X[:3])
    assert access.used == 10


def test_bad_doors_are_refused() -> None:
    with pytest.raises(BadPlan, match="positive"):
        door(budget=0)


def test_a_model_without_penultimate_features_says_so() -> None:
    conv = nn.Sequential(nn.Conv2d(1, 6, 4), nn.Flatten())
    with pytest.raises(BadModel, match="no penultimate features: the model ends in Conv2d"):
        Access(conv, "white").logits_and_features(X)


def test_the_number_of_classes_costs_no_query_and_a_wrong_size_is_said() -> None:
    access = door()
    assert access.outputs(SHAPE) == 6
    assert access.used == 0
    with pytest.raises(BadModel, match="refuses an image of shape"):
        door().outputs((1, 5, 5))
