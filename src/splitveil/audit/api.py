"""One call from Python: audit a model, get rows, a table or a report."""

from collections.abc import Sequence
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from splitveil import attacks as ours
from splitveil.attacks.base import Attack
from splitveil.audit.events import OnEvent, ignore
from splitveil.audit.plan import (
    AuditPlan,
    DataSettings,
    ModelSettings,
    ThreatSettings,
    Tier,
    default_folder,
)
from splitveil.audit.run import run_audit
from splitveil.audit.store import Run
from splitveil.audit.subject import load_model_and_data, wrap
from splitveil.data import Splits
from splitveil.errors import BadPlan
from splitveil.models import LoadedModel, load_model
from splitveil.records import Outcome, Status
from splitveil.release import ReleaseRecipe
from splitveil.storage import storing


class Results:
    """What an audit found; everything is read from the run's folder."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __repr__(self) -> str:
        return f"Results({self.run!r})"

    def __str__(self) -> str:
        return str(self.run.summary["verdict"])

    @property
    def verdict(self) -> str:
        """The audit's conclusion in words."""
        return str(self)

    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary a trial: cut, release, method, seed, status, and each number.

        A quantity q gives the keys q, q_low and q_high; its unit is in the records.
        """
        manifest = self.run.manifest
        places = (*manifest["cuts"], *manifest.get("outputs", ()))
        cuts = [entry.get("cut", entry) for entry in places]
        names = {cut["id"]: (cut["name"], cut["depth"]) for cut in cuts}
        return [_row(outcome, names) for outcome in self.run.outcomes()]

    def to_frame(self) -> Any:
        """`rows` as a pandas DataFrame.

        Raises:
            BadPlan: if pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ModuleNotFoundError as error:
            raise BadPlan(
                "to_frame needs pandas, which is not installed: pip install pandas, or use rows()"
            ) from error
        return pandas.DataFrame(self.rows())

    def report(self, path: str | Path | None = None, *, show_images: bool | None = None) -> Path:
        """Write the HTML report into the run's folder and, if asked, a copy of it to `path`.

        Without `show_images` only the bundled demonstration shows pictures.

        Raises:
            StorageFailed: if it cannot be written.
        """
        # the report's room stands above this one, so it is looked up when asked for
        page: Path = import_module("splitveil.report").write_report(
            self.run.path, show_images=show_images
        )
        if path is None:
            return page
        copy = Path(path)
        with storing(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(page.read_bytes())
        return copy


def _row(outcome: Outcome, names: dict[str, tuple[str, float]]) -> dict[str, Any]:
    trial = outcome.trial
    name, depth = names.get(trial.cut, ("all cuts", None))
    row: dict[str, Any] = {
        "cut": name,
        "depth": depth,
        "task": str(trial.task),
        "release": trial.release,
        "method": trial.method,
        "seed": trial.seed,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "seconds": outcome.seconds,
    }
    for key, quantity in outcome.quantities.items():
        row |= {key: quantity.value, f"{key}_low": quantity.low, f"{key}_high": quantity.high}
    if outcome.status is Status.DONE and outcome.artefact:
        row["artefact"] = outcome.artefact
    return row


def audit(
    model: nn.Module | str | None = None,
    data: Splits | str | None = None,
    *,
    cuts: Sequence[str] = (),
    attacks: Sequence[Attack | str] = (),
    releases: Sequence[ReleaseRecipe | str] = (),
    always_release: ReleaseRecipe | str | None = None,
    measures: Sequence[str] = (),
    threat: ThreatSettings | None = None,
    budget: Tier = "3m",
    out: str | Path | None = None,
    seed: int = 0,
    jobs: int | None = None,
    device: str = "cpu",
    on_event: OnEvent = ignore,
) -> Results:
    """Audit a model on images and store what came of it.

    A model or data given as an object are used as they are, in this process; the model is copied.
    Names are loaded as on the command line, in `jobs` worker processes: a script that starts them
    needs `if __name__ == "__main__":`.

    Args:
        model: maps images (n, c, h, w) in [0, 1] to logits; or its name; None for the bundled one.
        data: three splits, or their source; None for the bundled images.
        cuts: names or ids; none for the whole menu.
        attacks: recipes or their written form; none for the budget's choice.
        releases: recipes for the noise arm; none for the budget's choice.
        always_release: a recipe that the device never sends without, in place of plain features.
        measures: "proxies" or "twin", beside the bounds and what the budget includes.
        threat: what the attacker knows; None grants everything but the private images.
        budget: "3m", "30m" or "full".
        out: the run's folder, taken up again if it holds this audit.
        seed: fixes every number.
        jobs: worker processes, 0 for none, None for one a core.
        device: where networks run.
        on_event: is told how it goes.

    Raises:
        BadInput: one line with what is wrong with the model, the data or a setting.
        StorageFailed: if something cannot be written.
    """
    plan = AuditPlan(
        model=ModelSettings(name=_name(model)),
        data=DataSettings(source=data.name if isinstance(data, Splits) else data),
        threat=threat or ThreatSettings(),
        cuts=tuple(cuts),
        attacks=tuple(_written(attack) for attack in attacks),
        releases=tuple(_release_text(one) for one in releases),
        always_release=None if always_release is None else _release_text(always_release),
        measures=tuple(measures),
        budget=budget,
        seed=seed,
        jobs=jobs,
        device=device,
    )
    folder = default_folder(plan) if out is None else Path(out)
    loaded = _loaded(plan, model, data)
    return Results(run_audit(plan, folder, on_event=on_event, loaded=loaded))


def _name(model: nn.Module | str | None) -> str | None:
    return f"object:{type(model).__name__}" if isinstance(model, nn.Module) else model


def _release_text(release: ReleaseRecipe | str) -> str:
    return release if isinstance(release, str) else repr(release)


def _written(attack: Attack | str) -> str:
    if isinstance(attack, str):
        return attack
    kind = type(attack)
    known = kind.__name__ in ours.__all__
    return repr(attack) if known else f"{kind.__module__}:{attack!r}"


def _loaded(
    plan: AuditPlan, model: nn.Module | str | None, data: Splits | str | None
) -> tuple[LoadedModel, Splits] | None:
    """The objects at hand with what is missing loaded beside them; None if all are names."""
    if not isinstance(model, nn.Module) and not isinstance(data, Splits):
        return None
    made = wrap(deepcopy(model)) if isinstance(model, nn.Module) else load_model(model)
    if isinstance(data, Splits):
        return made, data
    _, splits = load_model_and_data(plan, made)
    return made, splits
