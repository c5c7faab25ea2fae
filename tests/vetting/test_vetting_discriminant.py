"""The discriminant that learns: a second method, what it leaves out, what it refuses."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from vetting_toys import Tiny, pictures

from splitveil.errors import BadPlan
from splitveil.models import PixelModel
from splitveil.rng import Rng
from splitveil.vetting import Case, Discriminant

NAMES = ("a", "b", "c")
KINDS = np.arange(20) >= 10


def _table(seed: int = 0) -> np.ndarray:
    """Twenty networks, ten a kind, that differ along one mix of three statistics."""
    draw = Rng(seed, ("discriminant",)).numpy()
    mixing = np.array([[1.0, 0.8, 0.0], [0.0, 0.6, 5.0], [0.0, 0.0, 100.0]])
    return draw.normal(size=(20, 3)) @ mixing + KINDS[:, None] * np.array([1.0, -0.5, 40.0])


def _scores(table: np.ndarray, learnt: Discriminant) -> np.ndarray:
    return np.array([learnt.score(dict(zip(NAMES, row, strict=True))) for row in table])


def test_its_direction_is_that_of_shrunken_discriminant_analysis() -> None:
    table = _table()
    learnt = Discriminant()
    learnt.learn(NAMES, table, KINDS)
    # standardised within kinds, the diagonal of C is 1 and sklearn's target is its own
    z = (table - learnt.centre) / learnt.scale
    assert np.abs(z).max() < 6
    second = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5).fit(z, KINDS)
    direction = second.coef_[0]
    cosine = direction @ learnt.weights / np.linalg.norm(direction) / np.linalg.norm(learnt.weights)
    assert cosine == pytest.approx(1, abs=1e-9)
    scores = _scores(_table(1), learnt)
    assert np.corrcoef(
        scores, second.decision_function((_table(1) - learnt.centre) / learnt.scale)
    )[0, 1] == pytest.approx(1, abs=1e-9)


def test_units_do_not_matter_and_outliers_count_six_at_most() -> None:
    table, units = _table(), np.array([1e-3, 1.0, 1e6])
    plain, other = Discriminant(), Discriminant()
    plain.learn(NAMES, table, KINDS)
    other.learn(NAMES, table * units, KINDS)
    assert _scores(table, plain) == pytest.approx(_scores(table * units, other))
    far = dict(zip(NAMES, plain.centre + 6 * plain.scale, strict=True))
    assert plain.score({**far, "a": np.inf}) == pytest.approx(plain.score(far))


def test_what_is_alike_or_infinite_is_left_out() -> None:
    table = np.concatenate([_table(), np.full((20, 1), 0.1), np.full((20, 1), 2.0)], 1)
    table[3, 4] = np.inf
    learnt = Discriminant()
    learnt.learn((*NAMES, "alike", "infinite"), table, KINDS)
    assert learnt.names == NAMES
    with pytest.raises(BadPlan, match="no statistic varies"):
        learnt.learn(NAMES, np.zeros((20, 3)), KINDS)


def test_it_must_learn_from_both_kinds_first() -> None:
    case = Case(name="one", network=PixelModel(Tiny()), images=pictures(60), vicious=True)
    with pytest.raises(BadPlan, match="must learn first"):
        Discriminant()(case)
    with pytest.raises(BadPlan, match="got 2 malicious and 0 honest"):
        Discriminant().fit([case, case])
