"""Random small networks: every cut of every one is exact."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from splitveil.partition import trace
from splitveil.partition.verify import same
from splitveil.rng import Rng

STEPS = ("conv", "norm", "relu", "gelu", "add", "cat", "scale", "pool", "drop", "tokens")
WIDTH = 4


class RandomNet(nn.Module):
    """Steps on a growing list of equally shaped maps; each reads one or two earlier ones."""

    def __init__(self, plan: list[tuple[str, int, int]]) -> None:
        nn.Module.__init__(self)
        self.plan = plan
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.fc = nn.Linear(WIDTH, 3)
        for index, (step, _, _) in enumerate(plan):
            if step == "conv":
                self.add_module(f"conv{index}", nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
            elif step == "norm":
                self.add_module(f"norm{index}", nn.BatchNorm2d(WIDTH))
            elif step == "cat":
                self.add_module(f"mix{index}", nn.Conv2d(2 * WIDTH, WIDTH, 1))
            elif step == "drop":
                self.add_module(f"drop{index}", nn.Dropout(0.5))
            elif step == "tokens":
                self.add_module(f"line{index}", nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Any) -> Any:
        maps = [self.stem(x)]
        for index, (step, first, second) in enumerate(self.plan):
            a, b = maps[first % len(maps)], maps[second % len(maps)]
            maps.append(self._step(index, step, a, b))
        return self.fc(sum(maps).mean((2, 3)))

    def _step(self, index: int, step: str, a: Any, b: Any) -> Any:
        if step in ("conv", "norm", "drop"):
            return self.get_submodule(f"{step}{index}")(a)
        if step == "cat":
            return self.get_submodule(f"mix{index}")(torch.cat([a, b], 1))
        if step == "tokens":
            n, c, h, w = a.shape
            lines = self.get_submodule(f"line{index}")(a.flatten(2).transpose(1, 2))
            return lines.transpose(1, 2).reshape(n, c, h, w)
        if step == "pool":
            return nn.functional.max_pool2d(a, 3, 1, 1)
        ways: dict[str, Callable[[], Any]] = {
            "relu": lambda: torch.relu(a),
            "gelu": lambda: nn.functional.gelu(a),
            "add": lambda: a + b,
            "scale": lambda: a * torch.sigmoid(b.mean((2, 3), keepdim=True)),
        }
        return ways[step]()


PLANS = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 30), st.integers(0, 30)),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=25,
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(PLANS)
def test_every_cut_of_a_random_network_is_exact(plan: list[tuple[str, int, int]]) -> None:
    with Rng(2).as_global():
        model = RandomNet(plan).eval()
    x = torch.rand(4, 3, 6, 6, generator=Rng(4).torch())
    traced = trace(model, x[:1])
    assert traced.trainable
    with torch.no_grad():
        expected = model(x)
        for cut in {c.id: c for c in (*traced.menu(), *traced.frontiers(15))}.values():
            partition = traced.split(cut)
            assert same(partition.tail(partition.head(x)), expected), (cut.name, plan)
