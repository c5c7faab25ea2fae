"""What `splitveil guard` is shown: images, what is sent of them, and what is granted."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from splitveil.data import ImageStream
    from splitveil.vetting import GuardNull

_BATCH = 100
_OUR_SIZE = 32


def place(cut: str) -> str:
    """Where is watched, in words."""
    return f"cut '{cut}'" if cut else "the outputs"


def stream(
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


def tolerance_of(
    file: Path | None, tolerance: str | None, source: str, released: str, cut: str | None
) -> "GuardNull":
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
        return GuardNull(linear=ends[0], bent=ends[1], released=released, cut=cut or "")
    if file is not None:
        try:
            return GuardNull.from_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise BadPlan(f"--null: {file} holds no tolerance: {error}") from error
    if source not in NAMES or cut is not None:
        where = source if cut is None else f"{source} at {place(cut)}"
        raise BadPlan(
            f"nothing is known of honest networks on {where}: measure some with --honest and "
            "--write-null, or declare --tolerance LINEAR,BENT"
        )
    return bundled_null(released)


def store_tolerance(
    images: "ImageStream",
    networks: "list[nn.Module]",
    released: str,
    cut: str | None,
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
    sent = []
    for network in networks:
        watched = sends(network, images, released, cut)
        sent.append(torch.cat([watched(part) for part in x.split(_BATCH)]))
    measured = guard_null(
        x,
        sent,
        Rng(seed, ("guard",)),
        released=released,
        cut=cut or "",
        source=f"{len(x):,} images of {images.name}",
    )
    write_whole(file, (json.dumps(measured.to_json(), indent=1) + "\n").encode())
    typer.echo(
        f"Wrote {file}: {measured.models} honest networks score at most {measured.linear:.3g} "
        f"(linear) and {measured.bent:.3g} (bent). "
        f"Use it: splitveil guard MODEL --data SOURCE{f' --cut {cut}' if cut else ''} "
        f"--null {file}"
    )


def sends(
    network: "nn.Module", images: "ImageStream", released: str, cut: str | None
) -> "Callable[[Tensor], Tensor]":
    """What leaves the device for a batch: the outputs, or what crosses at a cut.

    Raises:
        BadModel: if the network cannot take such images.
        UnknownName, UnsupportedCut: as `splitveil.partition.trace`.
    """
    from splitveil.partition import trace

    if cut is None:
        return partial(_answers, network, released)
    traced = trace(network, next(iter(images))[:2])
    chosen = traced.cut(cut)
    return lambda x: traced.features(x, [chosen])[chosen.id]


def _answers(network: "nn.Module", released: str, x: "Tensor") -> "Tensor":
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
    match released:
        case "softmax":
            return answer.softmax(1)
        case "sigmoid":
            return answer.sigmoid()
        case _:
            return answer
