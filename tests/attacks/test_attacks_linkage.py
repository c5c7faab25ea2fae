"""Attributes and identities from z: closed forms, floors, and what must be refused."""

import pickle
from dataclasses import dataclass, replace

import pytest
import torch
from attack_problems import Problem, partition_of
from torch import Tensor, nn

from splitveil.attacks import attributes
from splitveil.attacks.attributes import (
    AttributeAttack,
    FewShotAttribute,
    LabelOnly,
    LinearAttribute,
    NetworkAttribute,
    Verifier,
)
from splitveil.errors import BadInput, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.measures import attribute_lift, retrieval, verification
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched
from splitveil.threat import Auxiliary, BlackBox, Observation, QueryFree, WhiteBox

ATTACKS: tuple[AttributeAttack, ...] = (
    LabelOnly(),
    LinearAttribute(),
    LinearAttribute(samples=60),
    NetworkAttribute(epochs=2, width=8),
    FewShotAttribute(shots=3),
)


@dataclass(frozen=True, eq=False)
class People:
    """Vectors x = label + attribute + noise through a linear head; attributes are 5 and 6."""

    problem: Problem
    attribute: Tensor
    hidden: Tensor


def people(n: int, *, strength: float, seed: int = 0, shape: tuple[int, ...] = (12,)) -> People:
    g = torch.Generator().manual_seed(seed)
    directions = torch.randn(5, 12, generator=g)
    y = torch.randint(0, 3, (2 * n,), generator=g)
    # three in four of label 0 have the attribute, one in four of the others
    likely = torch.where(y == 0, 0.75, 0.25)
    attribute = (torch.rand(2 * n, generator=g) < likely).long()
    x = directions[y] + strength * (attribute[:, None] - 0.5) * directions[3] / directions[3].norm()
    x = x + torch.randn(2 * n, 12, generator=g)
    with Rng(seed).as_global():
        head = nn.Linear(12, 12)
    head.requires_grad_(False)
    p = Problem(partition_of(head, shape), x[:n], y[:n], x[n:], y[n:])
    return People(p, attribute[:n] + 5, attribute[n:] + 5)


def seen(p: Problem) -> Observation:
    return Observation(p.z_test, p.partition.cut.layout, p.y_test)


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_promises(attack: AttributeAttack) -> None:
    group = people(80, strength=4.0)
    knowledge, observation = group.problem.knowledge(), seen(group.problem)
    owned = knowledge.auxiliary
    assert owned.y is not None
    with nothing_touched(owned.x, owned.y, observation.z, group.attribute):
        one = attack.fit(knowledge, group.attribute, Rng(1))
        scores = one.scores(observation, Rng(2))
    again = attack.fit(knowledge, group.attribute, Rng(1)).scores(observation, Rng(2))
    assert torch.equal(scores, again)
    assert scores.shape == (80, 2)
    assert not scores.requires_grad
    answers = one(observation, Rng(2))
    assert set(answers.tolist()) <= {5, 6}
    apart = one(replace(observation, z=observation.z[:1], labels=observation.labels[:1]), Rng(2))  # type: ignore[index]
    assert apart[0] == answers[0]
    blind = attack.fit(group.problem.knowledge(knows_label=False), group.attribute, Rng(1))
    assert blind(replace(observation, labels=None), Rng(2)).shape == (80,)
    assert eval(repr(attack), vars(attributes)) == attack
    assert pickle.loads(pickle.dumps(attack)) == attack
    assert attack.reference


def test_the_linear_attack_reaches_the_exact_error_of_two_gaussians() -> None:
    """Between N(-d/2, I) and N(d/2, I) the best guess is right with probability Phi(|d| / 2)."""
    group = people(4000, strength=2.0)
    p = group.problem
    knowledge = p.knowledge()
    guess = LinearAttribute().fit(knowledge, group.attribute, Rng(0))(seen(p), Rng(0))
    floor = LabelOnly().fit(knowledge, group.attribute, Rng(0))(seen(p), Rng(0))
    assert torch.equal(floor, torch.where(p.y_test == 0, 6, 5))
    found = attribute_lift(guess, floor, group.hidden, Rng(1))
    # with the prior's odds of 3 : 1 known, right where x d + log odds > 0
    normal, odds = torch.distributions.Normal(0, 1), torch.log(torch.tensor(3.0))
    best = 0.75 * normal.cdf(1 + odds / 2) + 0.25 * normal.cdf(1 - odds / 2)
    assert found["accuracy"].low <= float(best) <= found["accuracy"].high + 0.01
    assert found["floor"].value == pytest.approx(0.75, abs=0.02)
    assert found["lift"].low > 0.03


def test_no_lift_where_z_says_nothing() -> None:
    group = people(600, strength=0.0)
    p = group.problem
    knowledge, observation = p.knowledge(), seen(p)
    floor = LabelOnly().fit(knowledge, group.attribute, Rng(0))(observation, Rng(0))
    for attack in (LinearAttribute(), NetworkAttribute(epochs=3, width=8)):
        guess = attack.fit(knowledge, group.attribute, Rng(0))(observation, Rng(0))
        assert attribute_lift(guess, floor, group.hidden, Rng(1))["lift"].low <= 0


def test_a_network_sees_what_no_line_does_and_few_shots_see_something() -> None:
    """An attribute that is the sign of a product of two features."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(1600, 4, generator=g)
    attribute, y = (x[:, 0] * x[:, 1] > 0).long(), torch.zeros(800, dtype=torch.int64)
    p = Problem(partition_of(nn.Identity(), (4,)), x[:800], y, x[800:], y)

    def right(attack: AttributeAttack, truth: Tensor) -> float:
        answers = attack.fit(p.knowledge(), truth[:800], Rng(0))(seen(p), Rng(0))
        return float((answers == truth[800:]).float().mean())

    assert right(LinearAttribute(), attribute) < 0.6
    network = NetworkAttribute(epochs=20, width=32, batch=32, learning_rate=1e-2)
    assert right(network, attribute) > 0.85
    side = (x[:, 0] > 0).long()
    few = [right(FewShotAttribute(shots=shots), side) for shots in (1, 200)]
    assert few[0] < few[1]
    assert few[1] > 0.9


@pytest.fixture(scope="module")
def faces() -> tuple[Problem, Tensor, Tensor]:
    """Forty persons of the attacker and sixty others: who one is lies in four of 20 directions."""
    g = torch.Generator().manual_seed(3)
    who = torch.arange(40).repeat_interleave(6)
    hidden = torch.arange(60).repeat(2)
    spread = torch.cat([torch.full((16,), 3.0), torch.full((4,), 0.3)])

    def draw(persons: int, of: Tensor) -> Tensor:
        own = torch.cat([torch.zeros(persons, 16), torch.randn(persons, 4, generator=g)], 1)
        return own[of] + spread * torch.randn(len(of), 20, generator=g)

    x, x_test = draw(40, who), draw(60, hidden)
    zeros = torch.zeros(240, dtype=torch.int64)
    p = Problem(partition_of(nn.Identity(), (20,)), x, zeros, x_test, zeros[:120])
    return p, who, hidden


def test_the_same_person_is_recognised_though_never_seen(
    faces: tuple[Problem, Tensor, Tensor],
) -> None:
    p, who, _ = faces
    same = Verifier(components=20).fit(p.knowledge(), who, Rng(0))
    layout = p.partition.cut.layout
    first, second = (Observation(p.z_test[part], layout, None) for part in _halves())
    turn = torch.arange(60).roll(1)
    other = replace(second, z=second.z[turn])
    scores = torch.cat([same(first, second), same(first, other)])
    alike = torch.arange(120) < 60
    found = verification(scores, alike, rates=(0.1,))
    assert found["auc"].low > 0.85
    assert found["tar_at_far_0.1"].value > 0.8
    raw = torch.cat([_cosine(first, second), _cosine(first, other)])
    assert verification(raw, alike, rates=(0.1,))["auc"].value < found["auc"].value - 0.2
    ranks = retrieval(same.embed(first), same.embed(second), Rng(1))
    assert ranks["top1"].value > 5 * ranks["top1_chance"].value


def _halves() -> tuple[slice, slice]:
    return slice(0, 60), slice(60, 120)


def _cosine(first: Observation, second: Observation) -> Tensor:
    return torch.cosine_similarity(first.z[:, 0], second.z[:, 0], dim=1)


def test_wide_features_take_the_smaller_eigenproblem(faces: tuple[Problem, Tensor, Tensor]) -> None:
    """A rotation into more dimensions than images changes no score."""
    p, who, _ = faces
    g = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(300, 20, generator=g)).Q
    wide = nn.Linear(20, 300, bias=False)
    wide.weight = nn.Parameter(turn, requires_grad=False)
    q = Problem(partition_of(wide, (300,)), p.auxiliary.x, who, p.x_test, p.y_test)
    scores = []
    for problem in (p, q):
        fitted = Verifier(components=10).fit(problem.knowledge(), who, Rng(0))
        layout = problem.partition.cut.layout
        one, two = (Observation(problem.z_test[part], layout, None) for part in _halves())
        scores.append(fitted(one, two))
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=1e-4)


def test_bad_input(faces: tuple[Problem, Tensor, Tensor]) -> None:
    p, who, _ = faces
    whole = p.knowledge(queries=1)
    free = QueryFree(whole.auxiliary, whole.tail, whole.layout, True, True)
    poor = BlackBox(whole.auxiliary, whole.tail, whole.layout, True, True, whole.oracle)
    none = replace(p.knowledge(), auxiliary=Auxiliary(p.auxiliary.x[:0], None))
    recipes: tuple[AttributeAttack | Verifier, ...] = (*ATTACKS[1:], Verifier())
    for attack in recipes:
        with pytest.raises(KnowledgeMissing, match="Pairs"):
            attack.fit(free, who, Rng(0))
        with pytest.raises(BudgetExceeded):
            attack.fit(poor, who, Rng(0))
        with pytest.raises(BadInput, match="give one each"):
            attack.fit(p.knowledge(), who[:-1], Rng(0))
        with pytest.raises(BadInput, match="no auxiliary images"):
            attack.fit(none, who[:0], Rng(0))
        with pytest.raises(BadInput, match="at least 2"):
            attack.fit(p.knowledge(), torch.zeros_like(who), Rng(0))
    with pytest.raises(BadInput, match="two auxiliary images"):
        Verifier().fit(p.knowledge(), torch.arange(len(who)), Rng(0))
    fitted: WhiteBox = p.knowledge()
    same = Verifier().fit(fitted, who, Rng(0))
    layout = p.partition.cut.layout
    seen_all = Observation(p.z_test, layout, None)
    with pytest.raises(BadInput, match="as many"):
        same(seen_all, replace(seen_all, z=p.z_test[:3]))
    with pytest.raises(BadInput, match="expected observed features"):
        same.embed(Observation(p.z_test[:, :, :-1], layout, None))
    for bad in (
        lambda: LinearAttribute(samples=1),
        lambda: FewShotAttribute(shots=0),
        lambda: NetworkAttribute(width=9),
        lambda: Verifier(shrinkage=0.0),
    ):
        with pytest.raises(BadPlan):
            bad()
