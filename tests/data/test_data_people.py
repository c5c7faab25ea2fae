"""People as identities: crowds apart, pictures told apart, an oracle without training."""

from itertools import combinations

import pytest
import torch

from splitveil.data import load_data, load_training
from splitveil.data.jitter import Jitter
from splitveil.data.people import CROWDS, PersonOracle, _ink, attributes, people
from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng

STILL = Jitter(degrees=0.0, scale=0.0, shear=0.0, shift=0.0, shade=0.0)


def test_crowds_share_nobody_and_hold_every_race_and_gender_alike() -> None:
    everyone = [person for members in CROWDS.values() for person in members]
    assert everyone == [*range(144)]
    for crowd in CROWDS:
        told = attributes(crowd)
        assert len(told) == len(CROWDS[crowd])
        for kind, values in (("race", 4), ("gender", 2)):
            counts = torch.tensor(
                [[one[kind] for one in told].count(v) for v in {one[kind] for one in told}]
            )
            assert len(counts) == values
            assert int(counts.max() - counts.min()) <= 4


def test_no_two_people_share_more_than_half_of_their_features() -> None:
    kinds = ("skin", "head", "eye", "eyebrow", "nose", "hair", "hairColour", "beard")
    told = [one for crowd in CROWDS for one in attributes(crowd)]
    shared = max(
        sum(one[kind] == other[kind] for kind in kinds) for one, other in combinations(told, 2)
    )
    assert shared <= 4


def test_a_person_keeps_looks_that_a_mood_does_not_change() -> None:
    """Pictures of a person lie nearer each other than the same moods of others do."""
    ink = _ink("private", 1).flatten(2)
    own = torch.stack([torch.cdist(one, one).sum() / (12 * 11) for one in ink]).mean()
    middle = ink.median(1).values
    others = torch.cdist(middle, middle)
    assert float(own) < 0.75 * float(others.sum() / (40 * 39))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_of_their_class_and_of_the_stream(channels: int) -> None:
    found = people("private", each=5, channels=channels, rng=Rng(3))
    assert found.x.shape == (200, channels, 32, 32)
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert found.y is not None
    assert found.y.bincount().tolist() == [5] * 40
    assert torch.equal(found.x, people("private", each=5, channels=channels, rng=Rng(3)).x)
    assert not torch.equal(found.x, people("private", each=5, channels=channels, rng=Rng(4)).x)
    still = people("public", each=2, size=48, channels=channels, jitter=STILL)
    assert still.y is not None
    known = 1 - _ink("public", channels)[still.y]
    nearest = (still.x[:, None] - known).abs().amax((2, 3, 4)).amin(1)
    assert float(nearest.max()) < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_the_oracle_names_pictures_it_never_saw(channels: int) -> None:
    found = people("private", each=4, channels=channels, rng=Rng(11))
    assert found.y is not None
    oracle = PersonOracle(channels=channels)
    assert float((oracle.named(found.x) == found.y).double().mean()) > 0.9
    own = oracle(found.x, found.y)
    assert float(own.mean()) < float(oracle(found.x, (found.y + 7) % 40).mean())
    shaded = oracle(0.5 * found.x + 0.3, found.y)
    torch.testing.assert_close(shaded, own, atol=1e-3, rtol=0)
    strangers = oracle.distances(people("public", each=1, channels=channels).x).amin(1)
    assert float(strangers.mean()) > float(own.mean())


def test_they_are_sources_of_data() -> None:
    data = load_data("splitveil.data.people:private", rng=Rng(0))
    assert data.size == (32, 32)
    assert len(data.class_names) == 40
    training = load_training("splitveil.data.people:pretraining", rng=Rng(0))
    assert training.train.y is not None
    assert len(training.train.y.unique()) == 50


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadPlan, match="1 or 3 channels"):
        people("private", channels=2)
    with pytest.raises(BadPlan, match="one picture"):
        people("private", each=0)
    with pytest.raises(BadPlan, match="one template"):
        PersonOracle(templates=0)
    with pytest.raises(BadData, match="as many channels"):
        PersonOracle(channels=1).distances(torch.zeros(1, 3, 32, 32))
