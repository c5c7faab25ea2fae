"""Quantisers and payload coding."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from splitveil.errors import BadData, BadPlan
from splitveil.release import (
    DitheredQuantiser,
    FloatCoder,
    HalfPrecision,
    Identity,
    Lattice,
    RoundedFeatures,
    UniformQuantiser,
    coded_bits,
)
from splitveil.release.coding import pack, unpack
from splitveil.rng import Rng


def _uniform(n: int, f: int) -> torch.Tensor:
    return torch.rand(n, f, generator=Rng(1).torch(), dtype=torch.float64)


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_rounds_to_the_nearest_of_two_to_the_bits_levels(bits: int) -> None:
    z = _uniform(500, 40)
    release = UniformQuantiser(bits=bits, clip=1.0).fit(z)
    sent = release(z, Rng(2).torch())
    assert len(sent.unique()) == 2**bits
    inside = (z >= release.lattice.low) & (z <= release.lattice.high)
    assert float((sent - z)[inside].abs().max()) <= release.lattice.step / 2 * (1 + 1e-6)
    assert torch.equal(release(sent, Rng(2).torch()), sent)


def test_rounding_error_of_uniform_values_is_step_squared_over_twelve() -> None:
    z = _uniform(2000, 50)
    release = RoundedFeatures(Lattice(low=1 / 16, step=1 / 8, bits=3))
    squared = (release(z, Rng(2).torch()) - z).square().mean()
    assert float(squared) == pytest.approx(1 / 8**2 / 12, rel=5 * math.sqrt(0.8 / z.numel()))


def test_zero_stays_zero_behind_a_relu() -> None:
    z = (torch.randn(300, 30, generator=Rng(1).torch())).relu()
    sent = UniformQuantiser(bits=4).fit(z)(z, Rng(2).torch())
    assert bool((sent[z == 0] == 0).all())


def test_constant_features_come_back_exactly() -> None:
    z = torch.full((5, 3), 0.7)
    assert torch.equal(UniformQuantiser(bits=8).fit(z)(z, Rng(0).torch()), z)


def test_values_outside_go_to_the_ends() -> None:
    release = RoundedFeatures(Lattice(low=0.0, step=1.0, bits=2))
    sent = release(torch.tensor([[-9.0, 1.4, 99.0]]), Rng(0).torch())
    assert sent.tolist() == [[0.0, 1.0, 3.0]]


def test_dither_makes_the_error_uniform_and_independent() -> None:
    z = _uniform(4000, 1)
    release = DitheredQuantiser(bits=2, clip=1.0).fit(z)
    sent = release(z, Rng(5).torch())
    error = ((sent - z.clamp(release.lattice.low, release.lattice.high)) / release.lattice.step)[
        :, 0
    ].numpy()
    assert stats.kstest(error, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(error, z[:, 0])[0, 1]) < 5 / math.sqrt(4000)


def test_dither_density_is_uniform_on_the_cell_and_nothing_outside() -> None:
    release = DitheredQuantiser(bits=2, clip=1.0).fit(_uniform(100, 3))
    z = torch.full((2, 3), 0.5, dtype=torch.float64)
    sent = z.clone()
    sent[1, 2] += 0.51 * release.lattice.step
    values = release.log_prob(sent, z)
    assert float(values[0]) == pytest.approx(-3 * math.log(release.lattice.step))
    assert float(values[1]) == -math.inf


def test_half_precision_clamps_to_its_range() -> None:
    sent = HalfPrecision()(torch.tensor([[1e9, -1e9, 0.1]]), Rng(0).torch())
    assert bool(torch.isfinite(sent).all())
    assert float(sent[0, 2]) == pytest.approx(0.1, rel=1e-3)


@given(
    st.integers(1, 8).flatmap(
        lambda bits: st.tuples(
            st.just(bits),
            st.integers(1, 5).flatmap(
                lambda f: st.lists(
                    st.lists(st.integers(0, 2**bits - 1), min_size=f, max_size=f),
                    min_size=1,
                    max_size=4,
                )
            ),
        )
    )
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_packing_is_lossless_and_tight(case: tuple[int, list[list[int]]]) -> None:
    bits, rows = case
    levels = np.array(rows, np.uint8)
    packed = pack(levels, bits)
    assert packed.shape == (len(rows), math.ceil(levels.shape[1] * bits / 8))
    assert np.array_equal(unpack(packed, levels.shape[1], bits), levels)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_floats_of_every_width_survive(dtype: torch.dtype) -> None:
    z = torch.randn(5, 7, generator=Rng(1).torch()).to(dtype)
    z[0, 0] = 0
    coder = FloatCoder()
    back = coder.decode(coder.encode(z))
    assert back.dtype == dtype
    assert torch.equal(back, z)


def test_coding_refuses_what_the_release_did_not_send() -> None:
    release = UniformQuantiser(bits=4).fit(_uniform(50, 4))
    with pytest.raises(BadData, match="lattice"):
        release.coder(Rng(0).torch()).encode(_uniform(2, 4))
    with pytest.raises(BadData, match="fit"):
        FloatCoder(torch.float16).encode(torch.tensor([[0.1]]))


@pytest.mark.parametrize("damage", ["cut", "mark", "body", "empty"])
def test_damaged_payload_is_refused(damage: str) -> None:
    payload = FloatCoder().encode(torch.ones(3, 4))
    broken = {
        "cut": payload[:-3],
        "mark": b"nope" + payload[4:],
        "body": payload[:21] + b"\0\0\0" + payload[24:],
        "empty": b"",
    }[damage]
    with pytest.raises(BadData, match="payload"):
        FloatCoder().decode(broken)


def test_payload_of_the_wrong_width_is_refused() -> None:
    payload = UniformQuantiser(bits=4).fit(_uniform(50, 4)).coder(Rng(0).torch())
    with pytest.raises(BadData, match="bytes an image"):
        payload.decode(FloatCoder().encode(torch.ones(3, 4)))


def test_coded_bits_fall_for_sparse_features_and_rise_for_noise() -> None:
    z = torch.randn(40, 2000, generator=Rng(1).torch())
    release = UniformQuantiser(bits=8).fit(z)
    dense = coded_bits(release.coder(Rng(0).torch()), release(z, Rng(0).torch()))
    sparse_z = z * (z > 1.5)
    release = UniformQuantiser(bits=8).fit(sparse_z)
    sparse = coded_bits(release.coder(Rng(0).torch()), release(sparse_z, Rng(0).torch()))
    assert sparse.high < 0.5 * dense.low
    assert sparse.high < release.bits(2000)
    single = coded_bits(Identity().coder(Rng(0).torch()), z[:1])
    assert single.low == 0
    assert single.high == math.inf


@pytest.mark.parametrize("bits", [0, 9])
@pytest.mark.parametrize("recipe", [UniformQuantiser, DitheredQuantiser])
def test_refuses_bits_outside_one_to_eight(
    recipe: type[UniformQuantiser | DitheredQuantiser], bits: int
) -> None:
    with pytest.raises(BadPlan, match="between 1 and 8"):
        recipe(bits=bits)
