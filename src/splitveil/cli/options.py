"""Options that several commands share, each declared once."""

from pathlib import Path
from typing import Annotated, Any

import typer

_MODEL = "The model"
_DATA = "The images"
_RUN = "The run"
DEFENCES = "Defences"
TRAINING = "The training"

Model = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="vgg, resnet, vit or ir (bundled); package.module:factory; timm:NAME; "
        "torchvision:NAME.",
        show_default="vgg",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Weights as .safetensors, or .pt with a state dict.",
        rich_help_panel=_MODEL,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="M[,M,M]",
        help="Subtracted from pixels in [0, 1], one number a channel.",
        rich_help_panel=_MODEL,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="S[,S,S]",
        help="Divided by after the mean, one number a channel.",
        rich_help_panel=_MODEL,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key or index of the class scores, where the model returns several.",
        rich_help_panel=_MODEL,
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Class names in the order of the scores, or a text file with one a line.",
        rich_help_panel=_MODEL,
    ),
]
Size = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", help="Height and width of the input.", rich_help_panel=_DATA),
]
Channels = Annotated[
    int | None,
    typer.Option(metavar="1|3", help="Grey (1) or RGB (3) input.", rich_help_panel=_DATA),
]
Fit = Annotated[
    str | None,
    typer.Option(
        metavar="bilinear|pad",
        help="How images reach --size: resampled, or padded with black.",
        rich_help_panel=_DATA,
    ),
]
PixelRange = Annotated[
    str | None,
    typer.Option(
        metavar="BLACK,WHITE",
        help="Stored values that mean black and white, such as -1,1.",
        rich_help_panel=_DATA,
    ),
]
Defence = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RECIPE",
        help="With one strength as a range from weak to strong, such as 'noise(0.05..2)' or "
        "'noise(0.3)+cem(rate=1..0.01)', or with one strength, which is compared at the accuracy "
        "it has; repeat for several.",
        rich_help_panel=DEFENCES,
    ),
]
Hardened = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FOLDER|MODULE:FACTORY",
        help="What is hardened already, compared at the accuracy it has: a folder of `splitveil "
        "harden`, or a factory of (head, tail); repeat for several.",
        rich_help_panel=DEFENCES,
    ),
]
Epochs = Annotated[int, typer.Option(help="Passes over the images.", rich_help_panel=TRAINING)]
Batch = Annotated[int, typer.Option(help="Images a step.", rich_help_panel=TRAINING)]
LearningRate = Annotated[float, typer.Option(help="Its peak.", rich_help_panel=TRAINING)]
MostImages = Annotated[
    int | None,
    typer.Option(metavar="COUNT", help="The most to train on.", rich_help_panel=_DATA),
]
TrainingData = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="Labelled images to train defences on, none of them among those attacked.",
        rich_help_panel=DEFENCES,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The run's folder; by default one under splitveil-audit/ named by the settings.",
        rich_help_panel=_RUN,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Repeats every number.", rich_help_panel=_RUN, show_default="0"),
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, mps.", rich_help_panel=_RUN, show_default="cpu"),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Worker processes; 0 runs all in this one.",
        rich_help_panel=_RUN,
        show_default="one a core",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
ShowImages = Annotated[
    bool | None,
    typer.Option(
        "--show-images/--hide-images",
        help="Put pictures into the report; by default of the bundled images only.",
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open the report in a browser.")]
Traceback = Annotated[
    bool, typer.Option("--traceback", help="On an error, print where it came from as well.")
]


def loading(
    weights: str | None, mean: str | None, std: str | None, output: str | None
) -> dict[str, Any]:
    """What `load_model` takes beside a name.

    Raises:
        BadPlan: if mean or std hold no numbers.
    """
    return {
        "weights": weights,
        "mean": numbers(mean, "--mean") or None,
        "std": numbers(std, "--std") or None,
        "output": key(output),
    }


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """Numbers separated by commas.

    Raises:
        BadPlan: if one of them is no number.
    """
    from splitveil.errors import BadPlan

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise BadPlan(
            f"{option}: expected numbers separated by commas, such as 0.485,0.456,0.406; "
            f"got '{text}'"
        ) from error


def names(text: str | None, option: str) -> tuple[str, ...]:
    """Names separated by commas, or the lines of a file.

    Raises:
        BadPlan: if fewer than two names remain, or the file cannot be read.
    """
    from splitveil.errors import BadPlan

    if text is None:
        return ()
    try:
        lines = (
            Path(text).read_text(encoding="utf-8").splitlines() if Path(text).is_file() else None
        )
    except (OSError, UnicodeDecodeError) as error:
        raise BadPlan(f"{option}: cannot read {text}: {error}") from error
    found = tuple(
        name.strip() for name in (text.split(",") if lines is None else lines) if name.strip()
    )
    if len(found) < 2:
        raise BadPlan(
            f"{option}: expected at least two names separated by commas, or a file with one a "
            f"line; got '{text}'"
        )
    return found


def key(text: str | None) -> str | int | None:
    """A position if the text is a whole number, else the key itself."""
    return int(text) if text is not None and text.lstrip("-").isdigit() else text
