"""What `splitveil select` was asked, from the words of the command line."""

from collections.abc import Sequence
from pathlib import Path

from splitveil.errors import BadPlan
from splitveil.select import (
    Chebyshev,
    Energy,
    Knee,
    Lexicographic,
    Limits,
    Link,
    link_of_trace,
    read_trace,
)
from splitveil.select.prefer import Preference
from splitveil.select.units import bits_per_second, byte_count, count, error, joules, seconds, share

_READERS = {
    "max_leakage": share,
    "min_accuracy": share,
    "max_latency": seconds,
    "max_payload": byte_count,
    "max_memory": byte_count,
    "max_edge_parameters": count,
    "max_energy": joules,
    "min_bound": error,
}


def limits_of(**texts: str | None) -> Limits:
    """The limits that were given.

    Raises:
        BadPlan: naming the option that cannot be read.
    """
    return Limits(
        **{
            name: _READERS[name](text, f"--{name.replace('_', '-')}")
            for name, text in texts.items()
            if text is not None
        }
    )


def links_of(
    bandwidths: Sequence[str], traces: Sequence[Path], rtt: str | None, limits: Limits
) -> tuple[Link, ...]:
    """The ways to the cloud, none where no bandwidth is given.

    Raises:
        BadPlan: if one cannot be read, two are the same, or a limit or a round trip needs the
            bandwidth that is missing.
    """
    trip = 0.0 if rtt is None else seconds(rtt, "--rtt")
    constant = [
        Link(bandwidth=bits_per_second(text, "--bandwidth"), round_trip=trip) for text in bandwidths
    ]
    traced = [link_of_trace(read_trace(p), round_trip=trip, name=str(p)) for p in traces]
    links = (*constant, *traced)
    labels = [link.label for link in links]
    for label in labels:
        if labels.count(label) > 1:
            raise BadPlan(f"the bandwidth {label} was given twice: give each once")
    if not links:
        for given, name in ((limits.max_latency, "--max-latency"), (rtt, "--rtt")):
            if given is not None:
                raise BadPlan(
                    f"{name} needs --bandwidth, such as 10Mbit: bytes take time on the wire"
                )
    return links


def energy_of(per_gflop: float | None, per_megabyte: float | None, limits: Limits) -> Energy | None:
    """The joules of the device, None where none were given.

    Raises:
        BadPlan: if they make no sense, or a limit needs those that are missing.
    """
    if per_gflop is None and per_megabyte is None:
        if limits.max_energy is not None:
            raise BadPlan("--max-energy needs --joules-per-gflop, --joules-per-megabyte or both")
        return None
    return Energy(per_gflop=per_gflop or 0.0, per_megabyte=per_megabyte or 0.0)


def preference_of(
    weigh: str | None, knee: str | None, links: Sequence[Link], energy: Energy | None
) -> Preference:
    """The rule of choice.

    Raises:
        BadPlan: if it cannot be read, or weighs what nobody can know.
        UnknownName: if it names nothing that is weighed.
    """
    if weigh is not None and knee is not None:
        raise BadPlan("--weigh and --knee are two rules of choice: give one of them")
    asked: Sequence[str]
    rule: Preference
    if knee is not None:
        first, _, second = (word.strip() for word in knee.partition(","))
        if not second or "," in second:
            raise BadPlan(f"--knee: expected two objectives such as leakage,latency; got '{knee}'")
        asked, rule = (first, second), Knee(between=(first, second))
    elif weigh is not None:
        weights = _weights(weigh)
        asked = [name for name, weight in weights.items() if weight]
        rule = Chebyshev(weights=weights)
    else:
        return Lexicographic()
    option = "--knee" if weigh is None else "--weigh"
    if "payload" in asked and links:
        raise BadPlan(f"{option}: with --bandwidth the payload is within the latency: name that")
    if "energy" in asked and energy is None:
        raise BadPlan(f"{option}: energy needs --joules-per-gflop or --joules-per-megabyte")
    return rule


def _weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            weights[name] = float(value)
        except ValueError as unread:
            raise BadPlan(
                f"--weigh: expected weights such as leakage=2,latency=1; got '{text}'"
            ) from unread
    return weights
