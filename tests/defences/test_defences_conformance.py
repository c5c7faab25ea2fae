"""Every component under the suite that a new one has to pass."""

import pytest
import torch
from torch import Tensor, nn

from splitveil.defences import Component, Tokens, parse_components
from splitveil.testing.conformance.defences import DefenceConformance


class TestAtACut(DefenceConformance):
    @pytest.fixture(
        params=[
            "adversary(1)",
            "bottleneck(2)",
            "dct(3)",
            "disco(0.5)",
            "freeze(1)",
            "hsic(1,wy=0.5)",
            "laplace(sigma=0.3)",
            "lipschitz(0.1)",
            "maxent(1)",
            "noise(0.1)",
            "nopeek(0.5)",
            "pca(2)",
            "ressfl(1,channels=2)",
            "shredder(0.1)",
            "sparse(0.1)",
            "vib(0.001)",
        ]
    )
    def component(self, request: pytest.FixtureRequest) -> Component:
        (found,) = parse_components(request.param)
        return found


class TestWithoutACut(DefenceConformance):
    cut = None

    @pytest.fixture(params=["freeze:conv", "smooth(0.3)", "logit-decay(0.01)"])
    def component(self, request: pytest.FixtureRequest) -> Component:
        (found,) = parse_components(request.param)
        return found


class TinyTransformer(nn.Module):
    """A class token and a 4 x 4 grid of patches, positions, one layer behind the cut."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.patches = nn.Conv2d(1, 6, 3, stride=3)
        self.token = nn.Parameter(torch.zeros(1, 1, 6))
        self.positions = nn.Parameter(torch.zeros(1, 17, 6))
        self.block = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.GELU())
        self.mixed = nn.Linear(17, 17)
        self.classifier = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 12, 12) to (n, 3)."""
        z = self.patches(x).flatten(2).transpose(1, 2)
        z = torch.cat([self.token.expand(z.shape[0], -1, -1), z], 1) + self.positions
        z = self.block(z)
        mixed = self.mixed(z.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.classifier(mixed[:, 0])
        return out


class TestTokens(DefenceConformance):
    cut = "block.2"

    def network(self) -> nn.Module:
        return TinyTransformer()

    @pytest.fixture(params=["class", "pool", "drop", "shuffle"])
    def component(self, request: pytest.FixtureRequest) -> Component:
        return Tokens(request.param)
