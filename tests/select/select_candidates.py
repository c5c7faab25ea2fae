"""Candidates made by hand and by hypothesis."""

from typing import Any

from hypothesis import strategies as st

from splitveil.quantities import Kind, Quantity
from splitveil.select import Candidate


def quantity(low: float, high: float, unit: str = "share") -> Quantity:
    return Quantity(
        value=(low + high) / 2, low=low, high=high, unit=unit, kind=Kind.MEASURED, n=100
    )


def candidate(cut: str = "a", **changes: object) -> Candidate:
    settings: dict[str, object] = {
        "cut": cut,
        "name": cut,
        "depth": 0.5,
        "release": "Identity()",
        "leakage": quantity(0.2, 0.3),
        "attack": "Ridge()",
        "accuracy": quantity(0.8, 0.9),
        "latency": quantity(0.01, 0.02, "s"),
        "latency_p95": quantity(0.01, 0.02, "s"),
        "payload": 1000,
        "memory": 4000,
        "edge_parameters": 500,
    }
    if "latency" in changes:
        changes = {"latency_p95": changes["latency"], **changes}
    return Candidate(**{**settings, **changes})  # type: ignore[arg-type]


# Strategies give plain data: the run-time type checker draws random numbers when an object is made,
# which hypothesis forbids while it draws.
Raw = dict[str, Any]

_ENDS = st.tuples(st.integers(0, 8), st.integers(0, 2)).map(lambda p: (p[0] / 10, sum(p) / 10))
_COUNTS = st.integers(0, 9)
_UNITS = {
    "leakage": "share",
    "accuracy": "share",
    "latency": "s",
    "latency_p95": "s",
    "edge_seconds": "s",
}

_plain: Raw = {
    "cut": st.text("abcdef", min_size=3, max_size=3),
    "leakage": _ENDS,  # few distinct numbers, so that ties and touching ends are common
    "accuracy": st.none() | _ENDS,
    "edge_seconds": _ENDS,
    "memory": st.none() | _COUNTS,
    "edge_parameters": _COUNTS,
    "missing": st.sampled_from([(), (), ("Decoder()",)]),
}
raw_candidates = st.fixed_dictionaries(
    {**_plain, "latency": _ENDS, "latency_p95": _ENDS, "payload": _COUNTS, "energy": _COUNTS}
) | st.fixed_dictionaries(
    {
        **_plain,
        "latency": st.none(),
        "latency_p95": st.none(),
        "payload": st.none() | _COUNTS,
        "energy": st.none() | _COUNTS,
    }
)
raw_pools = st.lists(raw_candidates, max_size=8, unique_by=lambda one: one["cut"])

_tenths = st.none() | st.integers(0, 10).map(lambda n: n / 10)
raw_limits = st.fixed_dictionaries(
    {
        **dict.fromkeys(("max_leakage", "min_accuracy", "max_latency"), _tenths),
        **dict.fromkeys(
            ("max_payload", "max_memory", "max_edge_parameters", "max_energy"),
            st.none() | _COUNTS,
        ),
    }
)


def build(raw: Raw) -> Candidate:
    numbers = {
        name: quantity(raw[name][0], raw[name][1], unit) if raw[name] is not None else None
        for name, unit in _UNITS.items()
    }
    return candidate(**{**raw, **numbers})


def build_pool(raw: list[Raw]) -> list[Candidate]:
    return [build(one) for one in raw]
