"""Values left out: which are kept, and what they cost on the wire."""

import pytest
import torch

from splitveil.errors import BadData, BadPlan
from splitveil.release import Dropout, FloatCoder, TopK, parse_release
from splitveil.release.sparse import SparseCoder
from splitveil.rng import Rng


def test_the_largest_of_each_image_are_kept() -> None:
    z = torch.tensor([[3.0, -5.0, 1.0, 0.5], [100.0, 200.0, -300.0, 400.0]])
    sent = TopK(keep=0.5)(z, Rng(0).torch())
    assert sent.tolist() == [[3.0, -5.0, 0.0, 0.0], [0.0, 0.0, -300.0, 400.0]]


def test_an_image_is_sent_alike_in_any_batch() -> None:
    z = torch.randn(8, 30, generator=Rng(1).torch())
    together = TopK(keep=0.2)(z, Rng(0).torch())
    alone = torch.cat([TopK(keep=0.2)(row[None], Rng(0).torch()) for row in z])
    assert torch.equal(together, alone)
    assert together.count_nonzero(1).tolist() == [6] * 8


@pytest.mark.parametrize("keep", [0.01, 0.1, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_as_long_as_the_bits_say(keep: float, dtype: torch.dtype) -> None:
    release, z = TopK(keep=keep), torch.randn(5, 50, generator=Rng(2).torch(), dtype=dtype).relu()
    sent = release(z, Rng(0).torch())
    coder = release.coder(Rng(0).torch())
    rows = coder.rows(sent)
    if dtype is torch.float32:
        assert 0 <= 8 * rows.shape[1] - release.bits(50) < 8
    assert torch.equal(coder.restore(rows, 50, dtype), sent)
    assert torch.equal(coder.decode(coder.encode(sent)), sent)


def test_more_values_than_promised_are_refused() -> None:
    with pytest.raises(BadData, match="hold 3 values"):
        SparseCoder(2).rows(torch.ones(1, 3))
    with pytest.raises(BadData, match="payload holds"):
        SparseCoder(2).restore(SparseCoder(1).rows(torch.ones(1, 1)), 9, torch.float32)


def test_dropout_drops_its_share_and_keeps_the_rest_exact() -> None:
    z = 1 + torch.rand(400, 100, generator=Rng(3).torch())
    sent = Dropout(rate=0.3)(z, Rng(4).torch())
    gone = sent == 0
    error = (0.3 * 0.7 / z.numel()) ** 0.5
    assert float(gone.float().mean()) == pytest.approx(0.3, abs=5 * error)
    assert torch.equal(sent[~gone], z[~gone])


@pytest.mark.parametrize("keep", [0.0, 1.2])
def test_shares_out_of_range_are_refused(keep: float) -> None:
    with pytest.raises(BadPlan, match="keep is a share"):
        TopK(keep=keep)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_rates_out_of_range_are_refused(rate: float) -> None:
    with pytest.raises(BadPlan, match="rate is a probability"):
        Dropout(rate=rate)


def test_one_value_an_image_is_coded_like_many() -> None:
    z = torch.randn(7, 1, generator=Rng(5).torch(), dtype=torch.float64)
    coder = FloatCoder()
    assert torch.equal(coder.restore(coder.rows(z), 1, torch.float64), z)


@pytest.mark.parametrize("first", ["dropout(0.3)", "shuffle-tokens(3)"])
def test_noise_behind_chance_of_no_known_law_proves_nothing(first: str) -> None:
    z = torch.randn(60, 6, generator=Rng(2).torch())
    for text in (f"{first}+gaussian(1)", f"{first}+gaussian(1)+quantise(8)"):
        release = parse_release(text).fit(z)
        assert release.is_random
        assert not release.dominating().has_density
        assert release.log_prob(release(z, Rng(3).torch()), z) is None
    kept = parse_release("topk(0.5)+gaussian(1)").fit(z)
    assert kept.has_density
    assert not parse_release("topk(0.5)").fit(z).is_random
    assert parse_release(f"gaussian(1)+{first}").fit(z).dominating().has_density
