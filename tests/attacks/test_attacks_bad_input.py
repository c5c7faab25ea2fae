"""Bad input to every attack of the catalogue: one line that says what to do, never a crash."""

import os
import re
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from test_attacks_conformance import ATTACKS, COUPLED
from test_attacks_peel import small_residual_case
from torch import Tensor, nn

from splitveil.attacks import (
    Decoder,
    DeepImagePrior,
    Likelihood,
    LogScores,
    Peel,
    PublishedPeel,
    Refined,
    SmallDecoder,
    Unrolled,
)
from splitveil.attacks.attributes import LinearAttribute, NetworkAttribute
from splitveil.attacks.base import Attack
from splitveil.attacks.memory import out_of_memory
from splitveil.attacks.peel import course
from splitveil.attacks.peel.published import PublishedPeeler
from splitveil.errors import AuditError, BadInput, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.rng import Rng
from splitveil.testing.conformance.attacks import (
    AttackCase,
    _black_box,
    _pairs,
    _query_free,
    small_case,
)
from splitveil.threat import BlackBox, Observation, Oracle, QueryFree, WhiteBox

Frozen = TypeVar("Frozen")

QUICK = Peel(starts=1, restarts=0, outer=2, inner=5)
SHORT = PublishedPeel(steps=3, stem_steps=3)
ONE_EACH = {type(attack): attack for attack in reversed((*ATTACKS, *COUPLED, QUICK, SHORT))}
CATALOGUE = tuple(ONE_EACH.values())
ASKING = tuple(
    a for a in CATALOGUE if issubclass(BlackBox, a.requires) and a.requires is not QueryFree
)
DRAWS = DeepImagePrior(steps=6, width=4, depth=2, noise=0.0)
SEARCHES = Likelihood(restarts=2, steps=8, tuning=0, prior="none", chunk=8)
REFINES = Refined(decoder=SmallDecoder(epochs=1, width=8, start="mean"), steps=4)
UNROLLS = Unrolled(epochs=1, width=8, steps=2)


def case_of(attack: Attack) -> AttackCase:
    return residual_case() if isinstance(attack, Peel | PublishedPeel) else small_case()


def residual_case() -> AttackCase:
    """Three images: what PEEL costs goes by the image."""
    case = small_residual_case()
    return replace(case, x=case.x[:3], y=None if case.y is None else case.y[:3])


def refused(error: type[AuditError], text: str, work: Callable[[], object]) -> None:
    """One line of ours that matches, with a remedy after a colon."""
    with pytest.raises(error, match=text) as caught:
        work()
    (line,) = str(caught.value).splitlines()
    assert re.search(r": \w+", line), f"no remedy: {line}"


def behind(case: AttackCase, head: nn.Module) -> AttackCase:
    return replace(case, partition=replace(case.partition, head=head))


def unchecked(whole: Frozen, name: str, value: Tensor) -> Frozen:
    """A copy with another value, past the check of shapes that only tests have."""
    other = copy(whole)
    object.__setattr__(other, name, value)
    return other


def rebuilt(attack: Attack, case: AttackCase) -> Tensor:
    return attack.fit(case.knowledge(), Rng(3))(case.observation(), Rng(4))


def test_every_attack_is_here() -> None:
    assert len(CATALOGUE) == 24


@pytest.mark.parametrize("attack", CATALOGUE, ids=lambda a: type(a).__name__)
def test_too_little_knowledge_is_named_beside_what_is_needed(attack: Attack) -> None:
    whole = case_of(attack).knowledge()
    for knowledge in (_query_free(whole), _pairs(whole), _black_box(whole)):
        if not isinstance(knowledge, attack.requires):
            text = (
                f"^{type(attack).__name__} needs {attack.requires.__name__} knowledge, got "
                f"{type(knowledge).__name__}: grant more or choose a weaker attack$"
            )
            refused(KnowledgeMissing, text, partial(attack.fit, knowledge, Rng(3)))


REACHING = """
from splitveil.attacks.base import Attack, Reconstructor
from splitveil.rng import Rng
from splitveil.threat import BlackBox, Pairs, QueryFree, WhiteBox

class Greedy(Attack):
    def fit(self, knowledge: WhiteBox, rng: Rng) -> Reconstructor:  # override
        raise NotImplementedError

def strong(knowledge: WhiteBox) -> object:
    return knowledge.head

def attacks(a: QueryFree, b: Pairs, c: BlackBox) -> None:
    a.auxiliary, b.oracle, c.oracle
    a.oracle  # attr-defined
    c.head  # attr-defined
    c.release  # attr-defined
    d: BlackBox = b  # assignment
    strong(c)  # arg-type
    if isinstance(c, WhiteBox):
        strong(c)
"""
LIGHT = """[mypy]
mypy_path = {source}
[mypy-torch.*,numpy.*,jaxtyping.*,splitveil.nets.*,splitveil.partition.*,splitveil.release.*]
follow_imports = skip
ignore_missing_imports = True
"""


def test_reaching_beyond_the_level_asked_for_is_a_type_error(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    import splitveil

    code, settings = tmp_path / "reaching.py", tmp_path / "mypy.ini"
    code.write_text(REACHING)
    settings.write_text(LIGHT.format(source=Path(splitveil.__file__).parents[1]))
    flags = ["--config-file", str(settings), "--cache-dir", os.devnull]
    told, _, status = api.run([*flags, str(code)])
    found = {
        (int(number), kind)
        for number, kind in re.findall(r"reaching\.py:(\d+): error: .* \[([\w-]+)\]", told)
    }
    expected = {
        (number, line.partition("  # ")[2])
        for number, line in enumerate(REACHING.splitlines(), 1)
        if "  # " in line
    }
    assert status == 1, told
    assert found == expected, told


@pytest.mark.parametrize("attack", ASKING, ids=lambda a: type(a).__name__)
def test_a_query_budget_that_is_used_up(attack: Attack) -> None:
    case = case_of(attack)
    for queries in (0, 1):
        knowledge = _black_box(replace(case.knowledge(), oracle=Oracle(case.partition, queries)))
        text = f"^{queries} of {queries} queries are left, at least 2 are needed: raise the query"
        refused(BudgetExceeded, text, partial(attack.fit, knowledge, Rng(3)))
        assert knowledge.oracle.used == 0, "nothing is sent in vain"
    knowledge = _black_box(replace(case.knowledge(), oracle=Oracle(case.partition, 30)))
    attack.fit(knowledge, Rng(3))
    assert knowledge.oracle.used == 30
    refused(BudgetExceeded, "^0 of 30 queries are left", lambda: attack.fit(knowledge, Rng(3)))


@pytest.mark.parametrize("attack", CATALOGUE, ids=lambda a: type(a).__name__)
def test_z_and_labels_of_the_wrong_shape(attack: Attack) -> None:
    case = case_of(attack)
    fitted, seen = attack.fit(case.knowledge(), Rng(3)), case.observation()
    size = seen.layout.size
    for wrong in (
        seen.z[:, 0],
        seen.z[:, :, :-1],
        seen.z[:, :0],
        seen.z.unflatten(2, (-1, 4, 4)),
        seen.z[0, 0],
    ):
        text = (
            rf"^expected observed features of shape \(n, sends, {size}\), got "
            rf"{re.escape(str(tuple(wrong.shape)))}: use the partition the attack was fitted to$"
        )
        refused(BadInput, text, partial(fitted, replace(seen, z=wrong), Rng(4)))
    refused(
        BadInput, "features are not finite", lambda: fitted(replace(seen, z=seen.z / 0), Rng(4))
    )
    whole = fitted(replace(seen, z=(10 * seen.z).long()), Rng(4))
    assert whole.shape == case.x.shape, "whole numbers are numbers"
    if isinstance(attack, Peel | PublishedPeel):
        return  # they use no labels
    labels = seen.labels
    assert labels is not None
    twisted = () if isinstance(attack, LogScores) else (labels[:, None],)  # rewraps: see unchecked
    for bad in (labels[:-1], *twisted):
        wrong_labels = unchecked(seen, "labels", bad)
        shape = re.escape(str(tuple(bad.shape)))
        text = rf"^expected labels of shape \({len(labels)},\).* got {shape}: give one class"
        refused(BadInput, text, partial(fitted, wrong_labels, Rng(4)))


def test_auxiliary_labels_of_the_wrong_shape() -> None:
    knowledge = small_case().knowledge()
    y = knowledge.auxiliary.y
    assert y is not None
    wrong = replace(knowledge, auxiliary=unchecked(knowledge.auxiliary, "y", y[:, None]))
    text = r"^expected auxiliary labels of shape \(48,\), got \(48, 1\):"
    refused(BadInput, text, lambda: Decoder(epochs=1).fit(wrong, Rng(0)))


@pytest.mark.parametrize("attack", [LinearAttribute(), NetworkAttribute(epochs=1)], ids=repr)
def test_z_of_the_wrong_shape_to_a_guesser(attack: LinearAttribute | NetworkAttribute) -> None:
    case = small_case()
    labels = case.auxiliary.y
    assert labels is not None
    guess, seen = attack.fit(case.knowledge(), labels, Rng(0)), case.observation()
    for wrong in (seen.z[:, 0], seen.z[:, :, 1:]):
        text = r"^expected observed features of shape \(n, sends, 96\)"
        refused(BadInput, text, partial(guess, replace(seen, z=wrong), Rng(1)))


class Severed(nn.Module):
    """A head that passes no gradient, or only zeros, to its input."""

    def __init__(self, inner: nn.Module, how: str) -> None:
        nn.Module.__init__(self)
        self.inner, self.how = inner, how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                out: Tensor = self.inner(x)
        elif self.how == "detached":  # the weights still take gradients
            out = self.inner(x.detach())
        else:
            out = self.inner((4 * x).round())
        return out


SLOPES = (DRAWS, SEARCHES, REFINES, UNROLLS)


@pytest.mark.parametrize("how", ["no_grad", "detached"])
@pytest.mark.parametrize("attack", SLOPES, ids=lambda a: type(a).__name__)
def test_a_head_without_a_gradient_is_named(attack: Attack, how: str) -> None:
    case = small_case()
    severed = behind(case, Severed(case.partition.head, how))
    text = "^the head passes no gradient to its input: .* use a decoder or a ridge attack"
    refused(BadInput, text, lambda: rebuilt(attack, severed))


@pytest.mark.parametrize("attack", SLOPES, ids=lambda a: type(a).__name__)
def test_a_head_that_rounds_its_input(attack: Attack) -> None:
    """Searches refuse it; where a decoder comes first, its answer is what there is."""
    case = small_case()
    rounding = behind(case, Severed(case.partition.head, "rounding"))
    if attack in (DRAWS, SEARCHES):
        text = "^the head's gradient is zero everywhere, as of rounding or sign functions: use a"
        refused(BadInput, text, lambda: rebuilt(attack, rounding))
        return
    assert torch.isfinite(rebuilt(attack, rounding)).all()
    if attack is REFINES:
        decoded = REFINES.decoder.fit(rounding.knowledge(), Rng(3))
        assert torch.equal(rebuilt(attack, rounding), decoded(rounding.observation(), Rng(4)))


@pytest.mark.parametrize("attack", [QUICK, SHORT], ids=lambda a: type(a).__name__)
def test_peel_reads_layers_and_needs_each_to_pass_a_gradient(attack: Attack) -> None:
    case = residual_case()
    for how, text in (
        ("detached", "^'detach' passes no gradient: this attack needs a differentiable head;"),
        ("rounding", "^the head passes no gradient: this attack needs a differentiable one;"),
    ):
        severed = behind(case, Severed(case.partition.head, how))
        refused(BadInput, text, partial(attack.fit, severed.knowledge(), Rng(3)))
    hidden = behind(case, Severed(case.partition.head, "no_grad"))
    found = rebuilt(attack, hidden)
    assert torch.isfinite(found).all()
    if attack is QUICK:  # the other starts at random by names of layers
        assert torch.equal(found, rebuilt(attack, case)), "no_grad hides no layer"


class Scarce(nn.Module):
    """A head that finds memory for so many images with their gradients, and no more."""

    def __init__(self, inner: nn.Module, most: int, asked: list[int]) -> None:
        nn.Module.__init__(self)
        self.inner, self.most, self.asked = inner, most, asked

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            self.asked.append(len(x))
            if len(x) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        out: Tensor = self.inner(x)
        return out


@pytest.mark.parametrize("attack", [DRAWS, SEARCHES, REFINES], ids=lambda a: type(a).__name__)
def test_where_memory_runs_out_half_as_many_go_on(attack: Attack) -> None:
    case = small_case()
    asked: list[int] = []
    fitted = attack.fit(case.knowledge(), Rng(3))
    whole = fitted(case.observation(), Rng(4))
    head = Scarce(case.partition.head, 3, asked)
    if isinstance(attack, Refined):
        misfit = replace(fitted.misfit, head=head)  # type: ignore[attr-defined]
        poor = replace(fitted, misfit=misfit, steps=2)  # type: ignore[type-var]
        whole = replace(fitted, steps=2)(case.observation(), Rng(4))  # type: ignore[type-var]
    else:
        poor = replace(fitted, head=head)  # type: ignore[type-var]
    found, notes = poor.noted(case.observation(), Rng(4))
    assert max(asked) > 3, "it was tried"
    torch.testing.assert_close(found, whole, atol=1e-3, rtol=0)
    if attack is SEARCHES:
        assert any(note.startswith("memory gave out with 8 searches at a time") for note in notes)
    head.most = 0
    refused(BudgetExceeded, "memory.*: choose", lambda: poor(case.observation(), Rng(4)))


def test_peel_halves_too_and_says_where_one_image_is_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = residual_case()
    fitted = SHORT.fit(case.knowledge(), Rng(3))
    whole, most, real = fitted(case.observation(), Rng(4)), 2, PublishedPeeler.invert

    def scarce(self: PublishedPeeler, stage: object, y: Tensor, rng: Rng) -> Tensor:
        if len(y) > most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried")
        return real(self, stage, y, rng)  # type: ignore[arg-type]

    monkeypatch.setattr(PublishedPeeler, "invert", scarce)
    torch.testing.assert_close(fitted(case.observation(), Rng(4)), whole, atol=1e-4, rtol=0)
    most = 0
    refused(BudgetExceeded, "memory.*: choose", lambda: fitted(case.observation(), Rng(4)))

    def never(self: course.Course) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(course.Course, "finish", never)
    ours = QUICK.fit(case.knowledge(), Rng(3))
    text = "^not enough memory to peel one image at a time: choose an earlier cut"
    refused(BudgetExceeded, text, lambda: ours(case.observation(), Rng(4)))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("any"), True),
        (
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_how_machines_say_that_memory_ran_out(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


class Steep(nn.Module):
    """Features of a size that no training step survives."""

    def __init__(self, inner: nn.Module) -> None:
        nn.Module.__init__(self)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return 1e30 * out


def test_a_decoder_that_diverges_names_the_setting() -> None:
    case = small_case()
    steep = behind(case, Steep(case.partition.head))
    text = r"^training diverged in epoch 1 \(loss nan\): lower the learning rate"
    refused(BadPlan, text, lambda: rebuilt(Decoder(epochs=1, width=8, depth=1), steep))


def test_drawings_that_diverge_are_finite_and_say_so() -> None:
    """A head that is no longer finite for the first two of the images searched together."""
    case = small_case()
    fitted = DRAWS.fit(case.knowledge(), Rng(3))

    class Lost(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z: Tensor = case.partition.head(x)
            lost = (torch.arange(len(x)) < 2) & (len(x) == 6)
            return z * torch.where(lost, torch.nan, 1.0)[:, None]

    lost = replace(fitted, head=Lost())  # type: ignore[type-var]
    found, notes = lost.noted(case.observation(), Rng(4))
    assert torch.isfinite(found).all()
    assert notes == ("2 images diverged: the best drawing before that was kept",)
    assert fitted.noted(case.observation(), Rng(4))[1] == ()


def test_peel_says_where_its_images_do_not_explain_what_was_sent() -> None:
    case = residual_case()
    fitted = Peel(starts=1, restarts=0).fit(case.knowledge(), Rng(3))
    seen = case.observation()
    assert fitted.noted(seen, Rng(4))[1] == ()
    noise = 30 * torch.randn(seen.z[:2].shape, generator=Rng(1).torch())
    made, notes = fitted.noted(replace(seen, z=torch.cat([seen.z[:2] + noise, seen.z[2:]])), Rng(4))
    assert torch.isfinite(made).all()
    (note,) = notes
    assert re.match(r"2 images do not explain what was sent: misfit up to \d", note)


def test_knowledge_of_no_level_at_all() -> None:
    """Whatever asks a withheld half of the network is told so."""
    case = small_case()
    whole = case.knowledge()
    assert isinstance(whole, WhiteBox)
    pairs = _pairs(whole)
    text = "^this attacker holds no part of the network: choose an attack that needs pairs only"
    refused(KnowledgeMissing, text, lambda: pairs.tail(torch.zeros(1, 96)))
    seen = Observation(torch.zeros(0, 1, 96), whole.layout, torch.zeros(0, dtype=torch.int64))
    assert len(Decoder(epochs=1, width=8).fit(pairs, Rng(0))(seen, Rng(1))) == 0
