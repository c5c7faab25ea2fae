"""Every attack can be asked for by name and has an estimate; budgets say what they leave out."""

import math
from dataclasses import replace

import pytest

from splitveil import attacks
from splitveil.attacks import AdversarialDecoder, Decoder
from splitveil.audit.estimates import Sizes, expected_seconds
from splitveil.audit.grid import Grid, build_grid, spaced
from splitveil.audit.menu import GALLERIES, extras, withheld
from splitveil.audit.plan import BUDGETS, AuditPlan, Tier
from splitveil.audit.recipes import read_attack
from splitveil.audit.schedule import FEW, LAST
from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind
from splitveil.records import Task

SIZES = Sizes(auxiliary=2000, validation=500, test=1000, shape=(1, 32, 32), flops=2e7, rate=3.3e10)
METHODS = sorted(set(attacks.__all__))


def cuts(count: int) -> tuple[Cut, ...]:
    layout = Layout((Part("map", (16, 16, 16)),))
    return tuple(
        Cut(f"id{k}", f"conv{k}", CutKind.OTHER, (k + 1) / (count + 1), layout)
        for k in range(count)
    )


def grid(budget: Tier, count: int = 20) -> Grid:
    return build_grid(AuditPlan(budget=budget, jobs=2), "s", cuts(count), SIZES)


def seconds(method: str, sizes: Sizes = SIZES) -> float:
    return expected_seconds(Task.ATTACK, read_attack(method)[0], cuts(1)[0], sizes)


@pytest.mark.parametrize("name", METHODS)
def test_every_attack_is_known_by_name_and_has_an_estimate(name: str) -> None:
    found = seconds(name)
    assert 0 < found < 1e5
    assert math.isfinite(found)


def test_estimates_follow_what_was_measured() -> None:
    """CPU seconds on the bundled data; an epoch's are for a thousand images."""

    def epoch(name: str) -> float:
        ten, twenty = (seconds(f"{name}(epochs={count})") for count in (10, 20))
        return (twenty - ten) / 10 / 2

    assert epoch("Decoder") == pytest.approx(1.0, rel=0.25)
    for name, ratio in {
        "SmallDecoder": 0.6,
        "EnhancedRepresentation": 0.7,
        "EnhancedDecoder": 1.1,
        "ShadowEncoder": 1.3,
        "AdversarialDecoder": 2.2,
        "Unrolled": 3.6,
        "AttentionDecoder": 3.7,
    }.items():
        assert epoch(name) == pytest.approx(ratio * epoch("Decoder"), rel=0.01)
    assert seconds("Likelihood(restarts=3)") == pytest.approx(25 + 0.6 * 1500, rel=0.02)
    assert seconds("Likelihood(restarts=3, steps=30)") < 0.2 * seconds("Likelihood(restarts=3)")
    assert seconds("DeepImagePrior(steps=100)") == pytest.approx(0.3 * 1500, rel=0.02)
    assert seconds("UnSplit()") == pytest.approx(0.107 * 1500, rel=0.02)
    refined = seconds("Refined(decoder=Decoder(epochs=7))") - seconds("Decoder(epochs=7)")
    assert refined == pytest.approx(2 + 9 * 1.5, abs=1.0)


def test_an_attack_inside_another_counts() -> None:
    small, large = (seconds(f"LogScores(attack=Decoder(epochs={count}))") for count in (1, 9))
    assert large - small == pytest.approx(
        seconds("Decoder(epochs=9)") - seconds("Decoder(epochs=1)"), rel=0.01
    )


@pytest.mark.parametrize("budget", ["3m", "30m"])
def test_closed_forms_run_behind_noise_and_where_decoders_run_if_there_is_time(
    budget: Tier,
) -> None:
    found = grid(budget)
    plain = [job.trial for job in found.jobs if job.trial.release == "Identity()"]
    decoded = {trial.cut for trial in plain if trial.method.startswith("Decoder(")}
    assert len(decoded) == BUDGETS[budget].decoder_cuts
    for name in GALLERIES:
        method = read_attack(name)[0]
        where = {trial.cut for trial in plain if trial.method == method}
        assert where == (set() if budget == "3m" else decoded)
        noisy = {job.trial.cut for job in found.jobs if job.trial.release != "Identity()"}
        assert {
            job.trial.cut
            for job in found.jobs
            if job.trial.method == method and job.trial.release != "Identity()"
        } == noisy
    assert bool(extras(BUDGETS[budget])) == (budget != "3m")


@pytest.mark.parametrize("budget", ["3m", "30m", "full"])
def test_what_is_left_out_is_said_once(budget: Tier) -> None:
    limits, found = BUDGETS[budget], grid(budget)
    asked = {job.trial.method for job in found.jobs}
    names = {job.trial.method.partition("(")[0] for job in found.jobs}
    reasons = {left.trial.method: left.reason for left in found.left if left.trial.cut == "*"}
    assert reasons == dict(withheld(limits, 20))
    for method, count in extras(limits):
        own = [job for job in found.jobs if job.trial.method == method]
        assert {job.trial.cut for job in own} == {
            cut.id for cut in spaced(spaced(cuts(20), limits.decoder_cuts), count)
        }
        assert all(job.rank > LAST for job in own)
        assert method in asked
    for name, reason in reasons.items():
        if name.removesuffix("()") in names:
            assert reason.startswith(FEW) or name in GALLERIES
        else:
            assert "from --budget" in reason
            tier = reason.partition("--budget ")[2].split()[0]
            assert any(m.startswith(name[:-1]) for m, _ in extras(BUDGETS[tier]))  # type: ignore[index]


def test_the_full_budget_names_every_kind_of_attack() -> None:
    """PEEL takes networks apart that have skips, and logarithms are for probabilities."""
    names = {job.trial.method.partition("(")[0] for job in grid("full").jobs}
    known = {name for name in METHODS if name not in ("Peel", "PublishedPeel", "LogScores")}
    assert known - names <= {"SmallDecoder"}  # what other attacks are made of


def test_at_every_cut_nothing_is_left_to_say() -> None:
    limits = replace(BUDGETS["full"], search_cuts=9, family_cuts=9, wide_cuts=9)
    assert withheld(limits, 9) == ()


def test_the_budget_of_half_an_hour_is_not_planned_beyond_twice_its_time() -> None:
    assert grid("30m", 21).seconds(2) < 2 * BUDGETS["30m"].seconds


def test_the_headline_flag_is_the_attack_s_own() -> None:
    assert Decoder().headline
    assert not AdversarialDecoder().headline
