"""Packing is a bijection, whatever the axis, the rows an image has, and the type."""

from typing import Any

import pytest
import torch
from handmade import BatchSecond, Integers, Windows
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from splitveil.errors import BadInput
from splitveil.partition import Layout, Part, trace
from splitveil.rng import Rng

DTYPES = ("float32", "float64", "float16", "bfloat16", "bool", "uint8", "int16", "int32", "int64")


@st.composite
def settings_of_parts(draw: st.DrawFn) -> dict[str, Any]:
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=0, max_size=3)))
    dims = len(shape) + 1
    return {
        "name": draw(st.sampled_from("abc")),
        "shape": shape,
        "axis": draw(st.integers(0, dims - 1)),
        "multiplicity": draw(st.integers(1, 3)),
        "dtype": draw(st.sampled_from(DTYPES)),
        "interleaved": draw(st.booleans()),
        "strides": tuple(draw(st.permutations(range(dims)))) if draw(st.booleans()) else (),
    }


def tensor_of(part: Part, n: int, key: int) -> Tensor:
    shape = list(part.shape)
    shape.insert(part.axis, part.multiplicity * n)
    dtype: torch.dtype = getattr(torch, part.dtype)
    values = torch.randn(shape, generator=Rng(key).child(part.name).torch(), dtype=torch.float64)
    if dtype.is_floating_point:
        return values.to(dtype)
    return values > 0 if part.dtype == "bool" else (values.abs() * 50).to(dtype)


@given(st.lists(settings_of_parts(), min_size=1, max_size=3), st.integers(1, 4), st.integers(0, 99))
def test_unpack_inverts_pack(given_parts: list[dict[str, Any]], n: int, key: int) -> None:
    found = [Part(**settings) for settings in given_parts]
    layout = Layout(tuple(found))
    tensors = [tensor_of(part, n, key + i) for i, part in enumerate(found)]
    z = layout.pack(tensors)
    assert z.shape == (n, layout.size)
    assert z.is_floating_point()
    for tensor, again in zip(tensors, layout.unpack(z), strict=True):
        assert again.dtype == tensor.dtype
        assert torch.equal(again, tensor)


@given(settings_of_parts(), st.integers(2, 4))
def test_a_row_of_z_is_one_image(settings: dict[str, Any], n: int) -> None:
    part = Part(**settings)
    layout = Layout((part,))
    tensor = torch.zeros_like(tensor_of(part, n, 0))
    rows = (
        range(1, part.multiplicity * n, n)
        if part.interleaved
        else range(part.multiplicity, 2 * part.multiplicity)
    )
    tensor.movedim(part.axis, 0)[list(rows)] = 1
    z = layout.pack([tensor])
    assert (z[1] == 1).all()
    assert z.sum() == layout.size


def test_pack_passes_gradients_and_keeps_the_networks_own_precision() -> None:
    layout = Layout((Part("a", (2,)), Part("b", (3, 2), axis=1)))
    a = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    b = torch.ones(3, 4, 2, dtype=torch.float64, requires_grad=True)
    z = layout.pack([a, b])
    assert z.dtype is torch.float64
    sum(part.sum() for part in layout.unpack(z)).backward()  # type: ignore[union-attr]
    assert a.grad is not None
    assert b.grad is not None
    assert torch.equal(b.grad, torch.ones_like(b))


def test_whole_numbers_survive_small_noise_and_refuse_what_does_not_fit() -> None:
    layout = Layout((Part("chosen", (4,), dtype="int64"), Part("mask", (4,), dtype="bool")))
    chosen, mask = torch.arange(8).reshape(2, 4), torch.tensor([[True, False, True, False]] * 2)
    z = layout.pack([chosen, mask])
    again = layout.unpack(z + 0.3)
    assert torch.equal(again[0], chosen)
    assert torch.equal(again[1], mask)
    with pytest.raises(BadInput, match="2\\^53"):
        layout.pack([chosen + 2**60, mask])


def test_wrong_shapes_are_named() -> None:
    layout = Layout((Part("a", (2,), multiplicity=3),))
    with pytest.raises(BadInput, match=r"\(n, 6\), got \(2, 5\)"):
        layout.unpack(torch.zeros(2, 5))
    with pytest.raises(BadInput, match="1 tensors cross this cut, got 2"):
        layout.pack([torch.zeros(3, 2)] * 2)
    with pytest.raises(BadInput, match="multiple of 3 rows"):
        layout.pack([torch.zeros(4, 2)])


def test_batch_axis_is_found_where_it_lies(images: Tensor) -> None:
    traced = trace(BatchSecond().eval(), images)
    (part,) = traced.cut("encoder.layers.0").layout.parts
    assert (part.axis, part.shape, part.multiplicity) == (1, (17, 16), 1)
    (part,) = traced.cut("patches").layout.parts
    assert (part.axis, part.shape) == (0, (16, 4, 4))


def test_windows_belong_to_their_image(images: Tensor) -> None:
    traced = trace(Windows().eval(), images)
    (first,) = traced.cut("relu").layout.parts
    (second,) = traced.cut("tanh").layout.parts
    assert (first.multiplicity, first.interleaved) == (4, False)
    assert (second.multiplicity, second.interleaved) == (4, True)
    head = traced.split(traced.cut("tanh")).head
    with torch.no_grad():
        alone = torch.cat([head(image[None]) for image in images])
        torch.testing.assert_close(head(images), alone)


def test_numbers_of_every_type_cross_by_value(images: Tensor) -> None:
    traced = trace(Integers().eval(), images)
    kinds = {part.dtype for cut in traced.prefixes() for part in cut.layout.parts}
    assert {"float32", "int64", "bool"} <= kinds
