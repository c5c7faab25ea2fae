"""splitveil cuts: every place a network can be cut, and what each costs."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from torch import Tensor

    from splitveil.models import LoadedModel
    from splitveil.partition import CutCost


_ROOMY = 110
_SPARED = ("after", "fp16")
"""What a terminal of fewer columns than `_ROOMY` has no room for."""


def cuts(
    model: options.Model = None,
    *,
    all_: Annotated[
        bool,
        typer.Option("--all", help="The prefix family: also cuts between the menu's."),
    ] = False,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Output = None,
    size: options.Size = None,
    channels: options.Channels = None,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """List the places a network can be cut.

    What crosses, and what each side must compute. Bytes are for one image before any entropy
    coding; times are measured here, on one thread, for one image.

    Outputs are listed after the cuts: attacked in every audit, and no place to cut.

    Example: `splitveil cuts vgg`
    """
    import json

    from splitveil.audit import outputs
    from splitveil.errors import UnsupportedCut
    from splitveil.models import load_model
    from splitveil.partition import measure_costs, trace

    loaded = load_model(model, **options.loading(weights, mean, std, output))
    example = example_for(loaded, channels, size)
    traced = trace(loaded.network, example)
    chosen = traced.prefixes() if all_ else traced.menu()
    if not chosen:
        raise UnsupportedCut(f"{loaded.name} has no place to cut: its layers cannot be told apart")
    costs = measure_costs(traced, chosen, example)
    if json_:
        described = {
            "model": loaded.name,
            "digest": loaded.digest,
            "parameters": loaded.parameters,
            "input": list(example.shape[1:]),
            "tracer": traced.tracer,
            "trainable": traced.trainable,
            "notes": [*loaded.notes, *traced.notes],
            "cuts": [cost.to_json() for cost in costs],
            "outputs": [channel.to_json() for channel in outputs.channels(traced.output)],
        }
        typer.echo(json.dumps(described, indent=1))
    else:
        _print(loaded, costs, [*loaded.notes, *traced.notes])
        for channel in outputs.channels(traced.output):
            values = f"{channel.cut.layout.size:,} values an image"
            typer.echo(f"Output: {channel.name}, {values}; attacked in every audit, no cut.")


def example_for(loaded: "LoadedModel", channels: int | None, size: int | None) -> "Tensor":
    """Two grey images of the size that the model takes.

    Raises:
        BadPlan: if neither the model nor the options tell it.
    """
    import torch

    from splitveil.errors import BadPlan

    channels, size = channels or loaded.channels, size or loaded.size
    missing = [name for name, value in (("--channels", channels), ("--size", size)) if not value]
    if channels is None or size is None:
        raise BadPlan(
            f"{loaded.name} does not tell what input it takes: give {' and '.join(missing)}, "
            "such as --channels 3 --size 224"
        )
    if channels < 1 or size < 1:
        raise BadPlan(f"--channels and --size must be positive, got {channels} and {size}")
    return torch.full((2, channels, size, size), 0.5)


def _print(loaded: "LoadedModel", costs: "list[CutCost]", notes: list[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{loaded.name}: {len(costs)} cuts, {loaded.parameters:,} parameters",
        caption="bytes of one image on the wire; what the device holds and computes; "
        "milliseconds on one thread here",
        pad_edge=False,
        padding=(0, 2 if Console().width >= _ROOMY else 1, 0, 0),
    )
    console = Console()
    columns = {
        name: column
        for name, column in _columns(costs).items()
        if console.width >= _ROOMY or name not in _SPARED
    }
    for name in columns:
        words = name in ("cut", "after", "shape")
        table.add_column(
            name,
            justify="left" if words else "right",
            no_wrap=name != "shape",
            min_width=len("128x32x32") if name == "shape" else None,
            style="bold" if name == "cut" else None,
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)
    for note in notes:
        console.print(f"Note: {note}", style="dim", markup=False, highlight=False)


def _columns(costs: "list[CutCost]") -> dict[str, list[str]]:
    return {
        "cut": [cost.cut.name for cost in costs],
        "after": [cost.cut.kind.value for cost in costs],
        "shape": [_shape(cost) for cost in costs],
        "fp32": [_short(cost.bytes_fp32) for cost in costs],
        "fp16": [_short(cost.bytes_fp16) for cost in costs],
        "uint8": [_short(cost.bytes_uint8) for cost in costs],
        "params": [_short(cost.edge_parameters) for cost in costs],
        "FLOPs": [_short(cost.edge_flops) for cost in costs],
        "edge": [f"{1000 * cost.edge_seconds.value:.2f}" for cost in costs],
        "cloud": [f"{1000 * cost.cloud_seconds.value:.2f}" for cost in costs],
    }


def _shape(cost: "CutCost") -> str:
    shapes = Counter(
        "x".join(map(str, (part.multiplicity, *part.shape)[part.multiplicity == 1 :]))
        for part in cost.cut.layout.parts
    )
    return " + ".join(
        f"{count} of {shape}" if count > 1 else shape for shape, count in shapes.items()
    )


def _short(count: int) -> str:
    """A count in three digits and a prefix: 65.5k."""
    value, prefix = float(count), ""
    for larger in ("k", "M", "G", "T"):
        if value < 1000:
            break
        value, prefix = value / 1000, larger
    return f"{value:.0f}" if not prefix else f"{value:.3g}{prefix}"
