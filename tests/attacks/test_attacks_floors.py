import pytest
import torch
from attack_problems import Problem

from splitveil.attacks import ClassMean, MeanImage, NearestAuxiliary
from splitveil.errors import BadInput, BudgetExceeded, KnowledgeMissing
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, BlackBox, Observation, QueryFree

X = torch.tensor([[0.0, 0.0], [2.0, 4.0], [10.0, 10.0]])
Y = torch.tensor([3, 3, 7])


def _query_free(x: torch.Tensor = X, y: torch.Tensor | None = Y, label: bool = True) -> QueryFree:
    return QueryFree(Auxiliary(x, y), torch.nn.Identity(), Layout(()), label, False)


def _observe(labels: list[int] | None, n: int) -> Observation:
    y = None if labels is None else torch.tensor(labels)
    return Observation(torch.zeros(n, 1, 0), Layout(()), y)


def test_mean_image_is_the_mean() -> None:
    guess = MeanImage().fit(_query_free(), Rng(0))(_observe([3, 7], 2), Rng(0))
    torch.testing.assert_close(guess, X.mean(0).expand(2, 2))


def test_class_mean_falls_back_to_the_mean_for_unseen_classes() -> None:
    guess = ClassMean().fit(_query_free(), Rng(0))(_observe([3, 7, 5, 99], 4), Rng(0))
    mean = X.mean(0)
    torch.testing.assert_close(guess, torch.stack([X[:2].mean(0), X[2], mean, mean]))


@pytest.mark.parametrize(("y", "label"), [(None, True), (Y, False)])
def test_class_mean_without_labels_is_the_mean(y: torch.Tensor | None, label: bool) -> None:
    guess = ClassMean().fit(_query_free(X, y, label), Rng(0))(_observe(None, 1), Rng(0))
    torch.testing.assert_close(guess[0], X.mean(0))


def test_labels_fitted_must_be_observed() -> None:
    with pytest.raises(BadInput, match="labels"):
        ClassMean().fit(_query_free(), Rng(0))(_observe(None, 1), Rng(0))


@pytest.mark.parametrize("few", [0, 1])
def test_too_few_auxiliary_targets(few: int) -> None:
    with pytest.raises(BadInput, match="at least 2"):
        MeanImage().fit(_query_free(X[:few], Y[:few]), Rng(0))


def test_nan_and_range_are_refused() -> None:
    with pytest.raises(BadInput, match="not finite"):
        MeanImage().fit(_query_free(torch.full((3, 2), torch.nan)), Rng(0))
    with pytest.raises(BadInput, match=r"in \[0, 1\]"):
        MeanImage().fit(_query_free(torch.full((3, 1, 2, 2), 255.0)), Rng(0))


def test_nearest_equals_brute_force(image_problem: Problem) -> None:
    p = image_problem
    guess = NearestAuxiliary().fit(p.knowledge(), Rng(0))(
        Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0)
    )
    z = p.partition.features(p.auxiliary.x).detach()
    distance = torch.cdist(p.z_test[:, 0].double(), z.double())
    assert p.auxiliary.y is not None
    distance[p.y_test[:, None] != p.auxiliary.y[None]] = torch.inf
    torch.testing.assert_close(guess, p.auxiliary.x[distance.argmin(1)])


def test_nearest_searches_everywhere_for_an_unseen_class(image_problem: Problem) -> None:
    p = image_problem
    attack = NearestAuxiliary().fit(p.knowledge(), Rng(0))
    layout = p.partition.cut.layout
    z = p.partition.features(p.auxiliary.x[:5]).detach()[:, None]
    guess = attack(Observation(z, layout, torch.full((5,), 99)), Rng(0))
    torch.testing.assert_close(guess, p.auxiliary.x[:5])


def test_nearest_needs_what_was_sent_for_its_own_images() -> None:
    with pytest.raises(KnowledgeMissing, match="Pairs"):
        NearestAuxiliary().fit(_query_free(), Rng(0))


def test_a_small_budget_buys_fewer_neighbours(image_problem: Problem) -> None:
    whole = image_problem.knowledge(queries=40)
    black = BlackBox(whole.auxiliary, whole.tail, whole.layout, True, True, oracle=whole.oracle)
    NearestAuxiliary().fit(black, Rng(0))
    assert whole.oracle.used == 40
    with pytest.raises(BudgetExceeded):
        NearestAuxiliary().fit(black, Rng(0))


def test_white_box_spends_no_queries(image_problem: Problem) -> None:
    knowledge = image_problem.knowledge(queries=1)
    NearestAuxiliary().fit(knowledge, Rng(0))
    assert knowledge.oracle.used == 0
