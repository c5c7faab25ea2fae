"""Releases as people write them, and chains."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitveil.errors import BadInput, BadPlan, UnknownName
from splitveil.release import (
    Chain,
    ChainedRelease,
    ClippedGaussian,
    DitheredQuantiser,
    Dropout,
    GaussianNoise,
    HalfPrecision,
    Identity,
    ReleaseRecipe,
    UniformQuantiser,
    parse_release,
)
from splitveil.rng import Rng

_SHARE = st.floats(1e-6, 1.0)
_STAGES: st.SearchStrategy[ReleaseRecipe] = st.one_of(
    st.just(Identity()),
    st.just(HalfPrecision()),
    st.builds(
        GaussianNoise,
        sigma=st.floats(1e-30, 1e30),
        clip=_SHARE,
        scale=st.sampled_from(["rms", "absolute"]),
    ),
    st.builds(UniformQuantiser, bits=st.integers(1, 8), clip=_SHARE),
    st.builds(DitheredQuantiser, bits=st.integers(1, 8), clip=_SHARE),
)


@given(st.lists(_STAGES, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_written_form_round_trips(stages: list[ReleaseRecipe]) -> None:
    recipe = stages[0] if len(stages) == 1 else Chain(tuple(stages))
    assert parse_release(str(recipe)) == recipe


def test_reads_class_names_and_loose_spacing() -> None:
    assert parse_release(" GaussianNoise( sigma = .5 , scale='rms' ) ") == GaussianNoise(sigma=0.5)
    assert parse_release("quantise(4) + dropout(.5)") == Chain(
        (UniformQuantiser(bits=4), Dropout(0.5))
    )
    assert parse_release("gaussian(1, clip=0.5)") == GaussianNoise(sigma=1.0, clip=0.5)
    assert parse_release("none") == parse_release("none()") == Identity()


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("gausian(sigma=1)", UnknownName, "did you mean gaussian"),
        ("gaussian(sigm=1)", UnknownName, "did you mean sigma"),
        ("gaussian(sigma=1, scale=rmss)", UnknownName, "did you mean rms"),
        ("gaussian", BadPlan, "needs a value for sigma"),
        ("gaussian(0.5,sigma=1)", BadPlan, "given twice"),
        ("none(1)", BadPlan, "takes 0 values"),
        ("topk(0.1,2)", BadPlan, "takes 1 values"),
        ("gaussian(sigma=x)", BadPlan, "needs a number"),
        ("gaussian(sigma=1,sigma=2)", BadPlan, "twice"),
        ("quantise(bits=3.5)", BadPlan, "whole number"),
        ("quantise(bits=9)", BadPlan, "between 1 and 8"),
        ("none(a=1)", UnknownName, "setting of none"),
        ("gaussian(sigma=1", BadPlan, "cannot read"),
        ("", BadPlan, "cannot read"),
        ("none+", BadPlan, "cannot read"),
    ],
)
def test_refuses_with_a_remedy(text: str, error: type[BadInput], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_release(text)


def _fit(text: str) -> ChainedRelease:
    release = parse_release(text).fit(torch.randn(100, 6, generator=Rng(1).torch()))
    assert isinstance(release, ChainedRelease)
    return release


def test_chain_is_dominated_by_its_noisy_part() -> None:
    noisy = _fit("gaussian(sigma=0.1)+quantise(bits=8)").dominating()
    assert isinstance(noisy, ClippedGaussian)
    last = _fit("half+gaussian(sigma=0.1)")
    assert last.dominating() is last
    assert last.has_density
    middle = _fit("half+gaussian(sigma=0.1)+quantise(bits=4)").dominating()
    assert middle.has_density
    silent = _fit("half+quantise(bits=4)")
    assert silent.dominating() is silent
    assert not silent.has_density


def test_chain_sends_what_its_last_stage_sends() -> None:
    release = _fit("gaussian(sigma=0.1)+quantise(bits=3)")
    z = torch.randn(50, 6, generator=Rng(2).torch())
    sent = release(z, Rng(3).torch())
    assert len(sent.unique()) <= 8
    assert release.bits(6) == 18
    assert release.capacity(6) <= min(stage.capacity(6) for stage in release.stages)
    assert release.capacity(6) <= 18 * math.log(2)


def test_empty_chain_is_refused() -> None:
    with pytest.raises(BadPlan, match="at least one"):
        Chain(())
