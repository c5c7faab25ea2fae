"""splitveil select: the cut and release that fit the limits, and what to relax where none does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.audit.store import Run
    from splitveil.cli.reaudit import Second
    from splitveil.select import Candidate, Limits, Link
    from splitveil.select.prefer import Preference

_LIMITS, _WAY, _CHOICE = "Limits", "The way to the cloud", "The choice"


def select(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of an audit, finished or not.")
    ],
    *,
    max_leakage: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Most that the best attack may recover, upper end, such as 0.2.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    min_accuracy: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Least accuracy, lower end, such as 0.88.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_latency: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Most time for an image, such as 20ms; needs --bandwidth.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_payload: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="Most bytes an image on the wire, such as 16kB.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="BYTES",
            help="Most memory for weights and activations on the device, such as 1.5MB.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_edge_parameters: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT",
            help="Most parameters on the device, such as 250k.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Such as 10Mbit (a second).", rich_help_panel=_WAY),
    ] = None,
    rtt: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Round trip, such as 10ms.",
            rich_help_panel=_WAY,
            show_default="0ms",
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The device's own times, from `splitveil profile`; without it those of the "
            "machine that ran the audit.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    weigh: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=W,...",
            help="Weights of leakage, accuracy, latency and payload, in place of least leakage "
            "first: least largest weighted distance from the best of each.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    reaudit: Annotated[
        bool,
        typer.Option(
            "--reaudit/--no-reaudit",
            help="Audit the chosen cut again, on images that had no part in the choice.",
            rich_help_panel=_CHOICE,
        ),
    ] = True,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Choose the cut and release that fit.

    Every audited cut under every audited release is held against the limits; of those that pass
    and met every attack, the one that leaks least is chosen, then audited again on untouched
    images. Exit code 1 if nothing fits, with the least that would have to be relaxed.

    Example: `splitveil select splitveil-audit/vgg-demo --max-latency 20ms --bandwidth 10Mbit`
    """
    from splitveil.audit.store import open_run
    from splitveil.cli import DONE, GATE_FAILED, INCONCLUSIVE
    from splitveil.cli.selection import Told
    from splitveil.errors import AuditError
    from splitveil.select import Limits, read_candidates, read_profile, read_records, sensitivity
    from splitveil.select import select as choose
    from splitveil.select.limits import breaches
    from splitveil.select.units import byte_count, count, seconds, share

    readers = {
        "max_leakage": (share, max_leakage),
        "min_accuracy": (share, min_accuracy),
        "max_latency": (seconds, max_latency),
        "max_payload": (byte_count, max_payload),
        "max_memory": (byte_count, max_memory),
        "max_edge_parameters": (count, max_edge_parameters),
    }
    limits = Limits(
        **{
            name: read(text, f"--{name.replace('_', '-')}")
            for name, (read, text) in readers.items()
            if text is not None
        }
    )
    link = _link(bandwidth, rtt, limits)
    prefer = _preference(weigh, link)
    audited = open_run(run)
    records = read_records(audited)
    times = None if profile is None else read_profile(profile)
    candidates = read_candidates(records, link=link, profile=times)
    selection = choose(candidates, limits, prefer)
    chosen, second, trouble = selection.chosen, None, ""
    code = DONE if chosen and not records.alarms else GATE_FAILED
    if chosen is not None and reaudit:
        try:
            second = _again(audited, chosen)
        except AuditError as error:
            trouble, code = str(error), code or INCONCLUSIVE
        if second is not None:
            fresh = Limits(max_leakage=limits.max_leakage, min_accuracy=limits.min_accuracy)
            if second.alarms or breaches(second.candidate, fresh):
                code = GATE_FAILED
            elif second.candidate.missing:
                code = code or INCONCLUSIVE
    hangs = sensitivity(records, limits, link=link, profile=times, prefer=prefer)
    told = Told(
        records=records,
        selection=selection,
        prefer=str(prefer),
        hangs=hangs,
        second=second,
        trouble=trouble,
    )
    if json_:
        typer.echo(json.dumps(told.to_json(), indent=1))
    else:
        told.show()
    raise typer.Exit(code)


def _again(run: "Run", chosen: "Candidate") -> "Second":
    from splitveil.cli.progress import Screen
    from splitveil.cli.reaudit import reaudit

    with Screen(own_data=run.manifest.get("demo") is not True) as screen:
        return reaudit(run, chosen, screen)


def _link(bandwidth: str | None, rtt: str | None, limits: "Limits") -> "Link | None":
    """The way to the cloud, None where no bandwidth is given.

    Raises:
        BadPlan: if a limit or a round trip needs the bandwidth that is missing.
    """
    from splitveil.errors import BadPlan
    from splitveil.select import Link
    from splitveil.select.units import bits_per_second, seconds

    if bandwidth is not None:
        return Link(
            bandwidth=bits_per_second(bandwidth, "--bandwidth"),
            round_trip=0.0 if rtt is None else seconds(rtt, "--rtt"),
        )
    for given, name in ((limits.max_latency, "--max-latency"), (rtt, "--rtt")):
        if given is not None:
            raise BadPlan(f"{name} needs --bandwidth, such as 10Mbit: bytes take time on the wire")
    return None


def _preference(weigh: str | None, link: "Link | None") -> "Preference":
    """The rule of choice.

    Raises:
        BadPlan: if the weights cannot be read, or weigh a latency that nobody can know.
        UnknownName: if one is of nothing that is weighed.
    """
    from splitveil.errors import BadPlan
    from splitveil.select import Chebyshev, Lexicographic

    if weigh is None:
        return Lexicographic()
    weights: dict[str, float] = {}
    for part in weigh.split(","):
        name, _, value = (text.strip() for text in part.partition("="))
        try:
            weights[name] = float(value)
        except ValueError as error:
            raise BadPlan(
                f"--weigh: expected weights such as leakage=2,latency=1; got '{weigh}'"
            ) from error
    rule = Chebyshev(weights=weights)
    if weights.get("payload") and link is not None:
        raise BadPlan("--weigh: with --bandwidth the payload is within the latency: weigh that")
    return rule
