"""Latency at its 95th percentile, traces of a bandwidth, and joules."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom
from select_candidates import candidate, quantity
from select_runs import attack, cost, write_run
from torch import Tensor, nn

from splitveil.errors import BadPlan
from splitveil.numerics import quantile_between
from splitveil.partition import measure_costs, trace
from splitveil.quantities import Direction, Kind, Quantity
from splitveil.rng import Rng
from splitveil.select import (
    Energy,
    Limits,
    Link,
    Scenario,
    link_of_trace,
    read_candidates,
    read_records,
    read_trace,
    select,
    worst_case,
)
from splitveil.select.limits import breaches


@pytest.mark.parametrize(("n", "q"), [(72, 0.95), (400, 0.95), (7, 0.5), (30, 0.5), (200, 0.05)])
def test_a_quantile_lies_between_two_draws_as_often_as_is_said(n: int, q: float) -> None:
    draws = Rng(0, ("quantile", str(n))).numpy().exponential(size=(1000, n))
    truth = -math.log1p(-q)
    ends = [quantile_between(row.tolist(), q) for row in draws]
    covered = np.mean([one.low <= truth <= one.high for one in ends])
    assert ends[0].level >= 0.95
    assert covered >= ends[0].level - 3 * math.sqrt(0.05 * 0.95 / 1000)
    assert all(one.low <= one.value <= one.high for one in ends)


def test_few_draws_reach_a_lower_level_and_say_so() -> None:
    found = quantile_between([float(i) for i in range(20)], 0.95)
    # the last of 20 draws exceeds the 95th percentile with probability 1 - .95^20
    below = binom.cdf(binom.ppf(0.025, 20, 0.95) - 1, 20, 0.95)
    assert found.level == pytest.approx(1 - 0.95**20 - below, abs=1e-4)
    assert found.high == 19.0
    one = quantile_between([3.0], 0.5)
    assert (one.value, one.low, one.high, one.level) == (3.0, 3.0, 3.0, 0.0)


def test_the_95th_percentile_adds_the_parts(tmp_path: Path) -> None:
    run = write_run(tmp_path, [attack("middle", "Ridge()", 0.5)])
    (one,) = read_candidates(
        read_records(run), link=Link(bandwidth=1e6, round_trip=0.01)
    )  # records of medians only: they stand in
    assert one.latency is not None
    assert one.latency_p95 is not None
    assert one.latency_p95.high == one.latency.high
    slow = link_of_trace([1e6] * 90 + [1e5] * 10, round_trip=0.01)
    (one,) = read_candidates(read_records(run), link=slow)
    assert one.latency is not None
    assert one.latency_p95 is not None
    # edge 2 to 4 ms, 10 ms, 2,000 bytes at 1 or 0.1 Mbit/s, cloud 1 to 2 ms
    assert one.latency.high == pytest.approx(0.004 + 0.01 + 0.016 + 0.002)
    assert one.latency_p95.high == pytest.approx(0.004 + 0.01 + 0.16 + 0.002)
    assert one.latency_p95.n == 100
    assert one.latency_p95.level < one.latency.level


def test_the_limit_is_held_against_the_95th_percentile(tmp_path: Path) -> None:
    run = write_run(tmp_path, [attack("middle", "Ridge()", 0.5)])
    manifest = run.manifest
    for index, entry in enumerate(manifest["cuts"]):
        entry.update(
            edge_p95=quantity(0.1, 0.2, "s").to_json(), cloud_p95=cost(index)["cloud_seconds"]
        )
    records = read_records(run)
    records = type(records)(
        path=records.path, manifest=manifest, summary=records.summary, outcomes=records.outcomes
    )
    found = read_candidates(records, link=Link(bandwidth=1e9))
    assert select(found, Limits(max_latency=0.1)).chosen is None
    (broken,) = breaches(found[0], Limits(max_latency=0.1))
    assert str(broken).startswith("p95 latency 202ms > 100ms")
    assert select(found, Limits(max_latency=0.21)).chosen == found[0]


def test_an_outage_takes_for_ever() -> None:
    link = link_of_trace([0.0] * 10 + [1e6] * 90)
    late = link.latency_p95(quantity(0.1, 0.2, "s"), 100, quantity(0.1, 0.2, "s"))
    assert late.high == math.inf
    assert link.latency_p95(quantity(0.1, 0.2, "s"), 0, quantity(0.1, 0.2, "s")).high == 0.4
    with pytest.raises(BadPlan, match="above zero"):
        link_of_trace([0.0] * 10)


def test_a_trace_is_the_last_column(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("# car\ntime,Mbit/s\n0,10\n\n1, 2.5\n2,0\n")
    assert read_trace(path) == (10e6, 2.5e6, 0.0)
    assert link_of_trace(read_trace(path)).bandwidth == 2.5e6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10\nfast\n3\n", "line 2: expected Mbit/s"),
        ("10\n-1\n3\n", "line 2"),
        ("10\nnan\n", "line 2"),
        ("heading\n10\n", "holds 1 rates"),
        ("", "holds 0 rates"),
    ],
)
def test_a_trace_of_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(BadPlan, match=said):
        read_trace(path)
    with pytest.raises(BadPlan, match="cannot read"):
        read_trace(tmp_path / "none.csv")


def test_joules_are_linear_and_unknown_where_a_part_is() -> None:
    energy = Energy(per_gflop=2.0, per_megabyte=10.0)
    assert energy.joules(500_000_000, 100_000) == pytest.approx(1.0 + 1.0)
    assert energy.joules(None, 100) is None
    assert energy.joules(100, None) is None
    assert Energy(per_megabyte=10.0).joules(None, 1_000_000) == 10.0
    for bad in ({}, {"per_gflop": -1.0}, {"per_megabyte": math.inf}):
        with pytest.raises(BadPlan, match="joules"):
            Energy(**bad)


def test_energy_is_a_limit(tmp_path: Path) -> None:
    run = write_run(tmp_path, [attack("early", "Ridge()", 0.5), attack("late", "Ridge()", 0.4)])
    found = read_candidates(read_records(run), energy=Energy(per_megabyte=1.0))
    assert [one.energy for one in found] == [0.004, 0.001]
    assert select(found, Limits(max_energy=0.002)).chosen == found[1]
    (broken,) = breaches(found[0], Limits(max_energy=0.002))
    assert str(broken) == "energy 4mJ > 2mJ"


def bound(value: float) -> Quantity:
    return Quantity(
        value=value,
        low=value,
        high=1.0,
        unit="mse per value",
        kind=Kind.CONFIDENCE,
        n=100,
        direction=Direction.LOWER,
    )


def test_a_proved_error_is_a_limit_and_nothing_proved_is_zero() -> None:
    low, high, none = (
        candidate(name, bound=given)
        for name, given in (("low", bound(0.01)), ("high", bound(0.02)), ("none", None))
    )
    found = select([low, high, none], Limits(min_bound=0.015))
    assert found.fitting == (high,)
    assert [str(broken[0]) for _, broken in found.failing] == [
        "proved error 0.01 < 0.015",
        "proved error 0 < 0.015",
    ]
    relaxed = select([low, none], Limits(min_bound=0.015)).relaxations
    assert [str(one) for one in relaxed] == ["--min-bound 0.01 (-0.005)"]
    scenarios = [
        Scenario(name=str(i), candidates=(candidate("same", bound=given),))
        for i, given in enumerate((bound(0.02), bound(0.01)))
    ]
    assert worst_case(scenarios)[0].bound == bound(0.01)


class Skip(nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.first, self.second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        return torch.cat([first, self.second(first.relu())], 1).flatten(1)


def test_bytes_of_a_cut_of_two_tensors_are_their_sum() -> None:
    traced = trace(Skip().eval(), torch.rand(2, 1, 4, 4))
    costs = measure_costs(traced, traced.prefixes(), torch.rand(1, 1, 4, 4), repeats=6)
    several = {c.bytes_fp32 for c in costs if len(c.cut.layout.parts) == 2}
    assert several == {4 * (2 + 2) * 16, 4 * (2 + 3) * 16}  # beside relu, and beside the second


def test_both_percentiles_of_time_are_measured() -> None:
    traced = trace(Skip().eval(), torch.rand(2, 1, 4, 4))
    for one in measure_costs(traced, traced.prefixes(), torch.rand(1, 1, 4, 4)):
        assert one.edge_p95.n == one.edge_seconds.n == 100
        assert one.edge_p95.level >= 0.95
        assert one.edge_p95.value >= one.edge_seconds.value
        assert one.cloud_p95.high >= one.cloud_p95.value >= one.cloud_p95.low
        assert one.edge_p95.kind is Kind.MEASURED
