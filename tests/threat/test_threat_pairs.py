import pytest
import torch
from torch import nn

from splitveil.attacks import Decoder, Likelihood, Ridge
from splitveil.errors import BadInput, KnowledgeMissing
from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release import Identity
from splitveil.rng import Rng
from splitveil.threat import (
    Auxiliary,
    BlackBox,
    Observation,
    Pairs,
    QueryFree,
    Recorded,
    WhiteBox,
    only_pairs,
    white_box,
)

LAYOUT = Layout((Part("z", (3, 4, 4)),))


def setting() -> tuple[Auxiliary, torch.Tensor, WhiteBox]:
    generator = Rng(0, ("pairs",)).torch()
    x = torch.rand(60, 1, 8, 8, generator=generator)
    with Rng(1).as_global():
        head = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1), nn.Flatten()).eval()
    cut = Cut("id", "cut", CutKind.CONVOLUTION, 1.0, LAYOUT)
    whole = white_box(Partition(cut, head, Identity(), nn.Identity()), Auxiliary(x))
    return Auxiliary(x), head(x).detach(), whole


def test_pairs_lie_between_query_free_and_black_box() -> None:
    auxiliary, z, whole = setting()
    pairs = only_pairs(auxiliary, z, LAYOUT)
    assert isinstance(pairs, QueryFree)
    assert not isinstance(pairs, BlackBox)
    assert isinstance(whole, Pairs)
    assert not hasattr(pairs, "head")
    with pytest.raises(KnowledgeMissing, match="no part of the network"):
        pairs.tail(z)


def test_recorded_answers_in_any_order_and_refuses_other_images() -> None:
    auxiliary, z, _ = setting()
    known = Recorded(auxiliary.x, z)
    order = torch.tensor([7, 3, 3, 59])
    assert torch.equal(known(auxiliary.x[order], Rng(0)), z[order])
    assert known.used == 4
    assert known.limit is None
    with pytest.raises(KnowledgeMissing, match="only pairs are known"):
        known(auxiliary.x[:1].flip(-1), Rng(0))
    assert known.used == 4


def test_recorded_gives_one_image_one_answer() -> None:
    x = torch.zeros(2, 5)
    assert torch.equal(Recorded(x, torch.tensor([[1.0], [2.0]]))(x, Rng(0)), torch.ones(2, 1))


def test_recorded_wants_one_z_for_each_image() -> None:
    with pytest.raises(BadInput, match="2 features for 3 images"):
        Recorded(torch.zeros(3, 5), torch.zeros(2, 4))


def test_an_attack_on_pairs_answers_as_on_the_model() -> None:
    auxiliary, z, whole = setting()
    seen = Observation(z[:5, None] + 0.01, LAYOUT)
    answers = [
        Ridge().fit(knowledge, Rng(2))(seen, Rng(3))
        for knowledge in (only_pairs(auxiliary, z, LAYOUT, knows_label=False), whole)
    ]
    torch.testing.assert_close(*answers, atol=1e-5, rtol=0)


def test_a_decoder_goes_without_mirrored_images_it_cannot_encode() -> None:
    auxiliary, z, _ = setting()
    pairs = only_pairs(auxiliary, z, LAYOUT)
    seen = Observation(z[:5, None], LAYOUT)
    plain, asked = (
        Decoder(epochs=1, width=8, depth=1, flips=flips).fit(pairs, Rng(2))(seen, Rng(3))
        for flips in (False, True)
    )
    assert torch.equal(plain, asked)


def test_an_attack_that_needs_the_head_is_refused() -> None:
    auxiliary, z, _ = setting()
    with pytest.raises(KnowledgeMissing, match="Likelihood needs WhiteBox knowledge, got Pairs"):
        Likelihood().fit(only_pairs(auxiliary, z, LAYOUT), Rng(0))
