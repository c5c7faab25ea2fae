"""The attacker who has the network before fine-tuning: the loss by hand, and what it leaves."""

from dataclasses import replace

import pytest
import torch
from inverting import SHAPE, door, prior, two_layers
from torch import nn

from splitveil.class_inversion import (
    Access,
    Adam,
    Box,
    ClassInversion,
    Draws,
    Gained,
    Logit,
    Objective,
    Wasserstein,
    brep_mi,
    gmi,
    invert,
    knowing,
    lomma,
)
from splitveil.class_inversion.losses import Answer
from splitveil.class_inversion.objective import Problem
from splitveil.errors import BadModel, BadPlan, KnowledgeMissing
from splitveil.rng import Rng

RNG = Rng(2)
Z = torch.randn(4, 16, generator=Rng(1).torch())
LABELS = torch.tensor([0, 1, 2, 5])
PURE = Gained(share=1.0)


def attack(share: float) -> ClassInversion:
    return ClassInversion(
        name="plain",
        prior=Wasserstein(),
        start=Draws(restarts=2),
        search=Adam(steps=5, constraint=Box()),
        objective=Objective(identity=Gained(share=share), weight=1.0),
    )


def losses(identity: Gained | Logit, first: nn.Module | None) -> torch.Tensor:
    problem = Problem(
        target=door(),
        prior=prior(),
        objective=Objective(identity=identity, weight=1.0),
        first=None if first is None else Access(first, "white"),
    )
    return problem.losses(Z, LABELS, RNG.torch())[0]


def test_the_loss_by_hand() -> None:
    answer = Answer(torch.tensor([[1.0, 5.0]]), first=torch.tensor([[2.0, 3.0]]))
    assert Gained(share=0.5)(answer, torch.tensor([1])).tolist() == [-5 + 0.5 * 3]
    held = Gained(of=Logit(regulariser=0.1), share=2.0)
    assert held.needs_features
    offset = replace(answer, offset=torch.tensor([[1.0, 2.0]]))
    assert held(offset, torch.tensor([0])).tolist() == pytest.approx([-1 + 0.1 * 5 + 2 * 2])


def test_the_head_of_one_network_reads_the_features_of_the_other() -> None:
    target, first = two_layers(), two_layers(classes=9, seed=3).eval()  # of other classes
    found = losses(PURE, first)
    with torch.no_grad():
        x = prior()(Z, LABELS)
        own = first[2](first[1](first[0](x)))  # type: ignore[index]
        last: nn.Linear = target[4]  # type: ignore[index]
        before = own @ last.weight.T + last.bias
        logits = target.eval()(x)
    wanted = before.gather(1, LABELS[:, None]) - logits.gather(1, LABELS[:, None])
    assert torch.allclose(found, wanted[:, 0], atol=1e-5)


def test_where_nothing_was_changed_nothing_is_left_to_follow() -> None:
    z = Z.clone().requires_grad_()
    problem = Problem(
        target=door(),
        prior=prior(),
        objective=Objective(identity=PURE, weight=1.0),
        first=Access(two_layers(), "white"),
    )
    found = problem.losses(z, LABELS, RNG.torch())[0]
    (slope,) = torch.autograd.grad(found.sum(), z)
    assert float(found.detach().abs().max()) < 1e-5
    assert float(slope.abs().max()) < 1e-5


def test_without_a_share_it_is_the_other_loss_and_costs_no_queries_more() -> None:
    first = two_layers(seed=5)
    assert torch.allclose(losses(Gained(share=0.0), first), losses(Logit(regulariser=0.0), None))
    target = door()
    found = invert(attack(0.5), target, prior(), range(6), rng=RNG, first=first)
    assert found.images.shape == (6, 2, *SHAPE)
    assert target.used == found.queries == 5 * 12


def test_what_is_missing_or_makes_no_sense_is_refused() -> None:
    with pytest.raises(KnowledgeMissing, match="give first="):
        invert(attack(0.5), door(), prior(), [0], rng=RNG)
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
    with pytest.raises(BadModel, match="features of 16 values for a last layer of 12"):
        invert(attack(0.5), door(), prior(), [0], rng=RNG, first=narrow)
    with pytest.raises(BadPlan, match="share"):
        Gained(share=-1.0)
    with pytest.raises(BadPlan, match="white-box"):
        knowing(brep_mi())
    with pytest.raises(KnowledgeMissing, match="white"):
        door("score").head(torch.zeros(1, 12))


def test_the_preset_changes_the_loss_alone() -> None:
    found = knowing(lomma(of=gmi(), students=False))
    assert found.name == "LOMMA+GMI knowing the start"
    assert found.objective is not None
    assert found.objective.identity == Gained(of=Logit(regulariser=0.01), share=0.5)
    assert found.search == gmi().search
    assert eval(repr(found.objective.identity)) == found.objective.identity
