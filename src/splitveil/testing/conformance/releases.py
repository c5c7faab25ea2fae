"""What every release promises, to be inherited by the tests of a new one."""

import math
import pickle
import sys

import numpy as np
import torch
from scipy import stats
from torch import Tensor

import splitveil.release
from splitveil.release import Release, ReleaseRecipe
from splitveil.rng import Rng
from splitveil.testing.conformance.state import nothing_touched

_GRID = 200_001


class ReleaseConformance:
    """Subclass it and give one fixture, `recipe`, that returns a `ReleaseRecipe`."""

    features = 24

    def _features(self, n: int, features: int | None = None) -> Tensor:
        """Skewed, sparse values like those behind a ReLU."""
        shape = (n, self.features if features is None else features)
        draws = torch.randn(shape, generator=Rng(n, ("features",)).torch())
        return (draws + 0.3).relu() * 2

    def _fitted(self, recipe: ReleaseRecipe) -> Release:
        return recipe.fit(self._features(200))

    def test_keeps_shape_and_type(self, recipe: ReleaseRecipe) -> None:
        release = self._fitted(recipe)
        for n in (0, 1, 7):
            for dtype in (torch.float32, torch.float64):
                z = self._features(n).to(dtype)
                sent = release(z, Rng(3).torch())
                assert sent.shape == z.shape, f"{tuple(z.shape)} became {tuple(sent.shape)}"
                assert sent.dtype == dtype, f"{dtype} became {sent.dtype}"
                assert bool(torch.isfinite(sent).all()), "sent values are not finite"

    def test_same_generator_same_bits(self, recipe: ReleaseRecipe) -> None:
        z = self._features(9)
        first = self._fitted(recipe)(z, Rng(3).torch())
        assert torch.equal(first, self._fitted(recipe)(z, Rng(3).torch())), "not reproducible"

    def test_a_density_needs_fresh_noise(self, recipe: ReleaseRecipe) -> None:
        release, z = self._fitted(recipe), self._features(9)
        if release.has_density:
            first = release(z, Rng(3).torch())
            assert not torch.equal(first, release(z, Rng(4).torch())), "noise does not vary"

    def test_touches_nothing(self, recipe: ReleaseRecipe) -> None:
        auxiliary, z = self._features(200), self._features(9)
        with nothing_touched(auxiliary, z):
            release = recipe.fit(auxiliary)
            sent = release(z, Rng(3).torch())
            release.log_prob(sent, z)
            release.coder(Rng(3).torch()).encode(sent)

    def test_says_whether_it_has_a_density(self, recipe: ReleaseRecipe) -> None:
        release, z = self._fitted(recipe), self._features(9)
        sent = release(z, Rng(3).torch())
        values, pairs = release.log_prob(sent, z), release.pairwise_log_prob(sent, z[:5])
        assert release.has_density is (values is not None), "has_density contradicts log_prob"
        assert (values is None) is (pairs is None), "log_prob contradicts its pairwise form"
        if values is not None and pairs is not None:
            assert values.shape == (9,), f"one value an image expected, got {tuple(values.shape)}"
            assert bool(torch.isfinite(values).all()), "what was sent must be possible"
            assert pairs.shape == (9, 5), f"expected (9, 5), got {tuple(pairs.shape)}"
            torch.testing.assert_close(pairs.diagonal(), values[:5], rtol=1e-5, atol=1e-4)

    def test_dominating_release_has_a_density_if_any(self, recipe: ReleaseRecipe) -> None:
        release = self._fitted(recipe)
        noisy = release.dominating()
        assert noisy.has_density >= release.has_density, "a density was lost"
        assert noisy.dominating() is noisy, "dominating must be final"

    def test_density_matches_what_is_sent(self, recipe: ReleaseRecipe) -> None:
        """One value: the density integrates to 1 and fits 4,000 sends (Kolmogorov-Smirnov)."""
        release = recipe.fit(self._features(400, 1))
        if not release.has_density:
            return
        z = self._features(3, 1)[:1].double()
        sent = release(z.expand(4000, 1), Rng(3).torch())
        middle, reach = float(sent.mean()), 4 * float((sent - sent.mean()).abs().max())
        grid = torch.linspace(middle - reach, middle + reach, _GRID, dtype=torch.float64)[:, None]
        values = release.log_prob(grid, z.expand(_GRID, 1))
        assert values is not None, "has_density contradicts log_prob"
        density = values.exp().numpy()
        step = 2 * reach / (_GRID - 1)
        total = float(np.trapezoid(density, dx=step))
        assert abs(total - 1) < 1e-3, f"the density integrates to {total}"
        cumulated = np.cumsum(density) * step
        test = stats.kstest(
            sent[:, 0].numpy(), lambda s: np.interp(s, grid[:, 0].numpy(), cumulated)
        )
        assert test.pvalue > 1e-4, f"sends do not follow the density (p = {test.pvalue:.1e})"

    def test_counts_bits(self, recipe: ReleaseRecipe) -> None:
        release = self._fitted(recipe)
        assert release.bits(self.features) > 0, "something is always sent"
        payload = release.bits(self.features) * math.log(2)
        assert 0 <= release.capacity(self.features) <= payload * (1 + 1e-12), (
            "capacity must not exceed the payload"
        )

    def test_coding_is_lossless(self, recipe: ReleaseRecipe) -> None:
        release = self._fitted(recipe)
        for n in (0, 1, 7):
            sent = release(self._features(n), Rng(3).torch())
            payload = release.coder(Rng(3).torch()).encode(sent)
            back = release.coder(Rng(3).torch()).decode(payload)
            assert torch.equal(back, sent), "decoding gave other features"

    def test_repr_rebuilds(self, recipe: ReleaseRecipe) -> None:
        names = vars(splitveil.release) | vars(sys.modules[type(recipe).__module__])
        assert eval(repr(recipe), dict(names)) == recipe, "repr does not rebuild"  # noqa: S307

    def test_pickles(self, recipe: ReleaseRecipe) -> None:
        release, z = self._fitted(recipe), self._features(9)
        assert pickle.loads(pickle.dumps(recipe)) == recipe, "the recipe changed"  # noqa: S301
        copy = pickle.loads(pickle.dumps(release))  # noqa: S301
        assert torch.equal(copy(z, Rng(3).torch()), release(z, Rng(3).torch())), "it changed"
