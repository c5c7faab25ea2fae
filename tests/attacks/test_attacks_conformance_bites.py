"""The conformance suite accepts a plain third-party attack and catches each way of breaking it."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.testing.conformance.attacks import AttackConformance, small_case
from splitveil.threat import Observation, QueryFree, WhiteBox

Change = Callable[[Tensor, Observation, Rng], Tensor]


class Answer(Reconstructor):
    def __init__(self, image: Tensor, change: Change) -> None:
        self._image, self._change = image, change

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        image = self._image.expand(len(observation.z), *self._image.shape).clone()
        return self._change(image, observation, rng)


def keep(image: Tensor, observation: Observation, rng: Rng) -> Tensor:
    return image


@dataclass(frozen=True, kw_only=True)
class MedianImage(Attack):
    """The pixel-wise median of the auxiliary images, with a way to go wrong."""

    requires: ClassVar[type[QueryFree]] = QueryFree
    reference: ClassVar[str] = "a floor that outliers do not move"

    change: Change = keep

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        return Answer(knowledge.auxiliary.x.median(dim=0).values, self.change)


class TestMedianImage(AttackConformance):
    @pytest.fixture
    def attack(self) -> Attack:
        return MedianImage()

    def test_prints_and_pickles(self, attack: Attack) -> None:
        """Its repr names a function, which nothing can rebuild; the rest holds."""
        assert repr(attack).startswith("MedianImage(change=<function keep")
        assert pickle.loads(pickle.dumps(attack)) == attack
        assert attack != MedianImage(change=spoil_input)


class Trains(MedianImage):
    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        assert isinstance(knowledge, WhiteBox)
        knowledge.head.train()
        return MedianImage.fit(self, knowledge, rng)


class Reaching(MedianImage):
    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        knowledge.oracle(knowledge.auxiliary.x, rng)  # type: ignore[attr-defined]
        return MedianImage.fit(self, knowledge, rng)


def spoil_input(image: Tensor, observation: Observation, rng: Rng) -> Tensor:
    observation.z.add_(1)
    return image


def broken(change: Change) -> MedianImage:
    return MedianImage(change=change)


BREACHES: list[tuple[MedianImage, str]] = [
    (broken(lambda x, o, r: x.flatten(1)), "test_shape_type_and_range"),
    (broken(lambda x, o, r: x.double()), "test_shape_type_and_range"),
    (broken(lambda x, o, r: x + 1), "test_shape_type_and_range"),
    (broken(lambda x, o, r: x * torch.nan), "test_shape_type_and_range"),
    (broken(lambda x, o, r: x.requires_grad_()), "test_shape_type_and_range"),
    (broken(lambda x, o, r: torch.rand_like(x)), "test_same_stream_same_bits"),
    (broken(lambda x, o, r: torch.rand_like(x)), "test_touches_nothing"),
    (broken(spoil_input), "test_touches_nothing"),
    (broken(lambda x, o, r: x + len(x) / 100), "test_images_do_not_depend_on_their_batch"),
    (broken(lambda x, o, r: x[:1]), "test_empty_batch"),
    (broken(lambda x, o, r: x.repeat(o.z.shape[1], 1, 1, 1)), "test_several_sends"),
    (broken(lambda x, o, r: x), "test_prints_and_pickles"),
    (Trains(), "test_touches_nothing"),
    (Reaching(), "test_needs_no_more_than_it_requires"),
]


@pytest.mark.parametrize(
    ("attack", "name"),
    BREACHES,
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_breach_is_caught(attack: MedianImage, name: str) -> None:
    check = getattr(AttackConformance(), name)
    arguments = {} if name == "test_prints_and_pickles" else {"case": small_case()}
    if name == "test_empty_batch":
        attack = broken(lambda x, o, r: x.new_zeros(1, *x.shape[1:]))
    with pytest.raises((AssertionError, AttributeError, SyntaxError)):
        check(attack=attack, **arguments)
