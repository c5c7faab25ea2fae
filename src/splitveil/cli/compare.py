"""splitveil compare: defences side by side, each tuned to give up the same accuracy."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from splitveil.cli import options

_DATA, _TRAINING, _COMPARED = "The images", "The training", "What is compared"


def compare(
    model: options.Model = None,
    *,
    defence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECIPE",
            help="With one strength as a range from weak to strong, such as 'noise(0.05..2)' or "
            "'noise(0.3)+cem(rate=1..0.01)'; repeat for several.",
            rich_help_panel=_COMPARED,
        ),
    ] = None,
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
        typer.Option(help="The most a range may cost at a cut.", rich_help_panel=_TRAINING),
    ] = 5,
    epochs: Annotated[
        int, typer.Option(help="Passes over the images.", rich_help_panel=_TRAINING)
    ] = 3,
    batch: Annotated[int, typer.Option(help="Images a step.", rich_help_panel=_TRAINING)] = 128,
    learning_rate: Annotated[
        float, typer.Option(help="Its peak.", rich_help_panel=_TRAINING)
    ] = 5e-4,
    training_data: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images to train on, none of them among those attacked.",
            rich_help_panel=_DATA,
        ),
    ] = "fashion-mnist",
    images: Annotated[
        int | None,
        typer.Option(metavar="COUNT", help="The most to train on.", rich_help_panel=_DATA),
    ] = None,
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
    ] = Path("splitveil-compare"),
    seed: options.Seed = None,
    device: options.Device = None,
    open_: options.Open = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Compare defences at equal utility.

    Each defence is tuned to the same drops of accuracy, then attacked by those who know it. A
    comparison that was stopped goes on where it was.

    Example: `splitveil compare vgg --cut pool2 --defence 'noise(0.1..4)' --defence
    'nopeek(0.3..30)' --images 3000 --epochs 1 --dry-run`
    """
    from splitveil.audit.compare import ComparisonPlan
    from splitveil.audit.compare import compare as run
    from splitveil.audit.plan import AuditPlan, DataSettings, ModelSettings
    from splitveil.audit.subject import load_model_and_data
    from splitveil.cli.report import open_in_browser
    from splitveil.data.training import load_training
    from splitveil.report.comparison import write_comparison
    from splitveil.rng import Rng
    from splitveil.training import Schedule

    given: dict[str, Any] = {} if drop is None else {"drops": tuple(sorted(drop))}
    if attack:
        given["attacks"] = tuple(attack)
    plan = ComparisonPlan(
        defences=tuple(defence or ()),
        cuts=tuple(cut or ()),
        trainings=trainings,
        seed=seed or 0,
        **given,
    )
    schedule = Schedule(epochs=epochs, batch=batch, learning_rate=learning_rate)
    if dry_run:
        _preview(plan.most_trainings, len(plan.cuts), epochs, json_=json_)
        return
    loaded, splits = load_model_and_data(
        AuditPlan(
            model=ModelSettings(
                name=model,
                weights=weights,
                mean=options.numbers(mean, "--mean"),
                std=options.numbers(std, "--std"),
                output=output,
            ),
            data=DataSettings(source=data, size=size, channels=channels),
            seed=plan.seed,
        )
    )
    source = load_training(
        training_data,
        size=size or loaded.size,
        channels=channels or loaded.channels,
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
        device=device or "cpu",
        say=lambda text: typer.echo(text, err=True),
    )
    page = write_comparison(out)
    if json_:
        typer.echo(json.dumps(record, indent=1))
    else:
        _tell(page)
    if open_:
        open_in_browser(page)


def _preview(trainings: int, cuts: int, epochs: int, *, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps({"most_trainings": trainings, "epochs": epochs}))
        return
    typer.echo(
        f"At most {trainings} trainings of {epochs} epochs, {cuts} of them without a defence, then "
        "attacks on every strength that was chosen. Nothing was trained."
    )


def _tell(page: Path) -> None:
    from splitveil.report.comparison import answer, read_comparison

    typer.echo(answer(read_comparison(page.parent)))
    typer.echo(f"Page: {page}")
