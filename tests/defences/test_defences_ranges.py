"""The strength of every release can be written as a range that `splitveil compare` sweeps."""

import pytest

from splitveil.audit.compare.span import Span
from splitveil.defences import Released, parse_components


@pytest.mark.parametrize(
    ("text", "middle"),
    [
        ("quantise(8..2)", "quantise(bits=4)"),
        ("quantise(bits=8..2,clip=0.9)", "quantise(bits=4, clip=0.9)"),
        ("dither(8..2)", "dither(bits=4)"),
        ("topk(keep=0.5..0.02)", "topk(keep=0.1)"),
        ("dropout(0.1..0.9)", "dropout(rate=0.3)"),
        ("gaussian(0.1..10)", "gaussian(sigma=1.0)"),
        ("laplace(sigma=0.1..10)", "laplace(sigma=1.0)"),
        ("gaussian-dp(1e3..1e1)", "gaussian-dp(epsilon=100.0)"),
        ("gaussian-dp(epsilon=100,sends=1..9)", "gaussian-dp(epsilon=100.0, sends=3)"),
        ("laplace-dp(1e3..1e1)", "laplace-dp(epsilon=100.0)"),
        ("shaped(1..0.01)", "shaped(rate=0.1)"),
        ("calibrated(0.001..0.1)", "calibrated(0.01)"),
        ("calibrated(0.01,sends=1..9)", "calibrated(0.01,sends=3)"),
        ("fisher(1000..10,shape=values)", "fisher(100,shape=values)"),
        ("utility-noise(0.1..10)", "utility-noise(1)"),
        ("shredder(0.1,start=0.1..10)", "shredder(0.1,start=1.0)"),
        ("noise(0.1..10)+quantise(bits=8)", "noise(1)+quantise(bits=8)"),
    ],
)
def test_a_range_is_swept(text: str, middle: str) -> None:
    span = Span.read(text)
    assert span.varies
    for place in (0.0, 0.25, 1.0):
        assert parse_components(span.at(place))
    found = parse_components(span.at(0.5))
    assert found == parse_components(middle)
    assert str(span) == text or span.whole or "e" in text


def test_a_release_by_its_own_form_is_trained_with() -> None:
    (found,) = parse_components("quantise(4)")
    assert isinstance(found, Released)
    assert parse_components(str(found)) == (found,)
