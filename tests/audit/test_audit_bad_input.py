"""Whatever goes wrong inside an attack is one line of the record, and the audit goes on."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from audit_tiny import net as plain
from audit_tiny import plan, write_images
from torch import Tensor, nn

from splitveil.attacks import Likelihood, Ridge
from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.evidence import gather
from splitveil.audit.run import run_audit
from splitveil.audit.store import Run
from splitveil.records import Outcome, Status, Task
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import BlackBox, Observation, Pairs, QueryFree, WhiteBox

SEARCH = "Likelihood(steps=2, restarts=1, tuning=0, factors=(), chunk=64)"
DRAW = "DeepImagePrior(steps=2, width=4, depth=2)"
REFINE = "Refined(decoder=SmallDecoder(epochs=1, width=8), steps=2)"
UNROLL = "Unrolled(epochs=1, width=8, steps=1)"
WILD = "Decoder(epochs=1, width=8, depth=1, learning_rate=1e+30)"


@dataclass(frozen=True)
class Asks(Attack):
    """Queries the device for each image of its own, twice."""

    requires: ClassVar[type[QueryFree]] = BlackBox
    reference: ClassVar[str] = "none"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        assert isinstance(knowledge, BlackBox)
        for _ in range(2):
            knowledge.oracle(knowledge.auxiliary.x[:40], rng)
        return Ridge().fit(knowledge, rng)


def lessened(knowledge: QueryFree, level: type[Pairs]) -> Pairs:
    """What an attacker of a weaker level has."""
    assert isinstance(knowledge, WhiteBox)
    return level(
        knowledge.auxiliary,
        knowledge.tail,
        knowledge.layout,
        knowledge.knows_label,
        knowledge.knows_defence,
        knowledge.oracle,
    )


@dataclass(frozen=True)
class Unequipped(Attack):
    """Hands a white-box search no more than black-box knowledge."""

    requires: ClassVar[type[QueryFree]] = BlackBox
    reference: ClassVar[str] = "none"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        return Likelihood().fit(lessened(knowledge, BlackBox), rng)


@dataclass(frozen=True)
class Exhausts(Attack):
    """A black-box ridge with the budget of the plan, fitted until nothing is left of it."""

    requires: ClassVar[type[QueryFree]] = BlackBox
    reference: ClassVar[str] = "none"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        own = lessened(knowledge, BlackBox)
        gather(Ridge(), own, rng)
        return Ridge().fit(own, rng)


@dataclass(frozen=True, eq=False)
class Short(Reconstructor):
    fitted: Reconstructor

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        made: Targets = self.fitted(replace(observation, z=observation.z[:, :, 1:]), rng)
        return made


@dataclass(frozen=True)
class Cropping(Attack):
    """Hands on z of the wrong shape."""

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "none"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        return Short(Ridge().fit(knowledge, rng))


@dataclass(frozen=True)
class Hoards(Attack):
    """Asks an accelerator for more than it has."""

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "none"

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


class _Rounding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (8 * x).round() / 8


class _Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def rounding() -> nn.Module:
    """The tiny network, its first features rounded."""
    first, *rest = plain().children()
    return nn.Sequential(first, _Rounding(), *rest)


def detached() -> nn.Module:
    """The tiny network, whose first layer sees an image without its history."""
    return nn.Sequential(_Detached(), *plain().children())


HERE = "test_audit_bad_input:"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data"))


def by_attack(run: Run) -> dict[str, Outcome]:
    """Attacks at the cut: those on the answer have names in common with them."""
    cuts = {one["cut"]["id"] for one in run.manifest["cuts"]}
    return {
        o.trial.method.removeprefix(HERE).partition("(")[0]: o
        for o in run.outcomes()
        if o.trial.task is Task.ATTACK and o.trial.cut in cuts
    }


def test_every_kind_of_failure_is_one_line_and_the_ridge_is_scored(
    data: Path, tmp_path: Path
) -> None:
    expected = {
        "Asks": "BudgetExceeded: 40 queries asked, 10 of 50 left: raise the query budget or",
        "Cropping": "BadInput: expected observed features of shape (n, sends, 256), got",
        "Decoder": "BadPlan: training diverged in epoch 1",
        "Exhausts": "BudgetExceeded: 0 of 50 queries are left, at least 2 are needed: raise",
        "Hoards": "WorkerLost: not enough memory (OutOfMemoryError: CUDA out of memory. Tried to",
        "Peel": "BadInput: expected a residual network",
        "PublishedPeel": "BadInput: expected a residual network",
        "Unequipped": "KnowledgeMissing: Likelihood needs WhiteBox knowledge, got BlackBox: grant",
    }
    ours = ("Asks", "Cropping", "Exhausts", "Hoards", "Unequipped")
    attacks = [*(f"{HERE}{name}()" for name in ours), WILD, "Peel()", "PublishedPeel()", "Ridge()"]
    settings = plan(data, cuts=["0"], attacks=attacks, releases=["none"], threat={"queries": 50})
    run = run_audit(settings, tmp_path)
    found = by_attack(run)
    assert found.pop("Ridge").status is Status.DONE
    assert {name: found[name].status for name in expected} == dict.fromkeys(expected, Status.FAILED)
    for name, text in expected.items():
        assert found[name].reason.startswith(text), found[name].reason
        assert "\n" not in found[name].reason
    assert run.summary["complete"] is True
    assert len(run.summary["failures"]) == len(expected)
    assert all(entry["attacks"] == 1 for entry in run.summary["leakage"])


@pytest.mark.parametrize(
    ("model", "cut", "failing", "text"),
    [
        ("detached", "1", {"Likelihood", "DeepImagePrior", "Refined", "Unrolled"}, "passes no"),
        ("rounding", "1", {"Likelihood", "DeepImagePrior"}, "gradient is zero everywhere"),
    ],
)
def test_a_head_without_a_gradient(
    data: Path, tmp_path: Path, model: str, cut: str, failing: set[str], text: str
) -> None:
    """Attacks that follow a slope fail or fall back on their decoder; the others are scored."""
    settings = plan(
        data,
        model={"name": f"{HERE}{model}"},
        cuts=[cut],
        attacks=[SEARCH, DRAW, REFINE, UNROLL, "Ridge()"],
        releases=["none"],
    )
    run = run_audit(settings, tmp_path)
    found = by_attack(run)
    assert {name for name, o in found.items() if o.status is Status.FAILED} == failing
    for name in failing:
        assert found[name].reason.startswith("BadInput: the head"), found[name].reason
        assert text in found[name].reason
        assert "use a decoder or a ridge attack at this cut" in found[name].reason
    assert found["Ridge"].status is Status.DONE
    assert run.summary["complete"] is True
