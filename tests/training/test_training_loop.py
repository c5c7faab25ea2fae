import io
import logging
import math
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch
from torch import Tensor, nn

from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched
from splitveil.training import Epoch, Schedule, Trace, fit


def problem(n: int = 400) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, generator=g)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 3 + 0.1 * torch.randn(n, 1, generator=g)
    return x, y


def train(
    *, seed: int = 0, seconds: float = math.inf, scale: float = 1.0, **settings: object
) -> tuple[nn.Linear, Trace, list[Epoch]]:
    x, y = problem()
    with Rng(1).as_global():
        module = nn.Linear(3, 1)
    schedule = Schedule(**{"epochs": 30, "batch": 20, "learning_rate": 0.05, **settings})  # type: ignore[arg-type]
    seen: list[Epoch] = []

    def loss(net: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
        noise = 1e-3 * torch.randn(len(indices), 1, generator=generator)
        return scale * (net(x[indices]) + noise - y[indices]).square().mean()

    trace = fit(
        module,
        loss,
        size=len(x),
        schedule=schedule,
        rng=Rng(seed),
        on_epoch=seen.append,
        seconds=seconds,
    )
    return module, trace, seen


def test_learns_least_squares_to_its_closed_form() -> None:
    module, trace, _ = train(weight_decay=0.0)
    x, y = problem()
    design = torch.cat([x, torch.ones(len(x), 1)], 1)
    exact = torch.linalg.lstsq(design, y).solution
    found = torch.cat([module.weight.data.T, module.bias.data[None]])
    torch.testing.assert_close(found, exact, atol=5e-3, rtol=0)
    least = float((design @ exact - y).square().mean())
    assert trace.losses[-1] == pytest.approx(least, rel=0.05)
    assert len(trace.losses) == 30
    assert not trace.stopped_early
    assert not module.training


def test_same_seed_same_bits_other_seed_others() -> None:
    first, again, other = (train(seed=s, epochs=2)[0].weight for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_global_generators_are_untouched() -> None:
    with nothing_touched():
        train(epochs=1)


def test_deadline_is_honoured_and_the_rate_still_falls() -> None:
    train(epochs=1)  # imports happen here
    began = time.monotonic()
    _, trace, _ = train(epochs=1_000_000, seconds=0.5)
    assert trace.stopped_early
    assert 0.3 < time.monotonic() - began < 5


@pytest.mark.parametrize("rate", [1e-3, 1.0])
def test_schedule_rises_then_falls_to_nothing(rate: float) -> None:
    schedule = Schedule(epochs=1, learning_rate=rate, warmup=0.25)
    assert schedule.rate(0.0) == 0
    assert schedule.rate(0.25) == pytest.approx(rate)
    assert schedule.rate(0.625) == pytest.approx(rate / 2)
    assert schedule.rate(1.0) == pytest.approx(0, abs=1e-12)


def test_epochs_are_told() -> None:
    _, trace, seen = train(epochs=3)
    assert [e.number for e in seen] == [1, 2, 3]
    assert {e.of for e in seen} == {3}
    assert tuple(e.loss for e in seen) == trace.losses


def test_steps_are_told() -> None:
    x, y = problem()
    steps: list[int] = []
    fit(
        nn.Linear(3, 1),
        lambda net, i, _: (net(x[i]) - y[i]).square().mean(),
        size=50,
        schedule=Schedule(epochs=2, batch=20),
        rng=Rng(0),
        on_step=lambda: steps.append(1),
    )
    assert len(steps) == 6


@pytest.mark.parametrize("scale", [math.inf, math.nan, 1e38])
def test_divergence_says_what_to_do(scale: float) -> None:
    with pytest.raises(BadPlan, match=r"diverged in epoch 1.*lower the learning rate"):
        train(epochs=2, scale=scale)


@pytest.mark.parametrize("setting", ["epochs", "batch", "learning_rate"])
def test_settings_out_of_range(setting: str) -> None:
    with pytest.raises(BadPlan, match="must be positive"):
        Schedule(**{"epochs": 1, setting: 0.0 if setting == "learning_rate" else 0})  # type: ignore[arg-type]


def test_no_time() -> None:
    with pytest.raises(BadPlan, match="seconds to train"):
        train(seconds=0.0)


def test_no_data() -> None:
    with pytest.raises(BadPlan, match="empty"):
        fit(
            nn.Linear(1, 1),
            lambda net, i, _: net(torch.ones(1, 1)).sum(),
            size=0,
            schedule=Schedule(epochs=1),
            rng=Rng(0),
        )


def test_says_nothing_about_precision(caplog: pytest.LogCaptureFixture) -> None:
    out, err = io.StringIO(), io.StringIO()
    before = logging.getLogger("lightning_fabric.utilities.rank_zero").level
    with (
        warnings.catch_warnings(record=True) as told,
        redirect_stdout(out),
        redirect_stderr(err),
        caplog.at_level(logging.INFO),
    ):
        warnings.simplefilter("always")
        train(epochs=1, precision="bf16-mixed")
    assert (out.getvalue(), err.getvalue(), caplog.text, told) == ("", "", "", [])
    assert logging.getLogger("lightning_fabric.utilities.rank_zero").level == before


def test_mixed_precision_learns_too() -> None:
    module, _, _ = train(precision="bf16-mixed", weight_decay=0.0)
    assert module.weight.dtype == torch.float32
    expected = torch.tensor([[1.0, -2.0, 0.5]])
    torch.testing.assert_close(module.weight.data, expected, atol=0.05, rtol=0)


def test_importing_the_loop_does_not_import_lightning() -> None:
    code = "import sys, splitveil.training; print('lightning_fabric' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
