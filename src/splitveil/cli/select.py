"""splitveil select: the cut and release that fit the limits, and what to relax where none does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.audit.store import Run
    from splitveil.cli.reaudit import Second
    from splitveil.cli.selection import Told
    from splitveil.select import Candidate, Question

_LIMITS, _WAY, _CHOICE = "Limits", "The way to the cloud", "The choice"
_ENERGY = "The device's energy"


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
            help="Most time for an image, such as 20ms, held against the upper end of the 95th "
            "percentile; needs --bandwidth.",
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
    max_energy: Annotated[
        str | None,
        typer.Option(
            metavar="JOULES",
            help="Most energy of the device for an image, such as 50mJ; needs joules below.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    min_bound: Annotated[
        str | None,
        typer.Option(
            metavar="MSE",
            help="Least mean squared error per value that must be proved of every attacker, such "
            "as 0.01; only noisy releases have one.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    bandwidth: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RATE",
            help="Such as 10Mbit (a second). Several: the choice must fit at each, and is the one "
            "of least worst regret.",
            rich_help_panel=_WAY,
        ),
    ] = None,
    bandwidth_trace: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Samples of the bandwidth as CSV, Mbit/s in the last column: latency is held "
            "against its slowest 5 %.",
            rich_help_panel=_WAY,
        ),
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
    joules_per_gflop: Annotated[
        float | None,
        typer.Option(
            metavar="J", help="For 1e9 operations on the device.", rich_help_panel=_ENERGY
        ),
    ] = None,
    joules_per_megabyte: Annotated[
        float | None,
        typer.Option(metavar="J", help="For 1e6 bytes sent.", rich_help_panel=_ENERGY),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="A further run of the same network with another attacker, such as one whose "
            "auxiliary images are shifted: the choice must fit in all, with least worst regret.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    weigh: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=W,...",
            help="Weights of leakage, accuracy, latency, payload and energy, in place of least "
            "leakage first: least largest weighted distance from the best of each.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    knee: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Take the knee of the front between two objectives, such as leakage,latency.",
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
    images. Latency is held against its 95th percentile: that of the device, of the wire and of
    the cloud, added. Exit code 1 if nothing fits, with the least that would have to be relaxed.

    Example: `splitveil select splitveil-audit/vgg-demo --max-latency 20ms --bandwidth 10Mbit`
    """
    from splitveil.audit.store import open_audit
    from splitveil.cli import question as asked
    from splitveil.select import Question, read_profile, read_records

    limits = asked.limits_of(
        max_leakage=max_leakage,
        min_accuracy=min_accuracy,
        max_latency=max_latency,
        max_payload=max_payload,
        max_memory=max_memory,
        max_edge_parameters=max_edge_parameters,
        max_energy=max_energy,
        min_bound=min_bound,
    )
    links = asked.links_of(bandwidth or (), bandwidth_trace or (), rtt, limits)
    energy = asked.energy_of(joules_per_gflop, joules_per_megabyte, limits)
    prefer = asked.preference_of(weigh, knee, links, energy)
    runs = tuple(open_audit(path) for path in (run, *(also or ())))
    question = Question(
        runs=tuple(read_records(one) for one in runs),
        limits=limits,
        links=links,
        profile=None if profile is None else read_profile(profile),
        energy=energy,
        prefer=prefer,
    )
    told, code = _answered(question, runs, reaudit=reaudit)
    if json_:
        typer.echo(json.dumps(told.to_json(), indent=1))
    else:
        told.show()
    raise typer.Exit(code)


def _answered(
    question: "Question", runs: "tuple[Run, ...]", *, reaudit: bool
) -> "tuple[Told, int]":
    """Everything that is to be said, and the exit code."""
    from splitveil.cli import DONE, GATE_FAILED, INCONCLUSIVE
    from splitveil.cli.selection import Told
    from splitveil.errors import AuditError
    from splitveil.select import Limits, sensitivity
    from splitveil.select.limits import breaches

    selection = question.answer()
    chosen, second, trouble = selection.chosen, None, ""
    alarms = any(one.alarms for one in question.runs)
    code = DONE if chosen and not alarms else GATE_FAILED
    if chosen is not None and reaudit:
        try:
            second = _again(_leakiest(question, runs, chosen), chosen)
        except AuditError as error:
            trouble, code = str(error), code or INCONCLUSIVE
        if second is not None:
            limits = question.limits
            fresh = Limits(
                max_leakage=limits.max_leakage,
                min_accuracy=limits.min_accuracy,
                min_bound=limits.min_bound,
            )
            if second.alarms or breaches(second.candidate, fresh):
                code = GATE_FAILED
            elif second.candidate.missing:
                code = code or INCONCLUSIVE
    told = Told(
        runs=question.runs,
        selection=selection,
        prefer=question.prefer,
        hangs=sensitivity(question),
        second=second,
        trouble=trouble,
    )
    return told, code


def _leakiest(question: "Question", runs: "tuple[Run, ...]", chosen: "Candidate") -> "Run":
    """The run in which the chosen candidate leaks most: its worst case is audited again."""
    for scenario in question.scenarios():
        for one in scenario.candidates:
            same = (one.cut, one.release) == (chosen.cut, chosen.release)
            if same and one.leakage == chosen.leakage and scenario.records in question.runs:
                return runs[question.runs.index(scenario.records)]
    return runs[0]


def _again(run: "Run", chosen: "Candidate") -> "Second":
    from splitveil.cli.progress import Screen
    from splitveil.cli.reaudit import reaudit

    with Screen(own_data=run.manifest.get("demo") is not True) as screen:
        return reaudit(run, chosen, screen)
