"""splitveil vet: is a network that somebody shipped consistent with honest ones?"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.vetting import Benchmark

_SHADOWS, _DETECTORS = "The honest networks", "Detectors of your own"

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="As for `splitveil audit`, or an .onnx file. Python models run their code.",
        show_default="vgg",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Labelled images, none of them of the model's training, as for `splitveil audit`.",
        rich_help_panel="The images",
        show_default="demo",
    ),
]
Cut = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Look at what crosses there; of an ONNX file, the name of a tensor.",
        show_default="the outputs",
    ),
]
Null = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The null.json of an earlier vetting at the same images.",
        rich_help_panel=_SHADOWS,
    ),
]
Shadows = Annotated[
    int | None,
    typer.Option(
        metavar="COUNT",
        help="Train so many on the spot, on --shadow-data; fewer than 39 decide nothing.",
        rich_help_panel=_SHADOWS,
        show_default="39, or the shipped panel of a bundled network and the bundled images",
    ),
]
Build = Annotated[
    str | None,
    typer.Option(
        metavar="BUILD",
        help="plain, residual, embedding, tokens (small); a bundled network; "
        "package.module:factory.",
        rich_help_panel=_SHADOWS,
        show_default="the model's own factory, else a small one like it",
    ),
]
Epochs = Annotated[int, typer.Option(help="Passes over the images.", rich_help_panel=_SHADOWS)]
ShadowData = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Labelled images to train them on, like those of --data and none of them.",
        rich_help_panel=_SHADOWS,
        show_default="the auxiliary split of --data",
    ),
]
Level = Annotated[
    float,
    typer.Option(help="The share of honest networks that may be called suspicious."),
]
BuildPanel = Annotated[
    bool,
    typer.Option(
        "--build-panel",
        help="Train honest and malicious networks into --panel, to try detectors on.",
        rich_help_panel=_DETECTORS,
    ),
]
Tried = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DETECTOR",
        help="Score a detector on --panel: a statistic's name, discriminant, or "
        "package.module:Detector; repeat for several.",
        rich_help_panel=_DETECTORS,
    ),
]
Panel = Annotated[
    Path,
    typer.Option(metavar="FOLDER", help="The panel.", rich_help_panel=_DETECTORS),
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where records and the page go.")]


def vet(
    model: Model = None,
    *,
    data: Data = None,
    cut: Cut = None,
    null: Null = None,
    shadows: Shadows = None,
    build: Build = None,
    epochs: Epochs = 10,
    shadow_data: ShadowData = None,
    level: Level = 0.05,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Output = None,
    classes: options.Classes = None,
    size: options.Size = None,
    channels: options.Channels = None,
    build_panel: BuildPanel = False,
    benchmark: Tried = None,
    panel: Panel = Path("splitveil-panel"),
    out: Out = Path("splitveil-vet"),
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
    if benchmark:
        _benchmark(benchmark, panel, data, size, channels, json_=json_)
    if build_panel or benchmark:
        return
    from splitveil.vetting.subject import load_subject, null_for, vet_subject

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
    honest = null_for(
        subject,
        null=null,
        shadows=shadows,
        build=build,
        epochs=epochs,
        shadow_data=shadow_data,
        say=_say,
    )
    record = vet_subject(subject, honest, out, level=level)
    raise typer.Exit(_tell(record, out, json_=json_, show=open_))


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _tell(record: Mapping[str, Any], out: Path, *, json_: bool, show: bool) -> int:
    """Write the page, say the answer, and give the exit code."""
    from splitveil.cli import DONE, GATE_FAILED, INCONCLUSIVE
    from splitveil.cli.report import open_in_browser
    from splitveil.report.vetting import write_vetting

    page = write_vetting(out)
    if json_:
        typer.echo(json.dumps(record, indent=1))
    else:
        typer.echo(record["sentence"])
        for note in record["notes"]:
            typer.echo(f"Note: {note}")
        typer.echo("Cannot be seen: " + record["cannot_see"][0])
        typer.echo(f"Page, with the rest of what cannot be seen: {page}")
    if show:
        open_in_browser(page)
    codes = {"CONSISTENT WITH HONEST": DONE, "SUSPICIOUS": GATE_FAILED}
    return codes.get(record["answer"], INCONCLUSIVE)


def _build_panel(
    panel: Path, source: str, size: int | None, channels: int | None, seed: int
) -> None:
    from splitveil.vetting.subject import build_panel_from

    build_panel_from(panel, source, size=size, channels=channels, seed=seed, say=_say)
    typer.echo(f"Panel: {panel}. Try one: splitveil vet --benchmark linear_probe --panel {panel}")


def _benchmark(
    names: Sequence[str],
    panel: Path,
    data: str | None,
    size: int | None,
    channels: int | None,
    *,
    json_: bool,
) -> None:
    from splitveil.vetting.detectors import benchmark, find_detector
    from splitveil.vetting.subject import images_of

    detectors = [(name, find_detector(name)) for name in names]
    images = images_of(data, size=size, channels=channels)
    found = [benchmark(name, detector, panel, images) for name, detector in detectors]
    if json_:
        typer.echo(json.dumps([one.to_json() for one in found], indent=1))
    else:
        _table(found, panel)


def _table(found: "Sequence[Benchmark]", panel: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    rates = found[0].roc.found
    table = Table(
        title=f"{panel}, test part, {found[0].roc.area.n} networks; 95 % intervals over networks"
    )
    for heading in ("detector", "AUC", *(f"found at {100 * rate:g} %" for rate in rates)):
        table.add_column(heading, justify="left" if heading == "detector" else "right")
    for one in found:
        told = (one.roc.area, *one.roc.found.values())
        table.add_row(one.detector, *(f"{q.value:.3f} [{q.low:.3f}, {q.high:.3f}]" for q in told))
    console = Console(highlight=False)
    console.print(table)
    console.print("Found at so many false alarms, thresholds set on the networks tried.")
