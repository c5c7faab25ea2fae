"""Characters as identities: alphabets apart, pictures told apart, an oracle without training."""

import numpy as np
import pytest
import torch

from splitveil.data import load_data, load_training
from splitveil.data.glyphs import ALPHABETS, GlyphOracle, _drawn, glyphs
from splitveil.data.jitter import Jitter
from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng


def test_alphabets_share_no_character_and_are_large_enough() -> None:
    characters = "".join(ALPHABETS.values())
    assert len(set(characters)) == len(characters)
    assert [len(one) for one in ALPHABETS.values()] == [40, 54, 50]


def test_no_typeface_draws_an_empty_box_and_no_two_characters_are_drawn_alike() -> None:
    for alphabet in ALPHABETS:
        ink = _drawn(alphabet)
        assert float(ink.flatten(2).sum(2).min()) > 10
        assert float(ink[:, :, [0, -1]].amax()) == 0  # nothing is cut off
        own = ink.flatten(2)
        for face in own.unbind(1):
            apart = torch.cdist(face[None], face[None])[0] + 100 * torch.eye(len(face))
            assert float(apart.min()) > 3


def test_pictures_are_of_their_class_and_of_the_stream() -> None:
    found = glyphs("private", each=5, rng=Rng(3))
    assert found.x.shape == (200, 1, 32, 32)
    assert found.x.min() >= 0
    assert found.x.max() <= 1
    assert found.y is not None
    assert found.y.bincount().tolist() == [5] * 40
    assert torch.equal(found.x, glyphs("private", each=5, rng=Rng(3)).x)
    assert not torch.equal(found.x, glyphs("private", each=5, rng=Rng(4)).x)
    none = Jitter(degrees=0.0, scale=0.0, shear=0.0, shift=0.0, shade=0.0)
    still = glyphs("public", each=2, size=64, jitter=none)
    assert still.y is not None
    known = _drawn("public")
    nearest = (still.x - known[still.y]).abs().amax((2, 3)).amin(1)
    assert float(nearest.max()) < 1e-4


def test_the_oracle_names_pictures_it_never_saw_and_measures_how_far_others_are() -> None:
    found = glyphs("private", each=4, rng=Rng(11))
    assert found.y is not None
    oracle = GlyphOracle()
    assert float((oracle.named(found.x) == found.y).double().mean()) > 0.95
    own = oracle(found.x, found.y)
    other = oracle(found.x, (found.y + 7) % 40)
    assert float(own.mean()) + 0.2 < float(other.mean())
    darker = oracle(0.3 * found.x + 0.2, found.y)
    torch.testing.assert_close(darker, own, atol=1e-3, rtol=0)
    grey = oracle(torch.full_like(found.x, 0.5), found.y)
    assert float(grey.min()) == 1
    strangers = oracle.distances(glyphs("public", each=1).x).amin(1)
    assert float(strangers.mean()) > 0.2 + float(own.mean())


def test_they_are_sources_of_data() -> None:
    data = load_data("splitveil.data.glyphs:private", rng=Rng(0))
    assert data.size == (32, 32)
    assert len(data.class_names) == 40
    training = load_training("splitveil.data.glyphs:pretraining", rng=Rng(0))
    labels = training.train.y
    assert labels is not None
    assert np.unique(labels.numpy()).size == 50


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadPlan, match="one picture"):
        glyphs("private", each=0)
    with pytest.raises(BadPlan, match=r"below 0\.5"):
        Jitter(shade=0.6)
    with pytest.raises(BadPlan, match="one template"):
        GlyphOracle(templates=0)
    with pytest.raises(BadData, match="as many channels"):
        GlyphOracle().distances(torch.zeros(1, 3, 32, 32))
    with pytest.raises(BadData, match="are square"):
        GlyphOracle().distances(torch.zeros(1, 1, 32, 30))
