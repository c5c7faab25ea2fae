"""What each label distribution is, written and read back."""

import inspect
import math
import re
from pathlib import Path

import pytest
import torch
from hardening import CLASSES, images, net
from torch import Tensor
from torch.nn.functional import cross_entropy

from splitveil import defences
from splitveil.defences import (
    Batch,
    Coarse,
    Component,
    Distilled,
    Imbalance,
    LogitDecay,
    OneHot,
    Ramp,
    Setting,
    Smoothed,
    parse_components,
)
from splitveil.defences.objective import Objective
from splitveil.errors import BadPlan, UnknownName

WRITTEN: list[tuple[str, Component]] = [
    ("onehot", OneHot()),
    ("smooth(0.3)", Smoothed(0.3)),
    ("smooth(-0.05)", Smoothed(-0.05)),
    ("coarse(ant,bee|2,dog)", Coarse((("ant", "bee"), ("2", "dog")))),
    ("distil(4)", Distilled(4.0)),
    ("distil(2,0.5)", Distilled(2.0, 0.5)),
    ("ramp(smooth(0.3),0.2,0.6)", Ramp(Smoothed(0.3), 0.2, 0.6)),
    ("imbalance(0.1)", Imbalance(0.1)),
    ("logit-decay(0.01)", LogitDecay(0.01)),
]


def setting() -> Setting:
    return Setting(source=net(), classes=CLASSES, class_names=images().class_names)


def batch(progress: float = 0.0, scale: float = 1.0) -> Batch:
    x, y = images().train.x[:16], images().train.y
    assert y is not None
    logits = scale * torch.randn(16, CLASSES, generator=torch.Generator().manual_seed(3))
    return Batch(x=x, y=y[:16], logits=logits, progress=progress)


def targets(text: str, given: Batch) -> Tensor:
    (component,) = parse_components(text)
    part = component.prepare(setting())
    assert part.targets is not None
    return part.targets(given)


@pytest.mark.parametrize(("text", "component"), WRITTEN, ids=[text for text, _ in WRITTEN])
def test_written_form_and_repr_rebuild(text: str, component: Component) -> None:
    assert parse_components(text) == (component,)
    assert str(component) == text
    assert eval(repr(component), dict(vars(defences))) == component
    assert component.reference


def test_components_join_and_settings_may_be_named() -> None:
    text = " smooth(alpha=-0.05) +logit-decay( 0.01 ) + imbalance(ratio=0.1)"
    assert parse_components(text) == (Smoothed(-0.05), LogitDecay(0.01), Imbalance(0.1))
    assert parse_components("ramp(coarse(0,1|2,3), end=0.5)") == (
        Ramp(Coarse((("0", "1"), ("2", "3"))), end=0.5),
    )


@pytest.mark.parametrize("alpha", [0.3, -0.05])
def test_smoothing_spreads_over_the_other_classes_only(alpha: float) -> None:
    given = batch()
    q = targets(f"smooth({alpha})", given)
    right = q.gather(1, given.y[:, None])
    torch.testing.assert_close(right, torch.full((16, 1), 1 - alpha))
    torch.testing.assert_close(q.sum(1), torch.ones(16))
    others = q[q != right.expand_as(q)]
    torch.testing.assert_close(others, torch.full_like(others, alpha / (CLASSES - 1)))
    # torch spreads its share over all K classes: the same q at alpha K / (K - 1)
    if alpha > 0:
        other_form = cross_entropy(
            given.logits, given.y, label_smoothing=alpha * CLASSES / (CLASSES - 1)
        )
        ours = Objective.of([Smoothed(alpha)], setting())(given)
        torch.testing.assert_close(ours, other_form)


def test_one_hot_is_the_usual_loss() -> None:
    given = batch()
    found = Objective.of([OneHot()], setting())(given)
    torch.testing.assert_close(found, cross_entropy(given.logits, given.y))
    alone = Objective.of([Imbalance(1.0)], setting())(given)
    torch.testing.assert_close(alone, cross_entropy(given.logits, given.y))


def test_coarse_groups_by_name_and_number_and_leaves_the_rest_alone() -> None:
    given = batch()
    q = targets("coarse(ant,2)", given)
    expected = torch.eye(CLASSES)
    expected[0] = expected[2] = torch.tensor([0.5, 0, 0.5, 0])
    torch.testing.assert_close(q, expected[given.y])


def test_coarse_answers_are_right_within_the_group() -> None:
    objective = Objective.of([Coarse((("0", "1", "2"),))], setting())
    # the group holds most of the probability, though no class of it holds more than dog
    logits = torch.tensor([[0.2, 0.2, 0.2, 0.4]]).log()
    hits = [bool(objective.hits(logits, torch.tensor([label]))) for label in range(CLASSES)]
    assert hits == [True, True, True, False]


def test_distilled_targets_are_the_source_at_a_temperature() -> None:
    given = batch()
    source = net()
    with torch.no_grad():
        soft = (source(given.x) / 4).softmax(1)
    torch.testing.assert_close(targets("distil(4)", given), soft)
    hard = torch.eye(CLASSES)[given.y]
    torch.testing.assert_close(targets("distil(4,0.25)", given), 0.25 * soft + 0.75 * hard)


@pytest.mark.parametrize(
    ("progress", "weight"), [(0.0, 0.0), (0.2, 0.0), (0.4, 0.5), (0.6, 1.0), (0.9, 1.0)]
)
def test_a_ramp_of_smoothing_is_a_schedule_of_alpha(progress: float, weight: float) -> None:
    given = batch(progress)
    found = targets("ramp(smooth(0.3),0.2,0.6)", given)
    alpha = 0.3 * weight
    torch.testing.assert_close(found, targets(f"smooth({alpha})", given), atol=1e-6, rtol=0)


def test_a_ramp_may_switch() -> None:
    ramp = Ramp(Smoothed(0.3), 0.5, 0.5)
    assert [ramp.weight(p) for p in (0.0, 0.49, 0.5, 1.0)] == [0, 0, 1, 1]


def test_imbalance_falls_by_a_constant_factor() -> None:
    part = Imbalance(0.125).prepare(setting())
    assert part.weights is not None
    weights = part.weights(batch())[:CLASSES]
    torch.testing.assert_close(weights / weights[0], torch.tensor([1, 0.5, 0.25, 0.125]))
    assert float(weights.mean()) == pytest.approx(1)


def test_logit_decay_charges_differences_only() -> None:
    part = LogitDecay(0.5).prepare(setting())
    assert part.term is not None
    given = batch()
    centred = given.logits - given.logits.mean(1, keepdim=True)
    torch.testing.assert_close(part.term(given), 0.5 * centred.square().mean())
    shifted = Batch(x=given.x, y=given.y, logits=given.logits + 5, progress=0.0)
    torch.testing.assert_close(part.term(shifted), part.term(given))


def test_negative_smoothing_has_no_minimum_until_logits_cost() -> None:
    y = torch.zeros(1, dtype=torch.int64)

    def loss(components: str, size: float) -> float:
        logits = torch.tensor([[size, 0.0, 0.0, 0.0]])
        given = Batch(x=images().train.x[:1], y=y, logits=logits, progress=0.0)
        return float(Objective.of(parse_components(components), setting())(given))

    sizes = [10.0, 100.0, 1000.0]
    runaway = [loss("smooth(-0.05)", s) for s in sizes]
    assert runaway == sorted(runaway, reverse=True)
    assert runaway[-1] == pytest.approx(-0.05 * 1000, rel=1e-3)
    held = [loss("smooth(-0.05)+logit-decay(0.01)", s) for s in sizes]
    assert held == sorted(held)
    notes = Objective.of(parse_components("smooth(-0.05)"), setting()).notes
    assert "no minimum" in notes[0]
    assert Objective.of(parse_components("smooth(0.05)"), setting()).notes == ()


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("smoth(0.3)", UnknownName, "did you mean smooth"),
        ("smooth", BadPlan, "expected alpha"),
        ("smooth(0.3", BadPlan, "parentheses"),
        ("smooth(0.3))", BadPlan, "parentheses"),
        ("smooth(x)", BadPlan, "alpha needs a number"),
        ("smooth(beta=0.3)", UnknownName, "alpha"),
        ("smooth(1.5)", BadPlan, "between -1 and 1"),
        ("smooth(nan)", BadPlan, "between -1 and 1"),
        ("distil(0)", BadPlan, "temperature must be positive"),
        ("distil(2, temperature=3)", BadPlan, "given twice"),
        ("coarse()", BadPlan, "name each class once"),
        ("coarse(0,1|1)", BadPlan, "name each class once"),
        ("ramp(0.2)", BadPlan, "cannot read"),
        ("ramp(logit-decay(1))", BadPlan, "label distribution"),
        ("ramp(smooth(0.3),0.6,0.2)", BadPlan, "rising shares"),
        ("imbalance(0)", BadPlan, "ratio must lie"),
        ("logit-decay(-1)", BadPlan, "positive and finite"),
        ("", BadPlan, "write components"),
        ("onehot+", BadPlan, "write components"),
        ("onehot(3)", BadPlan, "expected nothing"),
        ("3%", BadPlan, "write it like"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, error: type[BadPlan], says: str) -> None:
    with pytest.raises(error, match=says):
        parse_components(text)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("smooth(0.8)", BadPlan, "below 0.75"),
        ("coarse(ant,bird)", UnknownName, "bird"),
        ("coarse(ant,0)", BadPlan, "named twice"),
        ("coarse(0,1,2,3)", BadPlan, "one group"),
        ("onehot+smooth(0.1)", BadPlan, "contradict"),
    ],
)
def test_what_the_network_cannot_meet_is_said_before_training(
    text: str, error: type[BadPlan], says: str
) -> None:
    with pytest.raises(error, match=says):
        Objective.of(parse_components(text), setting())


def test_a_term_that_is_not_finite_is_named() -> None:
    given = batch(scale=math.inf)
    with pytest.raises(BadPlan, match=r"logit-decay\(1\)"):
        Objective.of([LogitDecay(1.0)], setting())(given)


def test_one_output_is_no_classifier() -> None:
    with pytest.raises(BadPlan, match="two outputs"):
        OneHot().prepare(Setting(source=net(), classes=1, class_names=()))


def test_every_component_is_in_the_table() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "methods.md"
    section = page.read_text(encoding="utf-8").partition("## Components of a defence")[2]
    rows = re.findall(r"^\| `([^`]*)` \|", section.partition("\n## ")[0], re.MULTILINE)
    written = {type(c) for row in rows for c in parse_components(row.replace("\\|", "|"))}
    named = (getattr(defences, name) for name in defences.__all__)
    catalogue = {
        kind
        for kind in named
        if isinstance(kind, type) and issubclass(kind, Component) and not inspect.isabstract(kind)
    }
    assert written == catalogue
