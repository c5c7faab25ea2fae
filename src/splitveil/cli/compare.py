"""splitveil compare: defences side by side, each tuned to give up the same accuracy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.audit.compare import ComparisonPlan
    from splitveil.audit.plan import AuditPlan
    from splitveil.training import Schedule

_DATA, _COMPARED = "The images", "What is compared"
FOLDER = Path("splitveil-compare")
TRAINING_DATA = "fashion-mnist"
EPOCHS = 3
LEARNING_RATE = 5e-4
_IDLE = (
    ("--pairs", "pairs"),
    ("--release", "releases"),
    ("--always-release", "always_release"),
    ("--measure", "measures"),
    ("--budget", "budget"),
    ("--jobs", "jobs"),
)
"""Options of an audit that a comparison has no use for, and the settings they make."""


def compare(
    model: options.Model = None,
    *,
    defence: options.Defence = None,
    hardened: options.Hardened = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Where the network is cut, by name or id; repeat to compare places too. The "
            "first, without a defence, is what all is measured against.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    drop: Annotated[
        list[float] | None,
        typer.Option(
            metavar="POINTS",
            help="Accuracy a defence may give up; repeat for several.",
            rich_help_panel=_COMPARED,
            show_default="0, 1, 2 and 5",
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECIPE",
            help="In place of two closed forms and decoders of three builds; repeat for several.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
    trainings: Annotated[
        int,
        typer.Option(help="The most a range may cost at a cut.", rich_help_panel=options.TRAINING),
    ] = 5,
    epochs: options.Epochs = EPOCHS,
    batch: options.Batch = 128,
    learning_rate: options.LearningRate = LEARNING_RATE,
    training_data: options.TrainingData = TRAINING_DATA,
    images: options.MostImages = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Images to attack, as for `splitveil audit`.",
            rich_help_panel=_DATA,
            show_default="demo",
        ),
    ] = None,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Output = None,
    size: options.Size = None,
    channels: options.Channels = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how much would be trained; train nothing.")
    ] = False,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where checkpoints, records and the page go."),
    ] = FOLDER,
    seed: options.Seed = None,
    device: options.Device = None,
    open_: options.Open = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Compare defences at equal utility.

    Each range is tuned to the same drops of accuracy, then attacked by those who know it. What has
    one strength, or is hardened already, is compared at the accuracy it has. A comparison that was
    stopped goes on where it was.

    Example: `splitveil compare vgg --cut pool2 --defence 'noise(0.1..4)' --defence
    'nopeek(0.3..30)' --images 3000 --epochs 1 --dry-run`
    """
    from splitveil.audit.compare import ComparisonPlan
    from splitveil.audit.plan import AuditPlan, DataSettings, ModelSettings
    from splitveil.training import Schedule

    given: dict[str, Any] = {} if drop is None else {"drops": tuple(sorted(drop))}
    if attack:
        given["attacks"] = tuple(attack)
    plan = ComparisonPlan(
        defences=tuple(defence or ()),
        hardened=tuple(hardened or ()),
        cuts=tuple(cut or ()),
        trainings=trainings,
        seed=seed or 0,
        **given,
    )
    audited = AuditPlan(
        model=ModelSettings(
            name=model,
            weights=weights,
            mean=options.numbers(mean, "--mean"),
            std=options.numbers(std, "--std"),
            output=output,
        ),
        data=DataSettings(source=data, size=size, channels=channels),
        seed=plan.seed,
        device=device or "cpu",
    )
    run_comparison(
        plan,
        audited,
        Schedule(epochs=epochs, batch=batch, learning_rate=learning_rate),
        training_data=training_data,
        images=images,
        out=out,
        dry_run=dry_run,
        open_=open_,
        json_=json_,
    )


def compare_audited(
    audited: "AuditPlan",
    *,
    defences: tuple[str, ...],
    hardened: tuple[str, ...],
    equal_utility: bool,
    training_data: str,
    idle: Mapping[str, object],
    out: Path | None,
    dry_run: bool,
    open_: bool,
    json_: bool,
) -> None:
    """What `splitveil audit --defence` asks for, the training's settings being the defaults here.

    `idle` are options without a use here, by what was given for them; the plan holds further ones.

    Raises:
        BadPlan: if any was given, or ranges and `equal_utility` do not go together.
    """
    from splitveil.audit.compare import ComparisonPlan, Span
    from splitveil.audit.compare.plan import ATTACKS
    from splitveil.audit.plan import AuditPlan, default_folder
    from splitveil.errors import BadPlan
    from splitveil.training import Schedule

    usual = AuditPlan()
    given = {option: getattr(audited, field) != getattr(usual, field) for option, field in _IDLE}
    given["--utility"] = audited.model.utility is not None
    for option, value in idle.items():
        given[option] = given.get(option, False) or value is not None
    unused = [option for option, was_given in given.items() if was_given]
    if unused:
        raise BadPlan(
            f"an audit of defences has no use for {', '.join(unused)}: harden first, then audit "
            "what came of it"
        )
    ranges = [text for text in defences if Span.read(text).varies]
    if ranges and not equal_utility:
        raise BadPlan(
            f"'{ranges[0]}' is a range of strengths: add --equal-utility, which tunes it, or give "
            "one strength"
        )
    if equal_utility and not ranges:
        raise BadPlan(
            "--equal-utility has nothing to tune: give a --defence with a range of strengths, such "
            "as 'noise(0.1..4)'"
        )
    plan = ComparisonPlan(
        defences=defences,
        hardened=hardened,
        cuts=audited.cuts,
        seed=audited.seed,
        attacks=audited.attacks or ATTACKS,
    )
    folder = default_folder(audited)
    run_comparison(
        plan,
        audited,
        Schedule(epochs=EPOCHS, learning_rate=LEARNING_RATE),
        training_data=training_data,
        images=None,
        out=out or folder.with_name(f"{folder.name}-defences"),
        dry_run=dry_run,
        open_=open_,
        json_=json_,
    )


def run_comparison(
    plan: "ComparisonPlan",
    audited: "AuditPlan",
    schedule: "Schedule",
    *,
    training_data: str,
    images: int | None,
    out: Path,
    dry_run: bool,
    open_: bool,
    json_: bool,
) -> None:
    """Compare and say what came of it; the model and the attacked images are those of an audit."""
    from splitveil.audit.compare import compare as run
    from splitveil.audit.subject import load_model_and_data
    from splitveil.cli.report import open_in_browser
    from splitveil.data.training import load_training
    from splitveil.report.comparison import write_comparison
    from splitveil.rng import Rng

    if dry_run:
        _preview(plan, schedule.epochs, json_=json_)
        return
    loaded, splits = load_model_and_data(audited)
    source = load_training(
        training_data,
        size=audited.data.size or loaded.size,
        channels=audited.data.channels or loaded.channels,
        images=images,
        rng=Rng(plan.seed).child("data"),
    )
    record = run(
        loaded,
        source,
        splits,
        plan,
        schedule=schedule,
        folder=out,
        threat=audited.threat,
        device=audited.device,
        say=lambda text: typer.echo(text, err=True),
    )
    page = write_comparison(out)
    if json_:
        typer.echo(json.dumps(record, indent=1))
    else:
        _tell(page)
    if open_:
        open_in_browser(page)


def _preview(plan: "ComparisonPlan", epochs: int, *, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps({"most_trainings": plan.most_trainings, "epochs": epochs}))
        return
    typer.echo(
        f"At most {plan.most_trainings} trainings of {epochs} epochs, {len(plan.cuts)} of them "
        "without a defence, then attacks on every strength that was chosen. Nothing was trained."
    )


def _tell(page: Path) -> None:
    from splitveil.report.comparison import answer, read_comparison

    typer.echo(answer(read_comparison(page.parent)))
    typer.echo(f"Page: {page}")
