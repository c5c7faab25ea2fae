"""Each weakness is set off by what it names, and by nothing less."""

from typing import Any

import pytest
from audit_toys import HERE

from splitveil.audit.weaknesses import weaknesses
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.records import Outcome, Status, Task, Trial

PLAIN, NOISE = "Identity()", "GaussianNoise(sigma=1.0)"
MANIFEST: dict[str, Any] = {
    "cuts": [
        {"cut": {"id": key, "name": name, "depth": depth}}
        for key, name, depth in (("a", "conv1", 0.2), ("b", "pool2", 0.6), ("c", "fc", 1.0))
    ],
    "data": {"duplicates": {"counts": {"auxiliary-test": 0}}},
    "model": {"in_training_mode": 0},
}


def made(
    task: Task, cut: str, release: str, method: str, quantities: dict[str, Quantity], seed: int = 0
) -> Outcome:
    return Outcome(
        trial=Trial(scope="s", task=task, cut=cut, release=release, method=method, seed=seed),
        status=Status.DONE,
        environment=HERE,
        seconds=1.0,
        quantities=quantities,
    )


def attack(
    method: str,
    mse: float,
    cut: str = "a",
    *,
    release: str = PLAIN,
    leak: float = 0.5,
    seed: int = 0,
) -> Outcome:
    found = {
        name: Quantity(value=v, low=v - 0.001, high=v + 0.001, unit="", kind=Kind.MEASURED, n=9)
        for name, v in (("mse", mse), ("leakage", leak))
    }
    return made(Task.ATTACK, cut, release, method, found, seed)


def sound() -> list[Outcome]:
    """A run without a weakness: two kinds of attack, three seeds, falling leakage."""
    found = [attack("MeanImage()", 0.09, "*", leak=0.0), attack("ClassMean()", 0.05, "*", leak=0.0)]
    for cut, mse, leak in (("a", 0.01, 0.9), ("b", 0.02, 0.6), ("c", 0.03, 0.3)):
        found.append(attack("Ridge()", mse, cut, leak=leak))
        found += [
            attack("Decoder(epochs=9)", mse - 0.001, cut, leak=leak, seed=s) for s in range(3)
        ]
    score = Quantity.exact(0.9, unit="share", kind=Kind.MEASURED)
    found.append(made(Task.UTILITY, "c", NOISE, "accuracy()", {"accuracy": score}))
    found.append(attack("Ridge()", 0.04, "c", release=NOISE, leak=0.1))
    return found


def codes(outcomes: list[Outcome], manifest: dict[str, Any] = MANIFEST) -> list[str]:
    return [one.code for one in weaknesses(outcomes, manifest)]


def least(value: float, kind: Kind = Kind.CONFIDENCE) -> Quantity:
    return Quantity(
        value=value,
        low=value,
        high=1.0,
        unit="mse per value",
        kind=kind,
        n=9,
        direction=Direction.LOWER,
        level=0.999,
    )


def test_a_sound_run_has_none() -> None:
    assert codes(sound()) == []
    assert codes([]) == []
    assert weaknesses(sound(), {}) == []


CASES: dict[str, tuple[str, list[Outcome], str]] = {
    "decoder below ridge": (
        "RF1",
        [attack("Ridge()", 0.002, "b", leak=0.6), attack("Ridge()", 0.001, "a", leak=0.9)],
        "pool2: 0.019 against 0.002",
    ),
    "decoder below floor": (
        "RF1",
        [
            attack("Decoder(epochs=4)", 0.06, "c", release="X()"),
            made(Task.UTILITY, "c", "X()", "accuracy()", {}),
        ],
        "fc with X(): 0.06 against 0.05",
    ),
    "more epochs help": (
        "RF3",
        [attack("Decoder(epochs=30)", 0.015, "b", leak=0.6, seed=s) for s in range(3)],
        "pool2: 21% from 9 to 30 epochs",
    ),
    "seeds apart": (
        "RF5",
        [attack("Decoder(epochs=9)", 0.024, "b", leak=0.6, seed=9)],
        "Decoder at pool2: 26%",
    ),
    "below a bound": (
        "RF6",
        [made(Task.BOUND, "c", NOISE, "bounds()", {"mse_bound": least(0.06)})],
        "reached mse",
    ),
    "worse than the mean": (
        "RF6",
        [attack("PatchRidge()", 0.2, "b", leak=0.0)],
        "PatchRidge at pool2: 0.2",
    ),
    "entropy without noise": (
        "RF7",
        [made(Task.BOUND, "a", PLAIN, "bounds()", {"mse_bound": least(0.01)})],
        "mse_bound 0.01 at conv1",
    ),
    "deeper leaks more": (
        "RF8",
        [attack("PatchRidge()", 0.005, "c", leak=0.35)],
        "fc 0.005 after pool2 0.019",
    ),
    "one attack": ("RF9", [attack("Ridge()", 0.025, "d", leak=0.5)], "d"),
    "one seed": ("RF9", [attack("Decoder(epochs=8)", 0.0095, "a", leak=0.9)], "Decoder(epochs=8)"),
    "no score under noise": (
        "RF16",
        [attack("Ridge()", 0.04, "b", release=NOISE)],
        "pool2 with GaussianNoise",
    ),
    "fixed noise": (
        "RF17",
        [
            attack("Ridge()", 0.04, "c", release="my:Noise(seed=3)"),
            made(Task.UTILITY, "c", "my:Noise(seed=3)", "accuracy()", {}),
        ],
        "my:Noise(seed=3)",
    ),
    "no clip": (
        "RF18",
        [
            attack("Ridge()", 0.04, "c", release="my:Laplace(epsilon=1.0)"),
            made(Task.UTILITY, "c", "my:Laplace(epsilon=1.0)", "accuracy()", {}),
        ],
        "my:Laplace(epsilon=1.0)",
    ),
    "last cut": (
        "RF24",
        [attack("PatchRidge()", 0.029, "c", leak=0.8)],
        "fc L = 0.8, pool2 L = 0.6",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_is_set_off_by_what_it_names(case: str) -> None:
    code, more, value = CASES[case]
    found = [one for one in weaknesses([*sound(), *more], MANIFEST) if one.code == code]
    assert found, codes([*sound(), *more])
    assert any(value in one.value for one in found), found
    assert all(one.message for one in found)


def test_the_manifest_sets_off_its_own() -> None:
    twins = {"duplicates": {"counts": {"auxiliary-test": 7, "auxiliary-validation": 0}}}
    (found,) = weaknesses(sound(), {**MANIFEST, "data": twins})
    assert (found.code, found.value) == ("RF13", "auxiliary-test: 7")
    (found,) = weaknesses(sound(), {**MANIFEST, "model": {"in_training_mode": 2}})
    assert (found.code, found.value) == ("RF15", "2 modules")


def test_clipped_budgets_and_fresh_noise_are_no_weakness() -> None:
    for release in ("my:Laplace(epsilon=1.0, clip=2.0)", "my:Noise(seed=None)", NOISE):
        more = [
            attack("Ridge()", 0.04, "c", release=release, leak=0.1),
            made(Task.UTILITY, "c", release, "accuracy()", {}),
        ]
        assert codes([*sound(), *more]) == []
