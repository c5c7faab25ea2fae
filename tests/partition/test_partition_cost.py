"""Costs against closed forms and torch's own counter."""

import json

import pytest
import torch
from handmade import Shared
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from splitveil.errors import BadPlan
from splitveil.models.reference import resnet, vgg, vit
from splitveil.partition import measure_costs, trace
from splitveil.quantities import Kind


@pytest.mark.parametrize("factory", [vgg, resnet, vit])
def test_costs_add_up_to_the_whole_network(factory: type[nn.Module]) -> None:
    model, x = factory().eval(), torch.rand(3, 1, 32, 32)
    traced = trace(model, x)
    costs = measure_costs(traced, traced.menu(), x, repeats=6)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x[:1])
    parameters = sum(p.numel() for p in model.parameters())
    for cost in costs:
        assert cost.total_flops == counter.get_total_flops()
        assert cost.total_parameters == parameters
        assert 0 < cost.edge_parameters <= parameters
        assert cost.bytes_fp32 == 4 * cost.cut.layout.size == 2 * cost.bytes_fp16
        assert cost.bytes_uint8 == cost.cut.layout.size
    assert [c.edge_flops for c in costs] == sorted(c.edge_flops for c in costs)
    assert [c.edge_parameters for c in costs] == sorted(c.edge_parameters for c in costs)
    edge = [c.edge_seconds.value for c in costs]
    assert edge[0] < edge[-1]
    assert costs[0].cloud_seconds.value > costs[-1].cloud_seconds.value


def test_the_first_convolution_by_hand() -> None:
    traced = trace(vgg(), torch.rand(1, 1, 32, 32))
    (cost,) = measure_costs(traced, traced.menu()[:1], torch.rand(1, 1, 32, 32), repeats=7)
    assert cost.edge_parameters == 16 * 9
    assert cost.edge_flops == 2 * 9 * 16 * 32 * 32
    assert cost.bytes_fp32 == 4 * 16 * 32 * 32
    assert cost.edge_seconds.unit == "s"
    assert cost.edge_seconds.kind is Kind.MEASURED
    assert cost.edge_seconds.n == 7
    assert cost.edge_seconds.level >= 0.95
    data = json.loads(json.dumps(cost.to_json()))
    assert data["cut"]["name"] == "conv1"
    assert data["cut"]["layout"]["parts"][0]["shape"] == [16, 32, 32]


def test_shared_parameters_count_once_on_each_side(images: Tensor) -> None:
    model = Shared().eval()
    traced = trace(model, images)
    cost = measure_costs(traced, [traced.cut("act#2")], images, repeats=6)[0]
    parts = [model.stem, model.conv, model.norm]
    assert cost.edge_parameters == sum(p.numel() for m in parts for p in m.parameters())


def test_too_few_repeats_are_refused(images: Tensor) -> None:
    traced = trace(Shared(), images)
    with pytest.raises(BadPlan, match="6 or more"):
        measure_costs(traced, traced.menu(), images, repeats=5)


class Skip(nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.first, self.second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)
        self.last = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        out: Tensor = self.last((first + self.second(first)).flatten(1))
        return out


def test_memory_of_the_device_by_hand() -> None:
    """Weights, and the most values alive at once, in fp32."""
    model, x = Skip().eval(), torch.rand(2, 1, 4, 4)
    traced = trace(model, x)
    costs = measure_costs(traced, traced.prefixes(), x, repeats=6)
    found = {cost.cut.name: cost.edge_bytes for cost in costs}
    # weights 2 + 2, then 4 + 2 more; image 16 with the first 32, then 32 + 32, then their sum too
    assert found["first"] == 4 * (4 + 16 + 32)
    assert found["second"] == 4 * (10 + 32 + 32)
    assert found["add"] == found["flatten"] == 4 * (10 + 32 + 32 + 32)
