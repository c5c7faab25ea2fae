"""Decoders against exact least errors."""

import pytest

from splitveil.attacks import Decoder, Ridge, SmallDecoder
from splitveil.attacks.base import Attack
from splitveil.rng import Rng
from splitveil.testing.oracles import GaussianMixture, LinearGaussian
from splitveil.testing.oracles.vectors import vector_knowledge, vector_observation


@pytest.mark.parametrize("sigma", [0.1, 1.0])
@pytest.mark.parametrize(
    "attack", [Decoder(epochs=2, width=32, batch=256), SmallDecoder(epochs=2, batch=256)]
)
def test_within_two_percent_of_the_linear_gaussian_minimum(sigma: float, attack: Attack) -> None:
    problem = LinearGaussian.random(5, 7, Rng(1), sigma=sigma)
    fitted = attack.fit(problem.knowledge(8000, Rng(2)), Rng(3))
    observation, x = problem.observe(20_000, Rng(4))
    error = float((fitted(observation, Rng(5)) - x).double().square().mean())
    assert error == pytest.approx(problem.mmse, rel=0.02)


def test_within_five_percent_of_the_mixture_minimum() -> None:
    """The posterior mean of a mixture is far from linear: the ridge is two fifths off."""
    problem = GaussianMixture.random(4, 3, 2, Rng(5), sigma=0.3)
    partition = problem.partition()
    x = problem.draw(8_000, Rng(6))[0].float()
    partition.head.float()
    attack = Decoder(epochs=12, width=32, batch=256, learning_rate=1e-2)
    fitted = attack.fit(vector_knowledge(partition, x), Rng(7))
    hidden = problem.draw(20_000, Rng(8))[0].float()
    observation = vector_observation(partition, hidden, 1, Rng(9))
    error = float((fitted(observation, Rng(0)) - hidden).double().square().mean())
    exact, _ = problem.sampled(20_000, Rng(10))
    answer = problem.posterior_mean(observation.z[:, 0].double())
    least = float((answer - hidden).square().mean())
    assert least == pytest.approx(exact.value, rel=0.05)
    assert error < 1.05 * least
    linear = Ridge().fit(vector_knowledge(partition, x), Rng(7))(observation, Rng(0))
    assert float((linear - hidden).square().mean()) > 1.3 * least
