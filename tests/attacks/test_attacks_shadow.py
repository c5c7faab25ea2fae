"""Query-free attacks: what they learn from the tail alone, and from z alone."""

from dataclasses import replace

import pytest
import torch
from attack_problems import Problem, blobs, partition_of
from torch import Tensor, nn

from splitveil.attacks import ShadowEncoder, SmallDecoder, UnSplit
from splitveil.attacks.shadow_encoder import _watching
from splitveil.errors import BadInput, BadPlan
from splitveil.partition.layout import Layout, Part
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched
from splitveil.threat import Auxiliary, Observation, QueryFree

QUICK = SmallDecoder(epochs=1, width=8, start="mean")


class Tail(nn.Module):
    """A tail that tells classes apart by three of its channels and remembers their statistics."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.norm = nn.BatchNorm2d(6)
        self.norm.running_mean = torch.tensor([2.0, -1.0, 0.0, 1.0, 0.5, 0.0])
        self.norm.running_var = torch.tensor([0.2, 1.0, 3.0, 0.5, 1.0, 1.0])

    def forward(self, z: Tensor) -> Tensor:
        return 3 * self.norm(z.unflatten(1, (6, 4, 4))).mean((2, 3))[:, :3]


@pytest.fixture(scope="module")
def problem() -> tuple[QueryFree, Tensor]:
    x, y = blobs(160, 8, 1)
    layout = Layout((Part("maps", (6, 4, 4)),))
    return QueryFree(Auxiliary(x, y), Tail().eval(), layout, True, True), y


def test_the_tail_classifies_what_the_stand_in_sends_and_remembers_it(
    problem: tuple[QueryFree, Tensor],
) -> None:
    knowledge, y = problem
    attack = ShadowEncoder(epochs=15, width=16, batch=32, learning_rate=1e-2, decoder=QUICK)
    before = [value.clone() for value in knowledge.tail.state_dict().values()]
    with nothing_touched(knowledge.auxiliary.x):
        shadow = attack.stand_in(knowledge, Rng(0))
    for old, new in zip(before, knowledge.tail.state_dict().values(), strict=True):
        assert torch.equal(old, new)
    assert all(parameter.grad is None for parameter in knowledge.tail.parameters())
    assert not any(part._forward_pre_hooks for part in knowledge.tail.modules())
    with torch.no_grad():
        z = shadow(knowledge.auxiliary.x)
        right = (knowledge.tail(z).argmax(1) == y).float().mean()
        means = z.unflatten(1, (6, 4, 4)).mean((0, 2, 3))
    assert float(right) > 0.8
    norm = knowledge.tail.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert float((means - norm.running_mean).abs().max()) < 0.7


def test_the_penalty_is_zero_at_the_remembered_statistics() -> None:
    tail, seen = Tail(), list[Tensor]()
    assert tail.norm.running_mean is not None
    assert tail.norm.running_var is not None
    g = torch.Generator().manual_seed(0)
    z = torch.randn(400, 6, 4, 4, generator=g)
    z = (z - z.mean((0, 2, 3), keepdim=True)) / z.std((0, 2, 3), keepdim=True, unbiased=False)
    exact = z * tail.norm.running_var.sqrt()[:, None, None] + tail.norm.running_mean[:, None, None]
    with _watching(tail, seen):
        tail.eval()(exact.flatten(1))
        tail.eval()(exact.flatten(1) + 1)
    assert float(seen[0].detach()) == pytest.approx(0, abs=1e-6)
    expected = (1 / (tail.norm.running_var + 1e-5)).mean()
    assert float(seen[1].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_without_labels_answers_become_sure_and_varied(problem: tuple[QueryFree, Tensor]) -> None:
    knowledge, _ = problem
    blind = replace(knowledge, auxiliary=Auxiliary(knowledge.auxiliary.x, None), knows_label=False)
    attack = ShadowEncoder(epochs=8, width=16, batch=32, learning_rate=1e-2, statistics=0.0)
    shadow = attack.stand_in(blind, Rng(0))
    with torch.no_grad():
        shares = knowledge.tail(shadow(blind.auxiliary.x)).softmax(1)
    assert float(shares.max(1).values.mean()) > 0.8
    assert float(shares.mean(0).max()) < 0.8


def test_unsplit_finds_structure_behind_an_unknown_first_layer() -> None:
    """Seen through any brightness and contrast: correlation, against that of the mean image."""
    with Rng(1).as_global():
        head = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.Flatten())
    (x, y), (x_test, y_test) = blobs(60, 8, 1), blobs(24, 8, 2)
    p = Problem(partition_of(head, (8, 8, 8)), x, y, x_test, y_test)
    fitted = UnSplit(rounds=15, width=8).fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(3))
    start = fitted.x_mean[fitted.classes.rows(p.y_test, 24)]  # type: ignore[attr-defined]
    found = (_correlation(guess - start.view_as(guess), x_test - start.view_as(guess)).abs()).mean()
    assert float(found) > 0.2


def _correlation(one: Tensor, two: Tensor) -> Tensor:
    return torch.cosine_similarity(one.flatten(1), two.flatten(1), dim=1)


def test_bad_input(problem: tuple[QueryFree, Tensor]) -> None:
    knowledge, y = problem
    x = knowledge.auxiliary.x
    attack = ShadowEncoder(epochs=1, width=8, decoder=QUICK)
    with pytest.raises(BadInput, match="12 auxiliary"):
        attack.fit(replace(knowledge, auxiliary=Auxiliary(x[:5], y[:5])), Rng(0))
    with pytest.raises(BadInput, match="auxiliary labels"):
        attack.fit(replace(knowledge, auxiliary=Auxiliary(x, y + 3)), Rng(0))
    with pytest.raises(BadInput, match="logits"):
        attack.fit(replace(knowledge, tail=nn.Unflatten(1, (6, 4, 4))), Rng(0))
    fitted = UnSplit().fit(knowledge, Rng(0))
    with pytest.raises(BadInput, match="expected observed features"):
        fitted(Observation(torch.zeros(2, 1, 5), knowledge.layout, y[:2]), Rng(0))
    for bad in (
        lambda: UnSplit(rounds=0),
        lambda: UnSplit(smoothness=-1.0),
        lambda: ShadowEncoder(width=9),
        lambda: ShadowEncoder(statistics=-1.0),
        lambda: ShadowEncoder(epochs=0),
    ):
        with pytest.raises(BadPlan):
            bad()
