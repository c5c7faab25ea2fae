"""Every component under the suite that a new one has to pass."""

import pytest

from splitveil.defences import Component, parse_components
from splitveil.testing.conformance.defences import DefenceConformance


class TestAtACut(DefenceConformance):
    @pytest.fixture(
        params=[
            "adversary(1)",
            "bottleneck(2)",
            "freeze(1)",
            "hsic(1,wy=0.5)",
            "laplace(sigma=0.3)",
            "maxent(1)",
            "noise(0.1)",
            "nopeek(0.5)",
            "ressfl(1,channels=2)",
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
