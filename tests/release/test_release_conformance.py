"""Every release keeps the promises of its interface."""

import pytest

from splitveil.release import ReleaseRecipe, parse_release
from splitveil.testing.conformance.releases import ReleaseConformance

_WRITTEN = [
    "none",
    "half",
    "gaussian(sigma=0.5)",
    "gaussian(sigma=0.2, clip=0.5, scale=absolute)",
    "quantise(bits=1)",
    "quantise(bits=8)",
    "dither(bits=3)",
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
