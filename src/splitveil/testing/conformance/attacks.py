"""What every attack promises, to be inherited by the tests of a new one."""

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitveil import attacks as catalogue
from splitveil.attacks.base import Attack, Reconstructor
from splitveil.errors import AuditError, BudgetExceeded, KnowledgeMissing
from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release.base import Release
from splitveil.release.identity import Identity
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched
from splitveil.threat import (
    Auxiliary,
    BlackBox,
    Observation,
    Oracle,
    Pairs,
    QueryFree,
    WhiteBox,
    only_pairs,
    white_box,
)


@dataclass(frozen=True, eq=False)
class AttackCase:
    """A partition, what its attacker owns, and private targets with their labels."""

    partition: Partition
    auxiliary: Auxiliary
    x: Tensor
    y: Tensor | None

    def knowledge(self, *, knows_label: bool = True, queries: int | None = None) -> WhiteBox:
        """White-box knowledge, with a counted oracle."""
        return white_box(self.partition, self.auxiliary, knows_label=knows_label, queries=queries)

    def observation(self, *, knows_label: bool = True, sends: int = 1) -> Observation:
        """What is intercepted when every private target is sent `sends` times."""
        views = [self.partition.transmit(self.x, Rng(7, (str(i),))) for i in range(sends)]
        y = self.y if knows_label else None
        return Observation(torch.stack(views, 1).detach(), self.partition.cut.layout, y)


def small_case(release: Release | None = None) -> AttackCase:
    """Grey 8 x 8 images, each a bright bar placed at random, through a small convolution.

    The class is the bar's direction. Features are six maps of 4 x 4. The head holds a BatchNorm,
    so that an attack which forgets evaluation mode is found out.
    """
    generator = Rng(0, ("conformance",)).torch()

    def draw(n: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(0, 2, (n,), generator=generator)
        place = torch.randint(0, 7, (n,), generator=generator)
        axis = torch.arange(8)
        bar = ((axis - place[:, None]).abs() <= 1).float()
        images = bar[:, :, None] * torch.linspace(0.5, 1, 8)
        images = torch.where(y[:, None, None] == 0, images, images.transpose(1, 2))
        return images[:, None] * (0.6 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)), y

    with Rng(0, ("conformance head",)).as_global():
        maps = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())
    layout = Layout((Part("maps", (6, 4, 4)),))
    cut = Cut("conformance", "conformance", CutKind.ACTIVATION, 0.5, layout)
    partition = Partition(cut, maps.eval(), release or Identity(), nn.Identity())
    (x, y), (private, labels) = draw(48), draw(6)
    return AttackCase(partition, Auxiliary(x, y), private, labels)


def _state(module: nn.Module) -> list[tuple[str, Any]]:
    """Everything about a module that borrowing it must not change."""
    found: list[tuple[str, Any]] = []
    for name, part in module.named_modules():
        hooks = (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks))
        found.append((name, (part.training, hooks)))
    found += [(n, (p.requires_grad, p.grad is None)) for n, p in module.named_parameters()]
    found += [(n, value.clone().tolist()) for n, value in module.state_dict().items()]
    return found


@contextmanager
def _modules_restored(*modules: nn.Module) -> Iterator[None]:
    before = [_state(module) for module in modules]
    yield
    for module, old in zip(modules, before, strict=True):
        assert _state(module) == old, "a module's mode, hooks, gradients or values were changed"


class _Failing(nn.Module):
    """A head that fails after it has run."""

    def __init__(self, inner: nn.Module) -> None:
        nn.Module.__init__(self)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Fail."""
        self.inner(x[:1])
        raise AuditError("a device that broke")


class AttackConformance:
    """Subclass it and give one fixture, `attack`, that returns a recipe.

    Override the fixture `case` for an attack that `small_case` does not suit, `deterministic`
    where reconstruction draws random numbers, and `names` where `repr` names what is not in
    `splitveil.attacks`.
    """

    deterministic: bool = True
    names: dict[str, Any]

    @pytest.fixture
    def case(self) -> AttackCase:
        """The problem attacked."""
        return small_case()

    def _fit(self, attack: Attack, case: AttackCase) -> Reconstructor:
        return attack.fit(case.knowledge(), Rng(3))

    def test_shape_type_and_range(self, attack: Attack, case: AttackCase) -> None:
        guess = self._fit(attack, case)(case.observation(), Rng(4))
        assert guess.shape == case.x.shape, f"expected {tuple(case.x.shape)}, got {guess.shape}"
        assert guess.dtype == torch.float32, f"expected float32, got {guess.dtype}"
        assert not guess.requires_grad, "reconstructions must be detached"
        assert torch.isfinite(guess).all(), "reconstructions must be finite"
        if case.x.ndim == 4:
            assert float(guess.min()) >= 0, "an image below 0"
            assert float(guess.max()) <= 1, "an image above 1"

    def test_same_stream_same_bits(self, attack: Attack, case: AttackCase) -> None:
        first = self._fit(attack, case)(case.observation(), Rng(4))
        again = self._fit(attack, case)(case.observation(), Rng(4))
        assert torch.equal(first, again), "two equal runs differ"

    def test_touches_nothing(self, attack: Attack, case: AttackCase) -> None:
        observation, owned = case.observation(), case.auxiliary
        tensors = [
            t for t in (owned.x, owned.y, observation.z, observation.labels) if t is not None
        ]
        partition = case.partition
        partition.head.train()
        next(partition.head.children()).eval()
        with nothing_touched(*tensors), _modules_restored(partition.head, partition.tail):
            self._fit(attack, case)(observation, Rng(4))

    def test_evaluates_in_evaluation_mode(self, attack: Attack, case: AttackCase) -> None:
        observation = case.observation()
        expected = self._fit(attack, case)(observation, Rng(4))
        case.partition.head.train()
        found = self._fit(attack, case)(observation, Rng(4))
        assert torch.equal(found, expected), "the head's mode changed the attack"

    def test_restores_modules_after_an_error(self, attack: Attack, case: AttackCase) -> None:
        if attack.requires is QueryFree:
            return
        broken = replace(case.partition, head=_Failing(case.partition.head)).head.train()
        knowledge = replace(case.knowledge(), head=broken)
        with _modules_restored(broken), pytest.raises(AuditError, match="broke"):
            attack.fit(knowledge, Rng(3))

    def test_needs_no_more_than_it_requires(self, attack: Attack, case: AttackCase) -> None:
        knowledge = _weakest(attack, case)
        attack.fit(knowledge, Rng(3))(case.observation(), Rng(4))

    def test_refuses_less_than_it_requires(self, attack: Attack, case: AttackCase) -> None:
        whole = case.knowledge()
        levels = (_query_free(whole), _pairs(whole), _black_box(whole))
        weaker = [k for k in levels if type(k) in _below(attack)]
        for knowledge in weaker:
            with pytest.raises(KnowledgeMissing):
                attack.fit(knowledge, Rng(3))

    def test_stays_within_the_query_budget(self, attack: Attack, case: AttackCase) -> None:
        knowledge = _counted(attack, case, queries=30)
        with suppress(BudgetExceeded):  # to refuse is to stay within it
            attack.fit(knowledge, Rng(3))
        if isinstance(knowledge, BlackBox):
            assert knowledge.oracle.used <= 30, "more queries than were granted"

    def test_images_do_not_depend_on_their_batch(self, attack: Attack, case: AttackCase) -> None:
        if not self.deterministic:
            return
        fitted, whole = self._fit(attack, case), case.observation()
        together = fitted(whole, Rng(4))
        apart = torch.cat(
            [fitted(_part(whole, slice(i, i + 1)), Rng(4)) for i in range(len(case.x))]
        )
        torch.testing.assert_close(apart, together, atol=1e-4, rtol=1e-4)

    def test_empty_batch(self, attack: Attack, case: AttackCase) -> None:
        guess = self._fit(attack, case)(_part(case.observation(), slice(0)), Rng(4))
        assert guess.shape == (0, *case.x.shape[1:]), f"got {tuple(guess.shape)} for no images"

    def test_several_sends(self, attack: Attack, case: AttackCase) -> None:
        guess = self._fit(attack, case)(case.observation(sends=3), Rng(4))
        assert guess.shape == case.x.shape, "several sends are still one reconstruction"

    def test_unknown_label_and_unseen_class(self, attack: Attack, case: AttackCase) -> None:
        blind = attack.fit(case.knowledge(knows_label=False), Rng(3))
        guess = blind(case.observation(knows_label=False), Rng(4))
        assert guess.shape == case.x.shape, "it must work without labels"
        whole = case.observation()
        unseen = replace(whole, labels=torch.full((len(case.x),), 10**6))
        assert torch.isfinite(self._fit(attack, case)(unseen, Rng(4))).all(), "unseen class"

    def test_refuses_features_of_another_cut(self, attack: Attack, case: AttackCase) -> None:
        if attack.requires is QueryFree:
            return
        whole = case.observation()
        with pytest.raises(AuditError):
            self._fit(attack, case)(replace(whole, z=whole.z[:, :, :-1]), Rng(4))

    def test_prints_and_pickles(self, attack: Attack) -> None:
        names = {**vars(catalogue), **getattr(self, "names", {})}
        assert eval(repr(attack), names) == attack, "repr does not rebuild it"  # noqa: S307 - ours
        assert pickle.loads(pickle.dumps(attack)) == attack, "it does not pickle"  # noqa: S301 - ours

    def test_names_its_source(self, attack: Attack) -> None:
        assert attack.reference.strip(), "reference is empty"
        assert issubclass(attack.requires, QueryFree), "requires is a level of knowledge"
        assert type(attack).__doc__, "the docstring says what it assumes and costs"


def _part(observation: Observation, which: slice) -> Observation:
    labels = observation.labels
    return replace(
        observation, z=observation.z[which], labels=None if labels is None else labels[which]
    )


def _query_free(whole: WhiteBox) -> QueryFree:
    return QueryFree(
        whole.auxiliary, whole.tail, whole.layout, whole.knows_label, whole.knows_defence
    )


def _black_box(whole: WhiteBox) -> BlackBox:
    return BlackBox(
        whole.auxiliary,
        whole.tail,
        whole.layout,
        whole.knows_label,
        whole.knows_defence,
        whole.oracle,
    )


def _pairs(whole: WhiteBox) -> Pairs:
    x = whole.auxiliary.x
    return only_pairs(
        whole.auxiliary,
        Oracle(_whole_partition(whole), None)(x, Rng(5)),
        whole.layout,
        knows_label=whole.knows_label,
    )


def _whole_partition(whole: WhiteBox) -> Partition:
    cut = Cut("conformance", "conformance", CutKind.OTHER, 0.5, whole.layout)
    return Partition(cut, whole.head, whole.release, whole.tail)


def _below(attack: Attack) -> tuple[type[QueryFree], ...]:
    """The levels that do not grant what the attack requires."""
    levels: tuple[type[QueryFree], ...] = (QueryFree, Pairs, BlackBox, WhiteBox)
    return tuple(level for level in levels if not issubclass(level, attack.requires))


_LEVELS: dict[type[QueryFree], Callable[[WhiteBox], QueryFree]] = {
    QueryFree: _query_free,
    Pairs: _pairs,
    BlackBox: _black_box,
    WhiteBox: lambda knowledge: knowledge,
}


def _weakest(attack: Attack, case: AttackCase) -> QueryFree:
    """Exactly the level required."""
    return _LEVELS[attack.requires](case.knowledge())


def _counted(attack: Attack, case: AttackCase, *, queries: int) -> QueryFree:
    """The weakest level that the attack takes and that counts queries."""
    whole = replace(case.knowledge(), oracle=Oracle(case.partition, queries))
    return _LEVELS[BlackBox if issubclass(BlackBox, attack.requires) else WhiteBox](whole)
