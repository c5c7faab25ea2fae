"""The adversarial decoder: sharper, no better in squared error, and out of the headline."""

from dataclasses import replace

import pytest
import torch
from attack_problems import Problem, partition_of
from torch import Tensor, nn

from splitveil.attacks import AdversarialDecoder, Decoder, SmallDecoder
from splitveil.errors import BadInput, BadPlan
from splitveil.nets.critic import Critic
from splitveil.rng import Rng
from splitveil.threat import Observation

PLAIN = SmallDecoder(epochs=4, width=8, batch=32, start="mean", learning_rate=5e-3)


def striped(n: int, seed: int) -> Tensor:
    """Stripes of one pixel, on or off, of which the mean of two neighbours is sent."""
    g = torch.Generator().manual_seed(seed)
    first = (torch.rand(n, 1, 8, 4, generator=g) < 0.5).float()
    return torch.stack([first, 1 - first], 4).flatten(3)


def test_it_is_sharper_and_stays_out_of_the_headline() -> None:
    """Only means of pairs cross: the least error is a grey picture, real ones are not grey."""
    head = nn.Sequential(nn.AvgPool2d((1, 2)), nn.Flatten())
    x, x_test = striped(300, 1), striped(100, 2)
    y = torch.zeros(300, dtype=torch.int64)
    p = Problem(partition_of(head, (1, 8, 4)), x, y, x_test, y[:100])
    seen = Observation(p.z_test, p.partition.cut.layout, p.y_test)
    attack = AdversarialDecoder(
        decoder=PLAIN, epochs=10, batch=32, fidelity=0.1, learning_rate=5e-3, width=8
    )
    sharp = attack.fit(p.knowledge(), Rng(0))(seen, Rng(0))
    plain = PLAIN.fit(p.knowledge(), Rng(0))(seen, Rng(0))
    contrast = [float((guess - 0.5).abs().mean()) for guess in (plain, sharp)]
    assert contrast[0] < 0.05
    assert contrast[1] > contrast[0] + 0.05
    errors = [float((guess - x_test).square().mean()) for guess in (plain, sharp)]
    assert errors[1] > errors[0]
    assert not AdversarialDecoder.headline
    assert Decoder.headline


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 24), (2, 5, 7)])
def test_the_critic_judges_each_image_by_itself(shape: tuple[int, ...]) -> None:
    with Rng(0).as_global():
        critic = Critic(shape, width=8)
    x = torch.rand(4, *shape)
    together = critic(x)
    assert together.shape == (4,)
    torch.testing.assert_close(critic(x[1:2]), together[1:2], atol=1e-5, rtol=1e-4)


def test_bad_input() -> None:
    x, y = torch.rand(30, 4), torch.zeros(30, dtype=torch.int64)
    p = Problem(partition_of(nn.Linear(4, 6), (6,)), x, y, x, y)
    attack = AdversarialDecoder(decoder=PLAIN)
    with pytest.raises(BadInput, match="rebuilds images"):
        attack.fit(p.knowledge(), Rng(0))
    for name, value in (("width", 9), ("critic_steps", 0), ("fidelity", -1.0), ("epochs", 0)):
        with pytest.raises(BadPlan):
            replace(attack, **{name: value})  # type: ignore[arg-type]
