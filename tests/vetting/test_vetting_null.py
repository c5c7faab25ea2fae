"""P values of honest networks are exact, the three answers and their exit, ROC curves."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.vetting import Answer, Null, judge, roc, shipped_null
from splitveil.vetting.null import PANELS

NAMES = ("linear_probe", "kernel_probe", "spread")


def null_of(table: np.ndarray, accuracy: float = 0.9, images: str = "these") -> Null:
    return Null(
        values={name: tuple(row) for name, row in zip(NAMES, table, strict=True)},
        accuracies=(accuracy,) * table.shape[1],
        images=images,
        family="plain",
        how="not at all",
        command="none",
        seed=0,
    )


def quantities(values: Mapping[str, float]) -> dict[str, Quantity]:
    return {
        name: Quantity.exact(v, unit="share", kind=Kind.MEASURED, n=10)
        for name, v in values.items()
    }


def ladder(count: int) -> list[float]:
    return [float(i) for i in range(count)]


def right(value: float) -> Quantity:
    return Quantity.exact(value, unit="share", kind=Kind.MEASURED, n=1000)


def test_each_of_forty_alike_in_turn_has_every_p_value_once() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(3, 40)) @ np.eye(40)
    table[1] = 0.9 * table[0] + 0.1 * table[1]  # dependent statistics
    single, joint = [], []
    for i in range(40):
        rest = null_of(np.delete(table, i, axis=1))
        single.append(rest.p_value(NAMES[0], table[0, i]))
        joint.append(rest.joint_p_value(dict(zip(NAMES, table[:, i], strict=True))))
    for found in (single, joint):
        assert sorted(found) == pytest.approx(np.arange(1, 41) / 40)


def test_ties_and_infinities_never_make_p_smaller() -> None:
    same = null_of(np.ones((3, 39)))
    assert same.p_value("spread", 1.0) == 1
    assert same.joint_p_value(dict.fromkeys(NAMES, 1.0)) == 1
    endless = null_of(np.full((3, 39), np.inf))
    assert endless.p_value("spread", np.inf) == 1
    assert Null.from_json(endless.to_json()) == endless


def test_thirty_nine_allow_one_fortieth() -> None:
    null = null_of(np.zeros((3, 39)))
    assert null.p_value("spread", 1.0) == null.least_p == 1 / 40
    assert null.joint_p_value(dict.fromkeys(NAMES, 1.0)) == 1 / 40


def answer_of(
    value: float, *, count: int = 39, accuracy: float = 0.9, images: str = "these"
) -> Answer:
    table = np.linspace(0, 1, count) + np.zeros((3, 1))
    return judge(
        quantities(dict.fromkeys(NAMES, value)), right(accuracy), null_of(table), images=images
    ).answer


def test_the_three_answers() -> None:
    assert answer_of(0.5) is Answer.CONSISTENT
    assert answer_of(2.0) is Answer.SUSPICIOUS
    assert answer_of(2.0, count=38) is Answer.INCONCLUSIVE
    assert answer_of(2.0, accuracy=0.931) is Answer.INCONCLUSIVE
    assert answer_of(0.5, accuracy=0.931) is Answer.INCONCLUSIVE
    assert answer_of(2.0, accuracy=0.929) is Answer.SUSPICIOUS
    assert answer_of(2.0, images="others") is Answer.INCONCLUSIVE


def test_reasons_say_what_to_do() -> None:
    table = np.zeros((3, 10))
    found = judge(quantities({"linear_probe": 1.0}), right(0.99), null_of(table), images="others")
    told = " ".join(found.reasons)
    for part in ("other images", "9.0 points", "at least 39"):
        assert part in told
    assert found.p_values == {"linear_probe": 1 / 11}
    assert found.sentence.startswith("INCONCLUSIVE: ")


def test_a_less_accurate_network_is_judged_with_a_remark() -> None:
    table = np.linspace(0, 1, 39) + np.zeros((3, 1))
    found = judge(quantities(dict.fromkeys(NAMES, 0.5)), right(0.8), null_of(table), images="these")
    assert found.answer is Answer.CONSISTENT
    assert "10.0 points less accurate" in found.reasons[0]


def test_bad_nulls_are_refused() -> None:
    with pytest.raises(BadData, match="not a panel"):
        Null.from_json({"values": 3})
    with pytest.raises(BadData, match="every statistic"):
        null_of(np.zeros((3, 0)))
    null = null_of(np.zeros((3, 39)))
    with pytest.raises(BadPlan, match="holds no 'saliency'"):
        null.p_value("saliency", 1.0)
    with pytest.raises(BadPlan, match=r"in \(0, 1\)"):
        judge(quantities({"linear_probe": 1.0}), right(0.9), null, images="these", level=0.0)


@pytest.mark.parametrize("name", ["ir", "resnet", "vgg", "vit"])
def test_shipped_panels_hold_39_networks_in_a_few_kilobytes(name: str) -> None:
    import json
    from importlib.resources import files

    from splitveil.data import load_data
    from splitveil.vetting import images_digest

    null = shipped_null(name)
    assert null is not None
    assert len(null) >= 39
    assert null.images == images_digest(load_data(None).test)
    assert null.command
    assert min(null.accuracies) > 0.8
    assert PANELS[name].startswith(null.family)
    # of ir's own family no panel ships
    families = {"ir": "embedding", "resnet": "residual", "vgg": "plain", "vit": "tokens"}
    assert null.family == families[name]
    place = files("splitveil.vetting").joinpath(f"panels/{PANELS[name]}.json")
    text = place.read_text(encoding="utf-8")
    assert len(text) < 12_000
    assert json.loads(text)["seed"] == 0


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    generator = Rng(0).torch()
    honest = torch.randint(0, 6, (13,), generator=generator).double().tolist()
    vicious = torch.randint(2, 9, (9,), generator=generator).double().tolist()
    pairs = [(v > h) + 0.5 * (v == h) for v in vicious for h in honest]
    found = roc(honest, vicious)
    assert found.area.value == pytest.approx(sum(pairs) / len(pairs))
    above = sum(v > max(honest) for v in vicious) / 9
    assert found.found[0.0].value == found.found[0.01].value == pytest.approx(above)


def test_false_alarms_are_counted() -> None:
    found = roc(ladder(20), [18.5] * 4 + [30.0] * 6, rates=(0.0, 0.05))
    assert (found.found[0.0].value, found.found[0.05].value) == (0.6, 1.0)


def test_the_interval_of_the_area_keeps_its_width_and_covers() -> None:
    assert roc(ladder(20), ladder(40)[20:]).area.low == pytest.approx(0.8987, abs=1e-4)
    generator = np.random.default_rng(1)
    shift, exact = 1.0, 0.76025  # normal(0, 1) against normal(1, 1): the area is Phi(1 / sqrt 2)
    hits = 0
    for _ in range(60):
        honest, vicious = generator.normal(size=(2, 20))
        area = roc(honest.tolist(), (vicious + shift).tolist()).area
        hits += area.low <= exact <= area.high
    assert hits >= 53


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(BadData, match="NaN"):
        roc([1.0, float("nan")], [2.0])
    with pytest.raises(BadData, match="one of each"):
        roc([], [2.0])
