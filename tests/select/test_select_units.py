"""Numbers with units: read as meant, or refused with what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitveil.errors import BadPlan
from splitveil.select.units import bits_per_second, byte_count, count, seconds, share, written


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (seconds, "20ms", 0.02),
        (seconds, " 1.5 s ", 1.5),
        (seconds, "500us", 5e-4),
        (seconds, "500\N{MICRO SIGN}s", 5e-4),
        (seconds, "2min", 120.0),
        (seconds, "0ms", 0.0),
        (bits_per_second, "10Mbit", 1e7),
        (bits_per_second, "10Mbit/s", 1e7),
        (bits_per_second, "10mbit", 1e7),
        (bits_per_second, "10Mbps", 1e7),
        (bits_per_second, "1.25MB/s", 1e7),
        (bits_per_second, "1.25MBps", 1e7),
        (bits_per_second, "1e3 kbit", 1e6),
        (byte_count, "1.5MB", 1.5e6),
        (byte_count, "2KiB", 2048.0),
        (byte_count, "100B", 100.0),
        (count, "250000", 250000.0),
        (count, "1.5M", 1.5e6),
        (share, "0.88", 0.88),
        (share, "88%", 0.88),
        (share, "1", 1.0),
    ],
)
def test_read(read: object, text: str, value: float) -> None:
    assert callable(read)
    assert read(text, "--x") == pytest.approx(value)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (seconds, "20"),
        (seconds, "-5ms"),
        (seconds, "20MS"),
        (seconds, "ms"),
        (seconds, ""),
        (seconds, "nan s"),
        (seconds, "1e999s"),
        (seconds, "20 ms or so"),
        (bits_per_second, "10"),
        (bits_per_second, "0Mbit"),
        (bits_per_second, "10MB"),
        (bits_per_second, "10mb"),
        (byte_count, "10Mb"),
        (byte_count, "10mb"),
        (byte_count, "10Mbit"),
        (byte_count, "5"),
        (count, "many"),
        (count, "1.5m"),
        (share, "1.2"),
        (share, "120%"),
        (share, "-0.1"),
    ],
)
def test_refused_with_the_option_and_what_came(read: object, text: str) -> None:
    assert callable(read)
    with pytest.raises(BadPlan, match="--limit") as caught:
        read(text, "--limit")
    assert f"'{text}'" in str(caught.value)


@given(st.floats(1e-9, 1e6))
def test_what_is_written_can_be_read_again(value: float) -> None:
    assert seconds(written(value, "s"), "x") == pytest.approx(value, rel=1e-3)
    assert byte_count(written(value, "B"), "x") == pytest.approx(value, rel=1e-3)
    assert count(written(value, ""), "x") == pytest.approx(value, rel=1e-3)
