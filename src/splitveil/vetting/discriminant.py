"""A detector that learns: Fisher's linear discriminant of all statistics."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from splitveil.errors import BadPlan
from splitveil.rng import Rng
from splitveil.vetting.cases import Case
from splitveil.vetting.looking import look
from splitveil.vetting.statistics import measure

_RNG = Rng(0, ("vetting",))
_FAR = 6.0
_LEAST = 1e-12


class Discriminant:
    """Fisher's linear discriminant of the statistics, learnt from networks whose kind is known.

        score = wᵀ z,   w = (C + diag C)⁻¹ (mean of malicious - mean of honest)

    z are the statistics, each less its mean over the networks learnt from, divided by its standard
    deviation within kinds and cut off at ±6; C is the covariance of z within kinds. Weighing C like
    its diagonal keeps few networks from fitting chance. Statistics that are alike within kinds,
    infinite for some network, or not allowed by one, are left out.

    It knows the malicious networks it was shown: others may lie on the other side. No error rate is
    promised, unlike that of p values against a null.

    References:
        Fisher 1936; Friedman 1989, Regularized discriminant analysis.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.centre = self.scale = self.weights = np.zeros(0)

    def fit(self, cases: Sequence[Case]) -> None:
        """Learn from networks with `vicious` known.

        Raises:
            BadPlan: if there are fewer than two of a kind, or nothing tells kinds apart.
        """
        kinds = np.array([bool(case.vicious) for case in cases])
        if min(kinds.sum(), (~kinds).sum()) < 2:
            raise BadPlan(
                f"a discriminant learns from two networks of a kind or more, got {kinds.sum()} "
                f"malicious and {(~kinds).sum()} honest: finish the panel's train part"
            )
        rows = [values_of(case) for case in cases]
        names = sorted(set.intersection(*(set(row) for row in rows)))
        self.learn(names, np.array([[row[name] for name in names] for row in rows]), kinds)

    def learn(
        self,
        names: Sequence[str],
        table: Float64[np.ndarray, "n p"],
        kinds: np.ndarray,
    ) -> None:
        """`fit` on statistics already measured: a row a network, `kinds` true for malicious.

        Raises:
            BadPlan: if no statistic varies within kinds.
        """
        sound = np.isfinite(table).all(0)
        names = [name for name, kept in zip(names, sound, strict=True) if kept]
        table = table[:, sound]
        spread = np.sqrt(_within(table, kinds).diagonal())
        used = spread > _LEAST * np.abs(table).max(0)
        if not used.any():
            raise BadPlan("no statistic varies among the networks to learn from")
        self.names = tuple(name for name, kept in zip(names, used, strict=True) if kept)
        self.centre, self.scale = table[:, used].mean(0), spread[used]
        z = self._standard(table[:, used])
        inside = _within(z, kinds)
        apart = z[kinds].mean(0) - z[~kinds].mean(0)
        self.weights = np.linalg.solve(inside + np.diag(inside.diagonal()), apart)

    def __call__(self, case: Case) -> float:
        """The score of one network.

        Raises:
            BadPlan: if nothing was learnt, or the network does not allow a statistic learnt from.
        """
        if not self.names:
            raise BadPlan("a discriminant must learn first: call fit with networks that are known")
        found = values_of(case)
        lacking = [name for name in self.names if name not in found]
        if lacking:
            raise BadPlan(f"{case.name} does not allow {', '.join(lacking)}")
        return self.score(found)

    def score(self, found: Mapping[str, float]) -> float:
        """The score of statistics."""
        row = np.array([[found[name] for name in self.names]])
        return float(self._standard(row)[0] @ self.weights)

    def _standard(self, table: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = ((table - self.centre) / self.scale).clip(-_FAR, _FAR)
        return scaled


def values_of(case: Case) -> dict[str, float]:
    """Every statistic that a network allows."""
    answers, _ = look(case.network, case.images)
    return {name: found.value for name, found in measure(answers, _RNG).items()}


def _within(table: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Covariance within kinds, two means taken off."""
    left = table - np.where(kinds[:, None], table[kinds].mean(0), table[~kinds].mean(0))
    covariance: np.ndarray = left.T @ left / (len(table) - 2)
    return covariance
