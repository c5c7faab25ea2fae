"""splitveil invert-classes: what the classes of a model look like to whoever may ask it.

`splitveil audit --target training-data` leads here. It has no cuts, releases or reconstructions of
single images, and needs public and private images of different classes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.class_inversion import ClassInversion
    from splitveil.class_inversion.access import Level
    from splitveil.class_inversion.presets import Constants
    from splitveil.data import LabelledImages
    from splitveil.models import LoadedModel
    from splitveil.rng import Rng

_DATA, _ATTACK = "The images", "The attack"


@dataclass(frozen=True, eq=False, kw_only=True)
class _Given:
    """The images, their classes' names, and what a reader must know of them."""

    name: str
    private: "LabelledImages"
    held_out: "LabelledImages"
    public: "LabelledImages"
    names: tuple[str, ...]
    notes: tuple[str, ...]


def invert_classes(
    model: options.Model = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Labelled images of the model's classes, apart from those it was trained on: for "
            "judges and distances. A folder, an IDX or .npz file or package.module:factory.",
            rich_help_panel=_DATA,
            show_default="demo",
        ),
    ] = None,
    public: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="The attacker's images, of other classes; labels are not read.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="gmi, kedmi, lomma, plg-mi, brep-mi, or package.module:factory of a recipe; "
            "repeat for several.",
            rich_help_panel=_ATTACK,
            show_default="kedmi",
        ),
    ] = None,
    constants: Annotated[
        str,
        typer.Option(
            metavar="cpu|paper",
            help="The steps of published attacks: for two cores, or the papers'.",
            rich_help_panel=_ATTACK,
        ),
    ] = "cpu",
    access: Annotated[
        str,
        typer.Option(
            metavar="white|score|label",
            help="What the attacker may ask of the model.",
            rich_help_panel=_ATTACK,
        ),
    ] = "white",
    queries: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="The most images each attack may ask, prior and students included.",
            rich_help_panel=_ATTACK,
            show_default="any number",
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="A generator that somebody else trained, in place of those trained here.",
            rich_help_panel=_ATTACK,
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="The network before it was fine-tuned, for an attacker who knows that too: every "
            "attack by gradients then follows what fine-tuning changed.",
            rich_help_panel=_ATTACK,
        ),
    ] = None,
    prior_steps: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Steps of training a prior, in place of those of --constants.",
            rich_help_panel=_ATTACK,
        ),
    ] = None,
    attacked: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="How many classes to attack, from the first.",
            rich_help_panel=_ATTACK,
            show_default="all",
        ),
    ] = None,
    chunk: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            help="Classes at once; memory grows with it.",
            rich_help_panel=_ATTACK,
        ),
    ] = 60,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAMILY",
            help="resnet, ir, vgg or vit, or package.module:factory of a network; repeat for "
            "several.",
            rich_help_panel=_ATTACK,
            show_default="two others than the model",
        ),
    ] = None,
    judge_epochs: Annotated[
        int, typer.Option(metavar="COUNT", help="Passes of a judge.", rich_help_panel=_ATTACK)
    ] = 20,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="The most private and the most public images.",
            rich_help_panel=_DATA,
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
        typer.Option(metavar="FOLDER", help="Where priors, judges, images and the page go."),
    ] = Path("splitveil-classes"),
    seed: options.Seed = None,
    device: options.Device = None,
    show_images: options.ShowImages = None,
    open_: options.Open = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Rebuild what a model's classes look like.

    Trains priors on public images, searches for images the model takes for each class, and lets
    networks that it was not made to please judge them, beside the best public image. Stopped in
    whatever way, the same command goes on where it was.

    Example: `splitveil invert-classes vgg --attack kedmi --attack brep-mi --prior-steps 300`
    """
    from splitveil.class_inversion.campaign import Campaign, run_campaign
    from splitveil.class_inversion.evaluation import Judges
    from splitveil.class_inversion.priors import load_prior
    from splitveil.cli.report import open_in_browser
    from splitveil.errors import BadPlan
    from splitveil.models import load_model
    from splitveil.report.class_inversion import write_class_inversion
    from splitveil.rng import Rng
    from splitveil.training import Schedule

    if access not in ("white", "score", "label"):
        raise BadPlan(f"--access is white, score or label, got '{access}'")
    if constants not in ("cpu", "paper"):
        raise BadPlan(f"--constants are cpu or paper, got '{constants}'")
    level = cast("Level", access)
    settings: dict[str, Any] = {
        "weights": weights,
        "mean": options.numbers(mean, "--mean") or None,
        "std": options.numbers(std, "--std") or None,
        "output": options.key(output),
    }
    loaded = load_model(model, **settings)
    rng = Rng(seed or 0)
    given = _images(data, public, loaded, size, channels, images, rng.child("data"))
    names = options.names(classes, "--classes")
    if names:
        loaded = load_model(model, **settings, classes=names, data_classes=given.names or None)
    shape = tuple(given.private.x.shape[1:])
    count = _outputs(loaded, given.private)
    plan = Campaign(
        model=loaded.network,
        attacks=_attacks(attack or ["kedmi"], constants, prior_steps, knows=before is not None),
        first=None if before is None else load_model(before).network,
        public=given.public.x,
        private=given.private,
        held_out=given.held_out,
        classes=tuple(range(min(count, attacked or count))),
        rng=rng,
        level=level,
        budget=queries,
        prior=None
        if prior is None
        else load_prior(prior, shape=(shape[0], shape[1], shape[2]), classes=count),
        judges=Judges(
            families=tuple(judge or _others(loaded.name)), schedule=Schedule(epochs=judge_epochs)
        ),
        chunk=chunk,
        device=device or "cpu",
    )
    record = run_campaign(plan, out, say=lambda text: typer.echo(text, err=True))
    described = {"name": loaded.name, "digest": loaded.digest}
    _complete(out, record, described, given)
    shown = data is None if show_images is None else show_images
    page = write_class_inversion(out, show_images=shown)
    _tell(record, out, page, json_=json_)
    if open_:
        open_in_browser(page)
    if record["failures"]:
        from splitveil.cli import INCONCLUSIVE

        raise typer.Exit(INCONCLUSIVE)


def _images(
    data: str | None,
    public: str | None,
    loaded: "LoadedModel",
    size: int | None,
    channels: int | None,
    images: int | None,
    rng: "Rng",
) -> _Given:
    """Private images to judge by, others held out, and the attacker's."""
    from splitveil.data import LabelledImages, load_data
    from splitveil.data.public import load_public
    from splitveil.data.training import load_training
    from splitveil.errors import BadPlan

    side, colours = size or loaded.size, channels or loaded.channels
    notes: tuple[str, ...] = ()
    if data is None:
        demo = load_data(None, size=side, channels=colours)
        private = demo.auxiliary
        held_out = _joined(demo.validation, demo.test)
        name, names = f"DEMO DATA: {demo.name}", demo.class_names
    else:
        source = load_training(data, size=side, channels=colours, images=images, rng=rng)
        private, held_out = source.train, _joined(source.validation, source.probe)
        name, names = source.name, source.class_names
    if public is not None:
        shape = private.x.shape
        own = load_public(
            public, size=side or shape[2], channels=colours or shape[1], images=images, rng=rng
        )
    elif data is None:
        every_other = (private.ids % 2).bool()
        own = LabelledImages(private.take(every_other.nonzero()[:, 0]).x)
        private = private.take((~every_other).nonzero()[:, 0])
        notes = (
            "The demonstration's public images show the very classes that are attacked: a real "
            "attacker has others, and finds less.",
        )
    else:
        raise BadPlan("--public is missing: give images of other classes, such as an attacker owns")
    if own.x.shape[1:] != private.x.shape[1:]:
        raise BadPlan(
            f"public images are {tuple(own.x.shape[1:])}, private ones "
            f"{tuple(private.x.shape[1:])}: give --size and --channels to convert them"
        )
    return _Given(
        name=name, private=private, held_out=held_out, public=own, names=names, notes=notes
    )


def _joined(first: "LabelledImages", second: "LabelledImages") -> "LabelledImages":
    import torch

    from splitveil.data import LabelledImages

    labels = (first.y, second.y)
    y = None if labels[0] is None or labels[1] is None else torch.cat([labels[0], labels[1]])
    return LabelledImages(torch.cat([first.x, second.x]), y)


def _outputs(loaded: "LoadedModel", private: "LabelledImages") -> int:
    """How many classes the model tells apart."""
    from splitveil.class_inversion import Access
    from splitveil.errors import BadData

    count = Access(loaded.network, "label").outputs(tuple(private.x.shape[1:]))
    if private.y is not None and int(private.y.max()) >= count:
        raise BadData(
            f"labels run to {int(private.y.max())}, the model knows {count} classes: check --data"
        )
    return count


def _attacks(
    names: list[str], constants: str, prior_steps: int | None, *, knows: bool
) -> "tuple[ClassInversion, ...]":
    from dataclasses import replace

    from splitveil.class_inversion import ClassInversion, knowing
    from splitveil.class_inversion.presets import PRESETS
    from splitveil.errors import BadPlan, UnknownName
    from splitveil.naming import is_reference, resolve

    found = []
    for name in names:
        if name in PRESETS:
            one = PRESETS[name](cast("Constants", constants))
        elif is_reference(name):
            one = resolve(name, what="attack", error=BadPlan)()
            if not isinstance(one, ClassInversion):
                raise BadPlan(f"attack {name}() gave a {type(one).__name__}: return ClassInversion")
        else:
            raise UnknownName("attack", name, PRESETS)
        if prior_steps is not None:
            rules = replace(one.prior.rules, steps=prior_steps)
            one = replace(one, prior=replace(cast(Any, one.prior), rules=rules))
        found.append(knowing(one) if knows and one.objective is not None else one)
    return tuple(found)


def _others(name: str) -> tuple[str, ...]:
    """Two families other than the model's."""
    return tuple(family for family in ("resnet", "ir", "vgg") if family != name)[:2]


def _complete(out: Path, record: dict[str, Any], model: dict[str, Any], given: _Given) -> None:
    """Say in the record what the library cannot know: names."""
    from splitveil import __version__
    from splitveil.class_inversion.campaign import RESULTS
    from splitveil.storage import write_whole

    record |= {
        "splitveil": __version__,
        "model": model,
        "data": {"name": given.name},
        "class_names": [*given.names],
        "notes": [*record["notes"], *given.notes],
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out / RESULTS, (text + "\n").encode())


def _tell(record: dict[str, Any], out: Path, page: Path, *, json_: bool) -> None:
    from splitveil.report.class_inversion import headline

    if json_:
        attacks = {
            name: {
                "accuracy": one["quantities"]["accuracy@1 by all"],
                "net_accuracy": one["net_accuracy"],
                "queries": one["queries"],
                "seconds_per_class": one["seconds_per_class"],
            }
            for name, one in record["attacks"].items()
        }
        described = {
            "run": str(out),
            "report": str(page),
            "attacks": attacks,
            "failures": record["failures"],
        }
        typer.echo(json.dumps(described, indent=1))
        return
    typer.echo(headline(record))
    typer.echo(f"Report: {page}")
