"""An attack on logarithms undoes a softmax."""

import pytest
import torch
from torch import Tensor, nn

from splitveil.attacks import Likelihood, LogScores, Ridge
from splitveil.attacks.base import Attack
from splitveil.attacks.log_scores import logarithms
from splitveil.errors import BadPlan
from splitveil.measures import mse_per_image
from splitveil.partition.layout import Layout, Part
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, only_pairs

_LAYOUT = Layout((Part("scores", (6,)),))


def vectors() -> tuple[Tensor, Tensor]:
    """Own and private vectors of 12 correlated values."""
    draw = torch.randn(400, 12, generator=Rng(1).torch())
    mix = torch.randn(12, 12, generator=Rng(2).torch())
    x = draw @ mix
    return x[:300], x[300:]


def error(attack: Attack, own: tuple[Tensor, Tensor], private: tuple[Tensor, Tensor]) -> float:
    fitted = attack.fit(only_pairs(Auxiliary(own[0]), own[1], _LAYOUT), Rng(3))
    made = fitted(Observation(private[1][:, None], _LAYOUT), Rng(4))
    return float(mse_per_image(made, private[0]).mean())


def test_on_exponentials_it_is_the_attack_on_what_they_are_of() -> None:
    own, private = vectors()
    with Rng(5).as_global():
        head = nn.Linear(12, 6)
    with torch.no_grad():
        scores = (head(own), head(private))
    plain = error(Ridge(), (own, scores[0]), (private, scores[1]))
    undone = error(LogScores(attack=Ridge()), (own, scores[0].exp()), (private, scores[1].exp()))
    assert undone == pytest.approx(plain, rel=1e-4)


def test_it_beats_the_same_attack_on_probabilities_that_are_nearly_one() -> None:
    own, private = vectors()
    with Rng(5).as_global():
        head = nn.Linear(12, 6)
    with torch.no_grad():
        sure = [(8 * head(x)).softmax(1) for x in (own, private)]
    blunt = error(Ridge(), (own, sure[0]), (private, sure[1]))
    sharp = error(LogScores(attack=Ridge()), (own, sure[0]), (private, sure[1]))
    assert sharp < 0.8 * blunt


def test_nothing_is_infinite() -> None:
    logs = logarithms(torch.tensor([1.0, 0.0, -2.0, 1e-45]))
    assert torch.isfinite(logs).all()
    assert logs[0] == 0
    assert logs[1:].unique().numel() == 1


def test_an_attack_that_needs_more_than_pairs_is_refused() -> None:
    with pytest.raises(BadPlan, match="Likelihood needs WhiteBox"):
        LogScores(attack=Likelihood())
