"""splitveil challenge: seal private inputs for others to rebuild, and score what they made."""

import json
from pathlib import Path
from typing import Annotated

import typer

from splitveil.cli import options

challenge = typer.Typer(
    name="challenge",
    help="Let others attack pairs whose inputs only you can see.\n\n"
    "Example: `splitveil challenge make aux.npz target.npz --out challenge`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@challenge.command()
def make(
    auxiliary: Annotated[
        str, typer.Argument(metavar="AUX", help="Pairs (z, x) that others may learn from.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Private pairs: their x will be sealed.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder to hand out; it must not exist.")
    ],
    *,
    pixel_range: options.PixelRange = None,
    without_labels: Annotated[
        bool, typer.Option("--without-labels", help="Keep the labels back.")
    ] = False,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Write a folder to hand out, without the private inputs, and the secret that scores answers.

    Example: `splitveil challenge make aux.npz target.npz --out challenge`
    """
    from splitveil.audit.pairs.challenge import make_challenge
    from splitveil.errors import BadPlan

    given = options.numbers(pixel_range, "--pixel-range")
    if len(given) not in (0, 2):
        raise BadPlan(f"--pixel-range takes black and white, got {pixel_range}")
    made = make_challenge(
        auxiliary,
        target,
        out,
        pixel_range=(given[0], given[1]) if given else None,
        knows_label=not without_labels,
    )
    if json_:
        described = {
            "challenge": str(made.folder),
            "secret": str(made.secret),
            "commitment": made.commitment,
            "targets": made.targets,
        }
        typer.echo(json.dumps(described, indent=1))
        return
    typer.echo(f"Hand out {made.folder}: {made.targets} targets without their inputs.")
    typer.echo(f"Keep {made.secret}: it holds the inputs and is needed to score answers.")
    typer.echo(f"Commitment, to publish: {made.commitment}")


@challenge.command()
def score(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The challenge handed out.")],
    answer: Annotated[
        Path,
        typer.Argument(
            metavar="ANSWER", help="Reconstructions: one array x, .npz or .safetensors."
        ),
    ],
    *,
    secret: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The secret kept.", show_default="beside FOLDER"),
    ] = None,
    json_: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Check the commitment and score reconstructions of the sealed inputs.

    Example: `splitveil challenge score challenge reconstructions.npz`
    """
    from splitveil.audit.pairs.challenge import score_challenge

    found = score_challenge(folder, answer, secret=secret)
    if json_:
        typer.echo(json.dumps(found.to_json(), indent=1))
        return
    typer.echo(f"Commitment verified: {found.commitment}")
    for note in found.notes:
        typer.echo(f"Note: {note}")
    leakage = found.quantities["leakage"]
    typer.echo(
        f"{found.word}. L = {leakage} of what distinguishes an input, {leakage.assumptions[-1]}."
    )
    for name, quantity in found.quantities.items():
        if name != "leakage":
            typer.echo(f"{name}: {quantity}")
