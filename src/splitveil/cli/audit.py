"""splitveil audit: attack every cut, write records and a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitveil.cli import options

if TYPE_CHECKING:
    from splitveil.audit.plan import AuditPlan

_MODEL, _DATA, _EFFORT = "The model", "The images", "What is tried"


def audit(
    model: options.Model = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="A folder, an IDX or .npz file, package.module:factory, fashion-mnist or demo.",
            rich_help_panel=_DATA,
            show_default="demo",
        ),
    ] = None,
    auxiliary: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="The attacker's own images; by default held-out ones of --data.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    classes: options.Classes = None,
    output: options.Output = None,
    utility: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="What the network is for, in place of top-1 accuracy.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    size: options.Size = None,
    channels: options.Channels = None,
    cut: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A cut's name or id; repeat for several. By default the whole menu.",
            rich_help_panel=_EFFORT,
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECIPE",
            help="Such as 'Ridge()' or package.module:Name; repeat for several.",
            rich_help_panel=_EFFORT,
        ),
    ] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECIPE",
            help="Such as 'gaussian(sigma=0.5)' or 'quantise(bits=8)'; repeat for several; "
            "'none' for no noise arm.",
            rich_help_panel=_EFFORT,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="3m|30m|full",
            help="How many cuts the dear attacks reach, and until when.",
            rich_help_panel=_EFFORT,
            show_default="3m",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the trials, time and memory it would take; attack nothing.",
            rich_help_panel=_EFFORT,
        ),
    ] = False,
    out: options.Out = None,
    seed: options.Seed = None,
    device: options.Device = None,
    jobs: options.Jobs = None,
    show_images: options.ShowImages = None,
    open_: options.Open = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Attack every cut and report what leaked.

    Without a model: a bundled network on bundled images, labelled DEMO DATA. MODEL may also be a
    splitveil.toml, over which the options win. Stopped in whatever way, the same command goes on
    where it was.

    Example: `splitveil audit vgg --cut conv1 --budget 3m --dry-run`
    """
    given: dict[str, Any] = {
        "model": {
            "name": model,
            "weights": weights,
            "mean": options.numbers(mean, "--mean"),
            "std": options.numbers(std, "--std"),
            "output": output,
            "classes": options.names(classes, "--classes"),
            "utility": utility,
        },
        "data": {"source": data, "auxiliary": auxiliary, "size": size, "channels": channels},
        "cuts": cut,
        "attacks": attack,
        "releases": release,
        "budget": budget,
        "seed": seed,
        "device": device,
        "jobs": jobs,
    }
    plan = settle(given)
    folder = out or default_folder(plan)
    raise NotImplementedError(folder, dry_run, show_images, open_, json_)


def settle(given: dict[str, Any]) -> "AuditPlan":
    """The plan that options ask for, over a settings file where the model names one.

    Raises:
        BadPlan: if a value is wrong.
        UnknownName: if the file has a key that does not exist.
    """
    import tomllib

    from splitveil.audit.plan import load_plan
    from splitveil.errors import BadPlan

    base: dict[str, Any] = {}
    name = given["model"]["name"]
    if name is not None and name.endswith(".toml"):
        given = {**given, "model": {**given["model"], "name": None}}
        try:
            base = tomllib.loads(Path(name).read_text(encoding="utf-8"))
        except OSError as error:
            raise BadPlan(f"cannot read settings {name}: {error.strerror or error}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadPlan(f"{name} is not TOML: {error}") from error
    return load_plan(_over(base, given))


def _over(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`base` with each value that was given in its place; None and empty were not given."""
    merged = dict(base)
    for name, value in given.items():
        if isinstance(value, dict):
            below = merged.get(name, {})
            merged[name] = _over(below, value) if isinstance(below, dict) else below
        elif value not in (None, (), []):
            merged[name] = value
    return merged


def default_folder(plan: "AuditPlan") -> Path:
    """A folder named by what is audited: the same settings find their records again.

    Cuts, attacks, releases and the budget are left out of the name, so that a larger budget adds
    to the run of a smaller one.
    """
    import re
    from dataclasses import replace

    from splitveil.audit.plan import AuditPlan
    from splitveil.audit.settings import to_mapping
    from splitveil.records import digest

    name = "-".join(
        re.sub(r"[^A-Za-z0-9]+", "-", Path(text).stem if "/" in text else text).strip("-")
        for text in (plan.model.name or "vgg", plan.data.source or "demo")
    )
    shared = replace(AuditPlan(), model=plan.model, data=plan.data, threat=plan.threat)
    shared = replace(shared, seed=plan.seed)
    bare = replace(
        AuditPlan(),
        model=replace(AuditPlan().model, name=plan.model.name),
        data=replace(AuditPlan().data, source=plan.data.source),
    )
    tail = "" if shared == bare else f"-{digest(to_mapping(shared))[:6]}"
    return Path("splitveil-audit") / f"{name}{tail}"
