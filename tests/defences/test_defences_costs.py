"""Components that work on weights alone leave the device's half, step by step, as it was."""

from pathlib import Path

import pytest
from hardening import images, net
from test_defences_expert import stored
from torch import nn

from splitveil.defences import Hardened, harden, parse_components
from splitveil.defences.parse import KINDS
from splitveil.partition import measure_costs, trace
from splitveil.rng import Rng
from splitveil.training import Schedule

FREE = (
    "adversary(1)",
    "cem(rate=0.1,clusters=1)",
    "cem-published(1,clusters=1)",
    "coarse(0,1|2,3)",
    "distil(4)",
    "expert({plain})",
    "freeze(1)",
    "hsic(1)",
    "imbalance(0.1)",
    "lipschitz(0.1)",
    "logit-decay(0.01)",
    "maxent(1)",
    "nopeek(1)",
    "onehot",
    "ramp(smooth(0.3),0.2,0.6)",
    "smooth(0.3)",
)
COSTLY = {
    "bottleneck",
    "calibrated",
    "dct",
    "disco",
    "ensembler",
    "fisher",
    "fixed-noise",
    "fsinfo",
    "noise",
    "pca",
    "prune",
    "ressfl",
    "shredder",
    "sparse",
    "tokens",
    "utility-noise",
    "vib",
}
"""What changes the device's half, what crosses, or what is sent: benchmarks/defence_costs.py."""


def run(text: str) -> Hardened:
    noise = "noise(0.1)+" if text.startswith("cem") else ""
    return harden(
        net(),
        images(128),
        parse_components(noise + text),
        schedule=Schedule(epochs=1, batch=64, learning_rate=1e-3),
        rng=Rng(0),
        cut="3",
        patience=None,
        watch=None,
    )


def device(network: nn.Module, place: str = "3") -> tuple[object, ...]:
    """Steps, shapes of weights, parameters, operations and layout of the half up to the cut."""
    x = images(128).probe.x[:2]
    traced = trace(network, x)
    cut = traced.cut(place)
    (cost,) = measure_costs(traced, [cut], x[:1], repeats=6, seconds=0.0)
    steps = [(node.op, str(node.target)) for node in traced.steps(cut)[0]]
    head = traced.split(cut).head
    shapes = {name: tuple(value.shape) for name, value in head.state_dict().items()}
    whole = (cost.total_parameters, cost.total_flops)
    return steps, shapes, cost.edge_parameters, cost.edge_flops, cut.layout, whole


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(run("adversary(1)"), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def before() -> tuple[object, ...]:
    return device(net())


@pytest.mark.parametrize("text", FREE)
def test_inference_costs_nothing_more(text: str, plain: Path, before: tuple[object, ...]) -> None:
    found = run(text.format(plain=plain))
    assert found.grafts == ()
    assert device(found.network) == before
    assert found.partition is not None
    assert [(type(m), str(m)) for m in found.network.modules()] == [
        (type(m), str(m)) for m in net().modules()
    ]


def test_every_component_is_of_one_sort() -> None:
    free = {text.partition("(")[0] for text in FREE}
    known = {kind.name for kind in KINDS} | {"coarse", "ramp"}
    assert known - free - COSTLY == set()
    assert not free & COSTLY


def test_a_structure_is_seen_by_the_same_comparison() -> None:
    found = run("bottleneck(2)")
    assert found.partition is not None
    after, before = device(found.network, found.partition.cut.id), device(net())
    assert all(one != other for one, other in zip(after, before, strict=True))
