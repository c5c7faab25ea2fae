"""splitveil audit --target training-data: the same as splitveil invert-classes, in one line."""

from collections.abc import Mapping
from typing import Any

import typer

from splitveil.cli.invert_classes import invert_classes

INPUTS, TRAINING = "inputs", "training-data"


def audit_training_data(
    target: str, settings: Mapping[str, Any], *, public: str | None, idle: Mapping[str, object]
) -> None:
    """Hand `settings` to `invert_classes`, or refuse what has no meaning there.

    `public` are the attacker's images, `idle` options of audit without a use here, by what was
    given for them.

    Raises:
        UnknownName: if there is no such target.
        BadPlan: if an idle option was given, or the model is a settings file.
    """
    from splitveil.errors import BadPlan, UnknownName

    if target != TRAINING:
        raise UnknownName("target", target, (INPUTS, TRAINING))
    given = [name for name, value in idle.items() if value]
    if given:
        raise BadPlan(
            f"{', '.join(given)}: not with --target training-data, where the model itself is "
            "attacked and nothing is sent; see `splitveil invert-classes --help`"
        )
    name = settings["model"]
    if name is not None and name.endswith(".toml"):
        raise BadPlan("settings files are for --target inputs: name the model itself")
    typer.echo(
        "This is `splitveil invert-classes`, --auxiliary its --public; more options are there.",
        err=True,
    )
    kept = {key: value for key, value in settings.items() if value is not None}
    invert_classes(**kept, public=public)
