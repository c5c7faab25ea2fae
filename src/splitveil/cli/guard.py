"""splitveil guard: whether a network's answers give images away, told without labels."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitveil.cli import DONE, GATE_FAILED, INCONCLUSIVE, options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from splitveil.data import ImageStream
    from splitveil.vetting import Guard, GuardNull

_GUARD = "The guard"
_BATCH = 100
_OUR_SIZE = 32
_LARGEST = 700.0


def guard(
    model: options.Model = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="A folder, an IDX or .npz file, package.module:factory, fashion-mnist or demo; "
            "labels are not needed.",
            show_default="demo",
            rich_help_panel="The images",
        ),
    ] = None,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Output = None,
    size: options.Size = None,
    channels: options.Channels = None,
    fit: options.Fit = None,
    pixel_range: options.PixelRange = None,
    released: Annotated[
        str,
        typer.Option(
            metavar="logits|softmax|attributes",
            help="What leaves the device: class scores, their softmax, or scores of attributes.",
            rich_help_panel=_GUARD,
        ),
    ] = "logits",
    alpha: Annotated[
        float,
        typer.Option(
            help="Chance of a false alarm for a network within tolerance.",
            rich_help_panel=_GUARD,
        ),
    ] = 0.01,
    null: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Tolerance that --write-null stored; without it, that of Fashion-MNIST.",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(
            metavar="LINEAR,BENT",
            help="Declared mean scores of both probes, in (0, 1), in place of measured ones.",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    honest: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Weights of an honest network of MODEL's form, for --write-null; repeat for all.",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    write_null: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measure the tolerance of --honest networks on --data, store it, guard nothing.",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Go on from this state, and store it here; sums of private images, keep private.",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    in_order: Annotated[
        bool,
        typer.Option(
            "--in-order",
            help="Take images as stored; by default in random order, as class folders need.",
            rich_help_panel=_GUARD,
        ),
    ] = False,
    seed: options.Seed = None,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Watch a network's answers for what they give away.

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

    images = _images(data, size, channels, fit, pixel_range, None if in_order else seed or 0)
    if write_null is not None or honest:
        _measure(
            images, [load(str(file)) for file in honest or ()], released, seed or 0, write_null
        )
        return
    watching = (
        Guard.restore(state)
        if state is not None and state.is_file()
        else Guard(_null(null, tolerance, images.name, released), alpha=alpha)
    )
    network = load(weights)
    with _bar(len(images), json_) as advance:
        for x in images:
            if watching.alarmed:
                break
            watching.update(x, _answers(network, x, watching.null.released))
            advance(len(x))
    if state is not None:
        watching.save(state)
    raise typer.Exit(_tell(watching, json_))


def _images(
    source: str | None,
    size: int | None,
    channels: int | None,
    fit: str | None,
    pixel_range: str | None,
    seed: int | None,
) -> "ImageStream":
    """The stream that the options name, in random order unless there is no seed."""
    from splitveil.data import open_stream
    from splitveil.data.load import NAMES
    from splitveil.data.pixels import PixelPlan
    from splitveil.errors import BadPlan
    from splitveil.rng import Rng

    ours = (source or "demo") in NAMES
    ends = options.numbers(pixel_range, "--pixel-range")
    if ends and len(ends) != 2:
        raise BadPlan(f"--pixel-range: expected BLACK,WHITE, got '{pixel_range}'")
    plan = PixelPlan(
        size=size or (_OUR_SIZE if ours else None),
        channels=channels,
        fit=fit or ("pad" if ours else "bilinear"),  # type: ignore[arg-type]
        pixel_range=(ends[0], ends[1]) if ends else None,
    )
    return open_stream(source, plan, None if seed is None else Rng(seed))


def _null(file: Path | None, tolerance: str | None, source: str, released: str) -> "GuardNull":
    """The tolerance that the options ask for.

    Raises:
        BadPlan: if they ask for two, or for none where there is none of our own.
    """
    import json

    from splitveil.data.load import NAMES
    from splitveil.errors import BadPlan
    from splitveil.vetting import GuardNull, bundled_null

    if file is not None and tolerance is not None:
        raise BadPlan("--null and --tolerance both say what is granted: give one")
    if tolerance is not None:
        ends = options.numbers(tolerance, "--tolerance")
        if len(ends) != 2:
            raise BadPlan(f"--tolerance: expected LINEAR,BENT such as 0.4,0.5; got '{tolerance}'")
        return GuardNull(linear=ends[0], bent=ends[1], released=released)
    if file is not None:
        try:
            return GuardNull.from_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise BadPlan(f"--null: {file} holds no tolerance: {error}") from error
    if source not in NAMES:
        raise BadPlan(
            f"nothing is known of honest networks on {source}: measure some with --honest and "
            "--write-null, or declare --tolerance LINEAR,BENT"
        )
    return bundled_null(released)


def _measure(
    images: "ImageStream",
    networks: "list[nn.Module]",
    released: str,
    seed: int,
    file: Path | None,
) -> None:
    """Store the tolerance of honest networks.

    Raises:
        BadPlan: if there are no networks, or no file to write.
    """
    import json

    import torch

    from splitveil.errors import BadPlan
    from splitveil.rng import Rng
    from splitveil.storage import write_whole
    from splitveil.vetting import guard_null

    if file is None or not networks:
        raise BadPlan("--honest and --write-null go together: networks to measure, a file to write")
    x = torch.cat(list(images))
    measured = guard_null(
        x,
        [
            torch.cat([_answers(one, part, released) for part in x.split(_BATCH)])
            for one in networks
        ],
        Rng(seed, ("guard",)),
        released=released,
        source=f"{len(x):,} images of {images.name}",
    )
    write_whole(file, (json.dumps(measured.to_json(), indent=1) + "\n").encode())
    typer.echo(
        f"Wrote {file}: {measured.models} honest networks score at most {measured.linear:.3g} "
        f"(linear) and {measured.bent:.3g} (bent). "
        f"Use it: splitveil guard MODEL --data SOURCE --null {file}"
    )


def _answers(network: "nn.Module", x: "Tensor", released: str) -> "Tensor":
    """What leaves the device for a batch.

    Raises:
        BadModel: if the network cannot take such images.
    """
    import torch

    from splitveil.errors import BadModel
    from splitveil.naming import one_line

    try:
        with torch.inference_mode():
            answer: Tensor = network(x)
    except RuntimeError as error:
        raise BadModel(
            f"the model fails on images of shape {tuple(x.shape[1:])} ({one_line(error)}): give "
            "size= and channels="
        ) from error
    return answer.softmax(1) if released == "softmax" else answer


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
        said = f"ALARM at image {guard.alarm_at:,}: {figures}. Answers tell more than is granted."
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
