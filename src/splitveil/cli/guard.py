"""splitveil guard: whether a network's answers give images away, told without labels."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitveil.cli import DONE, GATE_FAILED, INCONCLUSIVE, options
from splitveil.cli.watched import place, sends, store_tolerance, stream, tolerance_of

if TYPE_CHECKING:
    from torch import nn

    from splitveil.vetting import Guard, GuardNull

_GUARD = "The guard"
_LARGEST = 700.0

Data = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="A folder, an IDX or .npz file, package.module:factory, fashion-mnist or demo; "
        "labels are not needed.",
        show_default="demo",
        rich_help_panel="The images",
    ),
]
Cut = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Watch what crosses there instead of the outputs; honest networks must be measured "
        "at the same place.",
        show_default="the outputs",
        rich_help_panel=_GUARD,
    ),
]
Released = Annotated[
    str | None,
    typer.Option(
        metavar="logits|softmax|attributes|sigmoid|features",
        help="What leaves the device: class scores, their softmax, scores of attributes, their "
        "sigmoid, or values without a decision.",
        show_default="logits, features with --cut",
        rich_help_panel=_GUARD,
    ),
]
Alpha = Annotated[
    float,
    typer.Option(
        help="Chance of a false alarm for a network within tolerance.", rich_help_panel=_GUARD
    ),
]
Null = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Tolerance that --write-null stored; without it, that of Fashion-MNIST.",
        rich_help_panel=_GUARD,
    ),
]
Tolerance = Annotated[
    str | None,
    typer.Option(
        metavar="LINEAR,BENT",
        help="Declared mean scores of both probes, in (0, 1), in place of measured ones.",
        rich_help_panel=_GUARD,
    ),
]
Honest = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Weights of an honest network of MODEL's form, for --write-null; repeat for all.",
        rich_help_panel=_GUARD,
    ),
]
WriteNull = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Measure the tolerance of --honest networks on --data, store it, guard nothing.",
        rich_help_panel=_GUARD,
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Go on from this state, and store it here; sums of private images, keep private.",
        rich_help_panel=_GUARD,
    ),
]
InOrder = Annotated[
    bool,
    typer.Option(
        "--in-order",
        help="Take images as stored; by default in random order, as class folders need.",
        rich_help_panel=_GUARD,
    ),
]


def guard(
    model: options.Model = None,
    *,
    data: Data = None,
    cut: Cut = None,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Output = None,
    size: options.Size = None,
    channels: options.Channels = None,
    fit: options.Fit = None,
    pixel_range: options.PixelRange = None,
    released: Released = None,
    alpha: Alpha = 0.01,
    null: Null = None,
    tolerance: Tolerance = None,
    honest: Honest = None,
    write_null: WriteNull = None,
    state: State = None,
    in_order: InOrder = False,
    seed: options.Seed = None,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Watch what a network's answers, or the features at a cut, give away.

    From images without labels, one after another, until the alarm or the last image. Exit code 1
    on an alarm, 0 without one, 3 without one after fewer images than malicious networks took to be
    told. No alarm proves nothing.

    Example: `splitveil guard vgg --data demo`
    """
    from splitveil.models import load_model
    from splitveil.vetting import Guard

    def load(file: str | None) -> "nn.Module":
        return load_model(
            model,
            weights=file,
            mean=options.numbers(mean, "--mean") or None,
            std=options.numbers(std, "--std") or None,
            output=options.key(output),
        ).network

    kind = _kind(released, cut)
    images = stream(data, size, channels, fit, pixel_range, None if in_order else seed or 0)
    if write_null is not None or honest:
        networks = [load(str(file)) for file in honest or ()]
        store_tolerance(images, networks, kind, cut, seed or 0, write_null)
        return
    watching = (
        Guard.restore(state)
        if state is not None and state.is_file()
        else Guard(tolerance_of(null, tolerance, images.name, kind, cut), alpha=alpha)
    )
    _check_place(watching.null, cut)
    watched = sends(load(weights), images, watching.null.released, cut)
    with _bar(len(images), json_) as advance:
        for x in images:
            if watching.alarmed:
                break
            watching.update(x, watched(x))
            advance(len(x))
    if state is not None:
        watching.save(state)
    raise typer.Exit(_tell(watching, json_))


def _kind(released: str | None, cut: str | None) -> str:
    """What the guard is shown.

    Raises:
        BadPlan: if features of a cut are to be taken for a decision.
    """
    from splitveil.errors import BadPlan

    if cut is not None and released not in (None, "features"):
        raise BadPlan(
            f"--cut: what crosses there is features, not '{released}': leave --released out"
        )
    return released or ("logits" if cut is None else "features")


def _check_place(null: "GuardNull", cut: str | None) -> None:
    """Refuse a tolerance of elsewhere in the network.

    Raises:
        BadPlan: naming both places.
    """
    from splitveil.errors import BadPlan

    if null.cut != (cut or ""):
        raise BadPlan(
            f"the tolerance is that of {place(null.cut)}, {place(cut or '')} would be watched: "
            "measure honest networks there, or choose the same --cut"
        )


@contextlib.contextmanager
def _bar(images: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("Watching", total=images)
        yield lambda seen: bar.advance(task, seen)


def _tell(guard: "Guard", json_: bool) -> int:
    """Everything that is to be said, and the exit code."""
    import json
    import math

    null = guard.null
    few = guard.images < null.needed
    code = GATE_FAILED if guard.alarmed else INCONCLUSIVE if few else DONE
    if json_:
        described = {
            "alarm": guard.alarmed,
            "alarm_at": guard.alarm_at,
            "images": guard.images,
            "e_value": guard.e_value.to_json(),
            "p_value": guard.p_value,
            "alpha": guard.alpha,
            "beyond": None if math.isnan(null.beyond) else null.beyond,
            "inconclusive": code == INCONCLUSIVE,
            "null": null.to_json(),
        }
        typer.echo(json.dumps(described, indent=1))
        return code
    largest = math.exp(min(guard.log_peak, _LARGEST))
    figures = f"largest e-value {largest:.3g}, p-value {guard.p_value:.2g}"
    if guard.alarmed:
        what = f"What crosses at {place(null.cut)} tells" if null.cut else "Answers tell"
        said = f"ALARM at image {guard.alarm_at:,}: {figures}. {what} more than is granted."
    else:
        said = f"No alarm in {guard.images:,} images: {figures}. That proves nothing."
    typer.echo(said)
    if code == INCONCLUSIVE:
        typer.echo(f"Inconclusive: malicious networks were told in up to {null.needed:,} images.")
    total = (
        f"{guard.alpha:g}, or {guard.alpha + null.beyond:.2g} counting honest networks beyond it"
        if null.models
        else f"{guard.alpha:g} for a network within it"
    )
    typer.echo(
        f"Granted: mean scores of {null.linear:.3g} (linear) and {null.bent:.3g} (bent), "
        f"{null.source}. Chance of a false alarm, however often one looks: {total}."
    )
    return code
