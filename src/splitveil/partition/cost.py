"""What a cut costs: bytes on the wire, parameters and operations on the device, measured time."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from splitveil.errors import BadPlan
from splitveil.numerics import quantile_between
from splitveil.partition.flow import execute, last_uses
from splitveil.partition.traced import Traced
from splitveil.partition.types import Cut
from splitveil.quantities import Kind, Quantity

_LEAST_REPEATS = 6  # fewer, and no pair of order statistics covers the median at 95 %


@dataclass(frozen=True, kw_only=True)
class CutCost:
    """Costs of one cut, for one image.

    `bytes_*` count the packed features alone, before any coding. `edge_bytes` is what the device
    holds at its fullest in fp32: weights and live values between steps, a view counted as a copy;
    workspace within a step and the runtime come on top. Operations are what torch's own counter
    counts (convolutions, matrix products, attention), one multiply-add as two. `*_seconds` are
    medians and `*_p95` 95th percentiles over repeated passes of one image on this machine; they
    rank cuts, and say nothing of another device.
    """

    cut: Cut
    bytes_fp32: int
    bytes_fp16: int
    bytes_uint8: int
    edge_bytes: int
    edge_parameters: int
    total_parameters: int
    edge_flops: int
    total_flops: int
    edge_seconds: Quantity
    cloud_seconds: Quantity
    edge_p95: Quantity
    cloud_p95: Quantity

    def to_json(self) -> dict[str, Any]:
        """Plain data; the cut with its id, name, kind, depth and layout."""
        data = asdict(self)
        for name in ("edge_seconds", "cloud_seconds", "edge_p95", "cloud_p95"):
            data[name] = getattr(self, name).to_json()
        return data


def measure_costs(
    traced: Traced,
    cuts: Sequence[Cut],
    example: Tensor,
    *,
    repeats: int = 100,
    seconds: float = 2.0,
) -> list[CutCost]:
    """Costs of many cuts from the same few passes: every step is timed once a pass.

    Args:
        traced: the network.
        cuts: of that network.
        example: images; the first one is timed.
        repeats: passes at most, 6 or more; 72 give the 95th percentile its interval at 95 %.
        seconds: no further pass starts after this time, once there are 6.

    Raises:
        BadPlan: if `repeats` is below 6.
        UnknownName: if a cut belongs to another network.
    """
    if repeats < _LEAST_REPEATS:
        raise BadPlan(f"repeats must be {_LEAST_REPEATS} or more for an interval, got {repeats}")
    times = _step_times(traced, example[:1], repeats, seconds)
    flops = {node: fact.flops for node, fact in traced.facts.items()}
    values = {node: fact.values for node, fact in traced.facts.items()}
    total = sum(flops.values())
    parameters = _parameters(traced.module, traced.module.graph.nodes)
    found = []
    for cut in cuts:
        edge, cloud = traced.steps(cut)
        parameters_there = _parameters(traced.module, edge)
        found.append(
            CutCost(
                cut=cut,
                bytes_fp32=4 * cut.layout.size,
                bytes_fp16=2 * cut.layout.size,
                bytes_uint8=cut.layout.size,
                edge_bytes=4 * (parameters_there + _peak(edge, cloud, values)),
                edge_parameters=parameters_there,
                total_parameters=parameters,
                edge_flops=round(sum(flops.get(node, 0.0) for node in edge)),
                total_flops=round(total),
                edge_seconds=_quantile(_sum(times, edge), 0.5),
                cloud_seconds=_quantile(_sum(times, cloud), 0.5),
                edge_p95=_quantile(_sum(times, edge), 0.95),
                cloud_p95=_quantile(_sum(times, cloud), 0.95),
            )
        )
    return found


@torch.no_grad()
def _step_times(
    traced: Traced, image: Tensor, repeats: int, seconds: float
) -> dict[fx.Node, list[float]]:
    graph, module = traced.module.graph, traced.module
    dying = last_uses(graph)
    times: dict[fx.Node, list[float]] = {node: [] for node in graph.nodes}
    began = time.perf_counter()
    for index in range(-1, repeats):
        if index >= _LEAST_REPEATS and time.perf_counter() - began > seconds:
            break
        values: dict[fx.Node, Any] = {}
        for node in graph.nodes:
            start = time.perf_counter()
            values[node] = image if node.op == "placeholder" else execute(node, values, module)
            _finish(image.device)
            if index >= 0:  # the first pass only warms caches
                times[node].append(time.perf_counter() - start)
            for dead in dying[node]:
                del values[dead]
    return times


def _finish(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _sum(times: dict[fx.Node, list[float]], nodes: Iterable[fx.Node]) -> list[float]:
    return np.sum([times[node] for node in nodes], axis=0, dtype=float).tolist()


def _quantile(samples: Sequence[float], q: float) -> Quantity:
    """A quantile over passes between two order statistics, at the level that they reach."""
    found = quantile_between(samples, q)
    return Quantity(
        value=found.value,
        low=found.low,
        high=found.high,
        unit="s",
        kind=Kind.MEASURED,
        n=len(samples),
        level=found.level,
        assumptions=("one image at a time on this machine", "passes are independent draws"),
    )


def _peak(edge: Sequence[fx.Node], cloud: Sequence[fx.Node], values: Mapping[fx.Node, int]) -> int:
    """Most values of one image that are alive at once while the device's steps run in order.

    A value lives until its last reader on the device is done; what crosses stays to the end.
    """
    crossing = {given for node in cloud for given in node.all_input_nodes} - set(cloud)
    last = {given: node for node in edge for given in node.all_input_nodes}
    alive = peak = 0
    for node in edge:
        alive += values.get(node, 0)
        peak = max(peak, alive)
        dead = [g for g in node.all_input_nodes if last[g] is node and g not in crossing]
        alive -= sum(values.get(given, 0) for given in dead)
    return peak


def _parameters(module: nn.Module, nodes: Iterable[fx.Node]) -> int:
    """Distinct parameter values that steps read."""
    unique: dict[int, int] = {}
    for node in nodes:
        if node.op == "call_module":
            read = list(module.get_submodule(str(node.target)).parameters())
        elif node.op == "get_attr":
            value = execute(node, {}, module)
            read = [value] if isinstance(value, nn.Parameter) else []
        else:
            continue
        unique.update({id(parameter): parameter.numel() for parameter in read})
    return sum(unique.values())
