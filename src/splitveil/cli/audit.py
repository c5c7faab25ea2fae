"""splitveil audit: attack every cut, write records and a report."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splitveil.cli import options
from splitveil.cli.compare import TRAINING_DATA, compare_audited
from splitveil.cli.target import INPUTS, audit_training_data

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
    target: Annotated[
        str,
        typer.Option(
            metavar="inputs|training-data",
            help="What is rebuilt: inputs from what is sent, or what the model's classes look like "
            "from the model, as `splitveil invert-classes`.",
        ),
    ] = INPUTS,
    pairs: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="AUX TARGET",
            help="Files of what was sent (z) and inputs (x), the attacker's and the private ones, "
            ".npz or .safetensors: no model needed.",
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
    fit: options.Fit = None,
    pixel_range: options.PixelRange = None,
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
    always_release: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="What the device always sends through, such as "
            "'stored(file=release.safetensors)': attacked in place of plain features.",
            rich_help_panel=_EFFORT,
        ),
    ] = None,
    defence: options.Defence = None,
    hardened: options.Hardened = None,
    equal_utility: Annotated[
        bool,
        typer.Option(
            "--equal-utility",
            help="Tune each --defence with a range to the same drops of accuracy first.",
            rich_help_panel=options.DEFENCES,
        ),
    ] = False,
    training_data: options.TrainingData = TRAINING_DATA,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="proxies|twin",
            help="Beside the bounds: proxies with their calibration; least errors for a declared "
            "source of images. Repeat for both; larger budgets include them.",
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
    splitveil.toml, over which the options win. With --pairs: what any framework sent, without a
    model. With --defence or --hardened: hardened copies beside the network without a defence, on
    one page, as `splitveil compare` with its own defaults for training. With --target
    training-data: the model's classes, as `splitveil invert-classes`. Stopped in whatever way, the
    same command goes on where it was.

    Example: `splitveil audit vgg --cut conv1 --budget 3m --dry-run`
    """
    if target != INPUTS:
        settings = {
            "model": model,
            "data": data,
            "attack": attack,
            "weights": weights,
            "mean": mean,
            "std": std,
            "classes": classes,
            "output": output,
            "size": size,
            "channels": channels,
            "out": out,
            "seed": seed,
            "device": device,
            "show_images": show_images,
            "open_": open_,
            "json_": json_,
        }
        idle = {
            "--pairs": pairs,
            "--utility": utility,
            "--fit": fit,
            "--pixel-range": pixel_range,
            "--cut": cut,
            "--release": release,
            "--always-release": always_release,
            "--defence": defence,
            "--hardened": hardened,
            "--equal-utility": equal_utility,
            "--measure": measure,
            "--budget": budget,
            "--dry-run": dry_run,
            "--jobs": jobs,
        }
        audit_training_data(target, settings, public=auxiliary, idle=idle)
        return
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
        "data": {
            "source": data,
            "auxiliary": auxiliary,
            "size": size,
            "channels": channels,
            "fit": fit,
            "pixel_range": options.numbers(pixel_range, "--pixel-range"),
        },
        "cuts": cut,
        "attacks": attack,
        "releases": release,
        "always_release": always_release,
        "measures": measure,
        "pairs": pairs,
        "budget": budget,
        "seed": seed,
        "device": device,
        "jobs": jobs,
    }
    plan = settle(given)
    if defence or hardened or equal_utility or training_data != TRAINING_DATA:
        compare_audited(
            plan,
            defences=tuple(defence or ()),
            hardened=tuple(hardened or ()),
            equal_utility=equal_utility,
            training_data=training_data,
            idle={"--budget": budget, "--show-images": show_images},
            out=out,
            dry_run=dry_run,
            open_=open_,
            json_=json_,
        )
    elif dry_run:
        _preview(plan, json_)
    else:
        raise typer.Exit(_run(plan, out, show_images=show_images, open_=open_, json_=json_))


def _run(
    plan: "AuditPlan", out: Path | None, *, show_images: bool | None, open_: bool, json_: bool
) -> int:
    """Run, report, and return the exit code."""
    from splitveil.audit.run import run_audit
    from splitveil.audit.store import open_run
    from splitveil.cli import DONE, GATE_FAILED, INCONCLUSIVE, STOPPED
    from splitveil.cli.progress import Screen
    from splitveil.cli.report import open_in_browser
    from splitveil.report import write_report

    code = DONE
    with Screen(own_data=not plan.is_demo) as screen:
        try:
            run_audit(plan, out, on_event=screen)
        except KeyboardInterrupt:
            if screen.finished is None:
                raise
            code = STOPPED
    finished = screen.finished
    assert finished is not None  # noqa: S101 - the last event of every run
    page = write_report(finished.path, show_images=show_images)
    found = open_run(finished.path).summary
    if code == DONE and found["alarms"]:
        code = GATE_FAILED
    elif code == DONE and found["headline"] is None:
        code = INCONCLUSIVE
    if json_:
        place = found["headline"]
        described = {
            "run": str(finished.path),
            "report": str(page),
            "complete": finished.complete,
            "verdict": finished.verdict,
            "headline": None if place is None else found["leakage"][place],
            "failures": len(found["failures"]),
            "not_attacked": len(found["not_attacked"]),
        }
        typer.echo(json.dumps(described, indent=1))
    else:
        typer.echo(finished.verdict)
        typer.echo(f"Report: {page}")
    if found["failures"]:
        typer.echo(f"Note: {finished.message}", err=True)
    if open_:
        open_in_browser(page)
    return code


def _preview(plan: "AuditPlan", json_: bool) -> None:
    """Say what a run would do."""
    from splitveil.audit.run import preview
    from splitveil.cli.progress import Screen, clock

    with Screen(own_data=not plan.is_demo) as screen:
        found = preview(plan, on_event=screen)
    counts = found.counts()
    names = found.names
    if json_:
        described = {
            "trials": len(found.trials),
            "by_method": counts,
            "seconds": round(found.seconds, 1),
            "limit_seconds": plan.limits.seconds if plan.budget != "full" else None,
            "bytes": found.bytes,
            "cuts": list(found.cuts),
            "not_attacked": [
                {
                    "cut": names.get(left.trial.cut, left.trial.cut),
                    "release": left.trial.release,
                    "method": left.trial.method,
                    "reason": left.reason,
                }
                for left in found.left
            ],
        }
        typer.echo(json.dumps(described, indent=1))
        return
    methods = ", ".join(f"{count} {name}" for name, count in counts.items())
    places = "1 cut" if len(found.cuts) == 1 else f"{len(found.cuts)} cuts"
    beside = " and what the network answers" if len(names) > len(found.cuts) else ""
    typer.echo(f"{len(found.trials)} trials at {places}{beside}: {methods}.")
    typer.echo(
        f"About {clock(found.seconds)} with {max(1, plan.workers)} workers, and "
        f"{found.bytes / 1e9:.1f} GB of memory. Nothing was attacked."
    )
    if found.seconds > plan.limits.seconds:
        typer.echo(
            f"The budget ends at {clock(plan.limits.seconds)}: what has not begun in time is "
            "listed in the report."
        )
    for reason, count in Counter(left.reason for left in found.left).items():
        typer.echo(f"Left out, {count} trials: {re.sub(r'[(][^()]*[)]', '', reason)}")


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
