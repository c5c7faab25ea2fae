"""splitveil profile: times of a network's device half at every cut, on the machine it runs on."""

from pathlib import Path
from typing import Annotated

import typer

from splitveil.cli import options

_MOST_SECONDS = 20.0


def profile(
    model: options.Model = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the profile.")] = Path(
        "device.json"
    ),
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.Output = None,
    size: options.Size = None,
    channels: options.Channels = None,
    threads: Annotated[int, typer.Option(help="Threads that the network may use.", min=1)] = 1,
    repeats: Annotated[
        int, typer.Option(help="Passes at most; a large network stops after 20 seconds.", min=6)
    ] = 400,
    device: options.Device = None,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Measure a device's times at every cut, on that device.

    Give the model as the audit had it: `splitveil select --profile` refuses another. Times are
    the median and the 95th percentile over repeated passes of one image, each between two of
    them, with the confidence that their number allows.

    Example: `splitveil profile vgg --out device.json`
    """
    import json

    import torch

    from splitveil import __version__
    from splitveil.audit.environment import this_environment
    from splitveil.cli.cuts import example_for
    from splitveil.errors import BadPlan, UnsupportedCut
    from splitveil.models import load_model
    from splitveil.partition import measure_costs, trace
    from splitveil.select.profile import KIND
    from splitveil.select.units import written
    from splitveil.storage import write_whole

    loaded = load_model(model, **options.loading(weights, mean, std, output))
    place = device or "cpu"
    example = example_for(loaded, channels, size)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        traced = trace(loaded.network.to(place), example.to(place))
        cuts = {cut.id: cut for cut in (*traced.menu(), *traced.prefixes())}
        if not cuts:
            raise UnsupportedCut(f"{loaded.name} has no place to cut")
        costs = measure_costs(
            traced, list(cuts.values()), example.to(place), repeats=repeats, seconds=_MOST_SECONDS
        )
        environment = this_environment(place)
    except RuntimeError as error:
        raise BadPlan(f"device '{place}' cannot be used here ({error}): try cpu") from error
    finally:
        torch.set_num_threads(before)
    described = {
        "kind": KIND,
        "splitveil": __version__,
        "model": {
            "name": loaded.name,
            "digest": loaded.digest,
            "parameters": loaded.parameters,
        },
        "input": list(example.shape[1:]),
        "device": {
            "platform": environment.platform,
            "processor": environment.processor,
            "threads": threads,
            "device": place,
            "torch": environment.torch,
        },
        "cuts": [
            {
                "id": cost.cut.id,
                "name": cost.cut.name,
                "edge_seconds": cost.edge_seconds.to_json(),
                "edge_p95": cost.edge_p95.to_json(),
                "edge_bytes": cost.edge_bytes,
            }
            for cost in costs
        ],
    }
    text = json.dumps(described, indent=1) + "\n"
    write_whole(out, text.encode())
    if json_:
        typer.echo(text, nl=False)
        return
    last = max(costs, key=lambda cost: cost.edge_seconds.value)
    median, slow = (written(q.value, "s") for q in (last.edge_seconds, last.edge_p95))
    typer.echo(
        f"Wrote {out}: {len(costs)} cuts of {loaded.name}, up to {median} an image (median), "
        f"{slow} (95th percentile of {last.edge_p95.n} passes), with {threads} "
        f"thread{'s' if threads > 1 else ''} on {environment.platform}. "
        f"Use it: splitveil select RUN --profile {out}"
    )
