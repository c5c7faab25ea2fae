"""splitveil vet: is a network that somebody shipped consistent with honest ones?"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.vetting.subject import Subject

_SHADOWS, _DETECTORS = "The honest networks", "Detectors of your own"


def vet(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="As for `splitveil audit`, or an .onnx file. Python models run their code.",
            show_default="vgg",
        ),
    ] = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images, none of them of the model's training, as for `splitveil audit`.",
            rich_help_panel="The images",
            show_default="demo",
        ),
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Look at what crosses there; of an ONNX file, the name of a tensor.",
            show_default="the outputs",
        ),
    ] = None,
    null: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The null.json of an earlier vetting at the same images.",
            rich_help_panel=_SHADOWS,
        ),
    ] = None,
    shadows: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Train so many on the spot, on --shadow-data; fewer than 39 decide nothing.",
            rich_help_panel=_SHADOWS,
            show_default="39, or the shipped panel of a bundled network and the bundled images",
        ),
    ] = None,
    build: Annotated[
        str | None,
        typer.Option(
            metavar="BUILD",
            help="plain, residual, embedding, tokens (small); a bundled network; "
            "package.module:factory.",
            rich_help_panel=_SHADOWS,
            show_default="the model's own factory, else a small one like it",
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Passes over the images.", rich_help_panel=_SHADOWS)
    ] = 10,
    shadow_data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images to train them on, like those of --data and none of them.",
            rich_help_panel=_SHADOWS,
            show_default="the auxiliary split of --data",
        ),
    ] = None,
    level: Annotated[
        float,
        typer.Option(help="The share of honest networks that may be called suspicious."),
    ] = 0.05,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Output = None,
    classes: options.Classes = None,
    size: options.Size = None,
    channels: options.Channels = None,
    build_panel: Annotated[
        bool,
        typer.Option(
            "--build-panel",
            help="Train honest and malicious networks into --panel, to try detectors on.",
            rich_help_panel=_DETECTORS,
        ),
    ] = False,
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="DETECTOR",
            help="Score a detector on --panel: package.module:Detector, or a statistic's name.",
            rich_help_panel=_DETECTORS,
        ),
    ] = None,
    panel: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="The panel.", rich_help_panel=_DETECTORS),
    ] = Path("splitveil-panel"),
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where records and the page go.")
    ] = Path("splitveil-vet"),
    seed: options.Seed = None,
    open_: options.Open = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Compare a network from somebody else with honest ones.

    What its answers tell of an image beyond the class is set beside what they tell in honest
    networks trained for the same task. Three answers: consistent with honest, exit code 0;
    suspicious, 1; inconclusive, 3. What the test cannot see is said beside each. Loading a model
    from Python executes its code; an ONNX file is data.

    Example: `splitveil vet vit`
    """
    if build_panel:
        _build_panel(panel, shadow_data or data or "fashion-mnist", size, channels, seed or 0)
    if benchmark is not None:
        _benchmark(benchmark, panel, data, size, channels, json_=json_)
    if build_panel or benchmark is not None:
        return
    from splitveil.vetting.subject import load_subject

    subject = load_subject(
        model,
        data=data,
        cut=cut,
        weights=weights,
        mean=options.numbers(mean, "--mean"),
        std=options.numbers(std, "--std"),
        output=output,
        classes=options.names(classes, "--classes"),
        size=size,
        channels=channels,
        seed=seed or 0,
    )
    _vet(
        subject,
        out,
        shadows=shadows,
        build=build,
        epochs=epochs,
        shadow_data=shadow_data,
        null=null,
        level=level,
        show=open_,
        json_=json_,
    )


def _vet(
    subject: "Subject",
    out: Path,
    *,
    shadows: int | None,
    build: str | None,
    epochs: int,
    shadow_data: str | None,
    null: Path | None,
    level: float,
    show: bool,
    json_: bool,
) -> None:
    from splitveil.cli import DONE, GATE_FAILED, INCONCLUSIVE
    from splitveil.cli.report import open_in_browser
    from splitveil.report.vetting import write_vetting
    from splitveil.vetting.subject import null_for, vet_subject

    honest = null_for(
        subject,
        null=null,
        shadows=shadows,
        build=build,
        epochs=epochs,
        shadow_data=shadow_data,
        say=lambda text: typer.echo(text, err=True),
    )
    record = vet_subject(subject, honest, out, level=level)
    page = write_vetting(out)
    if json_:
        typer.echo(json.dumps(record, indent=1))
    else:
        _tell(record, page)
    if show:
        open_in_browser(page)
    codes = {"CONSISTENT WITH HONEST": DONE, "SUSPICIOUS": GATE_FAILED}
    raise typer.Exit(codes.get(record["answer"], INCONCLUSIVE))


def _tell(record: Mapping[str, Any], page: Path) -> None:
    typer.echo(record["sentence"])
    for note in record["notes"]:
        typer.echo(f"Note: {note}")
    typer.echo("Cannot be seen: " + record["cannot_see"][0])
    typer.echo(f"Page, with the rest of what cannot be seen: {page}")


def _build_panel(
    panel: Path, source: str, size: int | None, channels: int | None, seed: int
) -> None:
    from splitveil.vetting.subject import build_panel_from

    build_panel_from(
        panel,
        source,
        size=size,
        channels=channels,
        seed=seed,
        say=lambda text: typer.echo(text, err=True),
    )
    typer.echo(f"Panel: {panel}. Try one: splitveil vet --benchmark linear_probe --panel {panel}")


def _benchmark(
    name: str,
    panel: Path,
    data: str | None,
    size: int | None,
    channels: int | None,
    *,
    json_: bool,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from splitveil.vetting.detectors import benchmark, find_detector
    from splitveil.vetting.subject import images_of

    images = images_of(data, size=size, channels=channels)
    found = benchmark(name, find_detector(name), panel, images)
    if json_:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    table = Table(title=f"{name} on {panel}, test part")
    for heading in ("", "share", "95 %", "networks"):
        table.add_column(heading, justify="left" if not heading else "right")
    area = found.roc.area
    table.add_row("AUC", f"{area.value:.3f}", f"[{area.low:.3f}, {area.high:.3f}]", str(area.n))
    for rate, share in found.roc.found.items():
        table.add_row(
            f"found at {100 * rate:g} % false alarms",
            f"{share.value:.3f}",
            f"[{share.low:.3f}, {share.high:.3f}]",
            str(share.n),
        )
    Console(highlight=False).print(table)
