"""Every release keeps the promises of its interface."""

import math

import pytest

from splitveil.release import ReleaseRecipe, parse_release
from splitveil.select.payload import payload_bytes
from splitveil.testing.conformance.releases import ReleaseConformance

_WRITTEN = [
    "none",
    "half",
    "sigmoid",
    "softmax",
    "gaussian(sigma=0.5)",
    "gaussian(sigma=0.2, clip=0.5, scale=absolute)",
    "quantise(bits=1)",
    "quantise(bits=8)",
    "dither(bits=3)",
    "laplace(sigma=0.5)",
    "gaussian-dp(epsilon=2.0)",
    "laplace-dp(epsilon=5.0, sends=2)",
    "shaped(rate=0.2)",
    "topk(keep=0.25)",
    "topk(keep=1)",
    "dropout(rate=0.3)",
    "shuffle-tokens(tokens=6, kept=1)",
    "topk(keep=0.5)+laplace(sigma=0.1)",
    "gaussian(sigma=0.1)+quantise(bits=6)",
    "quantise(bits=8)+gaussian(sigma=0.3)",
    "half+dither(bits=8, clip=1)",
]


class TestReleases(ReleaseConformance):
    @pytest.fixture(params=_WRITTEN)
    def recipe(self, request: pytest.FixtureRequest) -> ReleaseRecipe:
        return parse_release(request.param)

    def test_written_form_rebuilds(self, recipe: ReleaseRecipe) -> None:
        assert parse_release(str(recipe)) == recipe

    def test_selection_counts_the_same_bytes(self, recipe: ReleaseRecipe) -> None:
        for values in (24, 1001):
            bits = recipe.fit(self._features(50, values)).bits(values)
            assert payload_bytes(repr(recipe), values) == math.ceil(bits / 8)
