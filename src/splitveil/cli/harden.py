"""splitveil harden: train a copy of a network with a defence, and watch what it does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.data import TrainingImages
    from splitveil.defences import EpochState, Hardened
    from splitveil.models import LoadedModel

_DATA, _WATCHED = "The images", "What is watched"


def harden(
    model: options.Model = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images to train on, apart from those an audit will attack: a folder, an "
            "IDX or .npz file, package.module:factory, or fashion-mnist.",
            rich_help_panel=_DATA,
            show_default="fashion-mnist",
        ),
    ] = None,
    defence: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Such as 'noise(0.05)', 'freeze:stage2' or 'bottleneck(8)+noise(0.05)'; "
            "components joined by + are trained together.",
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Such as 'smooth(0.3)', 'coarse(0,2,4,6|5,7,9)', 'distil(4)' or "
            "'ramp(smooth(0.3),0.2,0.6)'; + adds another component, as in "
            "'smooth(-0.05)+logit-decay(0.01)'.",
            rich_help_panel=options.TRAINING,
            show_default="onehot",
        ),
    ] = None,
    epochs: options.Epochs = 10,
    batch: options.Batch = 128,
    learning_rate: options.LearningRate = 2e-3,
    patience: Annotated[
        int,
        typer.Option(
            help="Epochs without a lower validation loss until it stops and the best is kept; 0 "
            "trains to the end and keeps the last.",
            rich_help_panel=options.TRAINING,
        ),
    ] = 10,
    scratch: Annotated[
        bool,
        typer.Option(
            "--scratch", help="Draw the weights anew first.", rich_help_panel=options.TRAINING
        ),
    ] = False,
    images: options.MostImages = None,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            help="Measure features at cuts after every epoch, and draw them.",
            rich_help_panel=_WATCHED,
        ),
    ] = False,
    cut: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Where a --defence stands that needs a cut, by name or id. With --trace: what is "
            "traced; repeat for several, by default four.",
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="An earlier traced hardening to draw beside this one; repeat for several.",
            rich_help_panel=_WATCHED,
        ),
    ] = None,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    classes: options.Classes = None,
    output: options.Output = None,
    size: options.Size = None,
    channels: options.Channels = None,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where weights, checkpoint, trace and figure go."),
    ] = Path("splitveil-harden"),
    seed: options.Seed = None,
    device: options.Device = None,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Train a copy of a network against leakage.

    Writes weights, a fitted release where there is one, a checkpoint and trace.json; the source
    stays as it is. Stopped in whatever way, the same command goes on where it was. Whether the
    result leaks less is for an audit to say: the last line printed is the command.

    Example: `splitveil harden vgg --cut pool2 --defence 'noise(0.3)' --epochs 3`
    """
    from splitveil.data.training import load_training
    from splitveil.defences import harden as train
    from splitveil.defences import parse_components
    from splitveil.errors import BadPlan
    from splitveil.models import load_model
    from splitveil.models.grafts import stored_grafts
    from splitveil.report.vortex import read_trace
    from splitveil.rng import Rng
    from splitveil.training import Schedule

    if beside and not trace:
        raise BadPlan("--beside draws traces: give --trace as well")
    others = [read_trace(folder) for folder in beside or ()]
    text = "+".join(filter(None, (labels, defence))) or "onehot"
    components = parse_components(text)
    if cut and not defence and not trace:
        raise BadPlan("--cut stands without a use: give a --defence that acts there, or --trace")
    schedule = Schedule(epochs=epochs, batch=batch, learning_rate=learning_rate)
    names = options.names(classes, "--classes")
    settings = options.loading(weights, mean, std, output)
    loaded = load_model(model, **settings)
    rng = Rng(seed or 0)
    source = load_training(
        data or "fashion-mnist",
        size=size or loaded.size,
        channels=channels or loaded.channels,
        images=images,
        rng=rng.child("data"),
    )
    if names:
        loaded = load_model(
            model, **settings, classes=names, data_classes=source.class_names or None
        )
    found = train(
        loaded.network,
        source,
        components,
        schedule=schedule,
        rng=rng.child("harden"),
        cut=cut[0] if defence and cut else None,
        patience=patience or None,
        start="scratch" if scratch else "weights",
        watch=tuple(cut or ()) if trace else None,
        folder=out,
        device=device or "cpu",
        on_epoch=lambda state: _say(state, epochs),
    )
    before = stored_grafts(Path(weights)) if weights else []
    _write(out, loaded, source, found, text, before)
    if trace:
        _draw(out, others)
    _tell(out, found, loaded, trace=trace, json_=json_)


def _say(state: "EpochState", epochs: int) -> None:
    loss = "" if state.loss is None else f"loss {state.loss:.4f}, "
    typer.echo(
        f"Epoch {state.number}/{epochs}: {loss}validation loss {state.validation_loss:.4f}, "
        f"accuracy {state.accuracy}",
        err=True,
    )


def _write(
    out: Path,
    loaded: "LoadedModel",
    source: "TrainingImages",
    found: "Hardened",
    labels: str,
    before: list[dict[str, Any]],
) -> None:
    """The weights, as `--weights` takes them, and what was watched.

    `before` are the grafts that the source's own weights needed.
    """
    from safetensors.torch import save

    from splitveil import __version__
    from splitveil.models import PixelModel
    from splitveil.models.grafts import KEY
    from splitveil.release.stored import release_bytes
    from splitveil.storage import write_whole

    assert isinstance(found.network, PixelModel)  # noqa: S101 - a copy of what load_model gave
    state = found.network.network.state_dict()
    described = {
        "mean": ",".join(map(repr, loaded.mean)),
        "std": ",".join(map(repr, loaded.std)),
        "labels": labels,
    }
    if before or found.grafts:
        inner = [{**one, "at": one["at"].removeprefix("network.")} for one in found.grafts]
        inner = [*before, *inner]
        described[KEY] = json.dumps(inner)
    release = _release(found)
    if release is not None:
        write_whole(out / "release.safetensors", release_bytes(release))
    content = save({k: v.detach().clone().contiguous() for k, v in state.items()}, described)
    write_whole(out / "weights.safetensors", content)
    record = {
        "splitveil": __version__,
        "labels": "+".join(map(str, found.components)),
        "model": {"name": loaded.name, "digest": loaded.digest},
        "data": {
            "name": source.name,
            "digest": source.digest,
            "train": len(source.train),
            "validation": len(source.validation),
            "probe": len(source.probe),
        },
        "cut": None if found.partition is None else found.partition.cut.name,
        "release": None if release is None else repr(release),
        "statements": [statement.to_json() for statement in found.statements],
        "kept": found.kept,
        "notes": [*loaded.notes, *source.conversions, *found.notes],
        "cuts": list(found.cuts),
        "states": [epoch.to_json() for epoch in found.states],
    }
    write_whole(out / "trace.json", (json.dumps(record, indent=1) + "\n").encode())


def _release(found: "Hardened") -> Any:
    """The fitted release, or None where features are sent as they are."""
    from splitveil.release import Identity

    release = None if found.partition is None else found.partition.release
    return None if isinstance(release, Identity) else release


def _draw(out: Path, others: list[Any]) -> None:
    from splitveil.report.vortex import read_trace, vortex_charts, vortex_figure
    from splitveil.storage import write_whole

    traces = [read_trace(out), *others]
    write_whole(out / "vortex.svg", vortex_figure(traces).encode())
    charts = [chart.to_json() for row in vortex_charts(traces) for chart in row]
    data = json.dumps(charts, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out / "vortex.json", (data + "\n").encode())


def _tell(out: Path, found: "Hardened", loaded: "LoadedModel", *, trace: bool, json_: bool) -> None:
    weights = out / "weights.safetensors"
    command = f"splitveil audit {loaded.name} --weights {weights}"
    release = None if _release(found) is None else str(out / "release.safetensors")
    if found.partition is not None:
        command += f" --cut {found.partition.cut.name}"
    if release is not None:
        command += f" --always-release 'stored(file={release})'"
    if json_:
        described = {
            "weights": str(weights),
            "cut": None if found.partition is None else found.partition.cut.name,
            "release": release,
            "audit": command,
            "trace": str(out / "trace.json"),
            "figure": str(out / "vortex.svg") if trace else None,
            "kept": found.kept,
            "epochs": len(found.states) - 1,
            "accuracy": found.accuracy.to_json(),
            "statements": [statement.to_json() for statement in found.statements],
            "notes": list(found.notes),
        }
        typer.echo(json.dumps(described, indent=1))
        return
    for note in found.notes:
        typer.echo(f"Note: {note}")
    typer.echo(
        f"Kept epoch {found.kept} of {len(found.states) - 1}; accuracy on validation images "
        f"{found.accuracy}"
    )
    for statement in found.statements:
        typer.echo(f"{'Proved' if statement.quantity.is_bound else 'Found'}: {statement}")
    if trace:
        typer.echo(f"Figure: {out / 'vortex.svg'}")
    typer.echo(f"What it leaks: {command}")
