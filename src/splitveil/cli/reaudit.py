"""The chosen cut audited again, on images that had no part in the choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from splitveil.audit.events import OnEvent
from splitveil.audit.plan import AuditPlan, load_plan
from splitveil.audit.recipes import called
from splitveil.audit.run import run_audit
from splitveil.audit.sent import PLAIN
from splitveil.audit.store import Run
from splitveil.audit.subject import load_model_and_data
from splitveil.audit.verdict import TRIVIAL
from splitveil.data import LabelledImages, Splits, SplitSizes, find_duplicates, load_data
from splitveil.data.division import MINIMUM, divide
from splitveil.data.fashion_mnist import PACKAGE
from splitveil.errors import BadPlan, BudgetExceeded
from splitveil.records import digest
from splitveil.rng import Rng
from splitveil.select import Candidate, read_candidates, read_records
from splitveil.select.met import attacks_met, recipes_met
from splitveil.select.reading import method_name

_SEEDS_APART = 1000
"""Further than any audit repeats its attacks, so that no seed is used twice."""


@dataclass(frozen=True, kw_only=True)
class Second:
    """The second look: `candidate` as the new audit finds it; `images` says on what."""

    path: Path
    candidate: Candidate
    images: str
    untouched: bool
    seed: int
    alarms: tuple[str, ...] = ()

    def to_json(self, first: Candidate) -> dict[str, Any]:
        """Both numbers side by side, as plain data."""
        return {
            "run": str(self.path),
            "images": self.images,
            "untouched": self.untouched,
            "seed": self.seed,
            "selected": first.leakage.to_json(),
            "reaudited": self.candidate.leakage.to_json(),
            "attack": self.candidate.attack,
            "missing": list(self.candidate.missing),
            "alarms": list(self.alarms),
            "accuracy": None
            if self.candidate.accuracy is None
            else self.candidate.accuracy.to_json(),
        }


def reaudit(run: Run, chosen: Candidate, on_event: OnEvent) -> Second:
    """Run every attack against the chosen cut again: other images, other seeds, other decoders.

    The records lie in the run's folder, so that the same call finds them again.

    Raises:
        BadInput: if the model or the data of the run cannot be loaded, or are others by now.
        StorageFailed: if the records cannot be written.
    """
    plan = load_plan(run.settings)
    model, before = load_model_and_data(plan)
    manifest = run.manifest
    if model.digest != manifest["model"]["digest"]:
        raise BadPlan(f"model {model.name} has other weights now than when {run.path} was made")
    if before.digest != manifest["data"]["digest"]:
        raise BadPlan(f"the images of {run.path} are others now: {before.name} has changed")
    seed = (plan.seed + _SEEDS_APART) % 2**63
    after, untouched, words = other_images(plan, before, Rng(seed).child("reaudit"))
    here, there = chosen.cut, chosen.attacked_at or chosen.cut
    wanted = {(recipe, here) for recipe in attacks_met(run.outcomes(), here, chosen.release)}
    if method_name(chosen.attack) not in TRIVIAL:
        wanted.add((chosen.attack, there))
    attacks = tuple(sorted({recipe for recipe, _ in wanted}))
    own = {called(text): text for text in plan.named_releases}
    text = own.get(chosen.release, chosen.release if chosen.release != PLAIN else "none")
    always = plan.always_release if text == plan.always_release else None
    again = replace(
        plan,
        cuts=tuple(dict.fromkeys((here, there))),
        attacks=attacks,
        releases=(text if always is None else "none",),
        always_release=always,
        seed=seed,
        jobs=0,
    )
    folder = run.path / "reaudit" / f"{here}-{digest([chosen.release, attacks])[:6]}"
    found = run_audit(again, folder, on_event=on_event, loaded=(model, after))
    records = read_records(found)
    done = {
        (recipe, cut)
        for cut in (here, there)
        for recipe in recipes_met(records.outcomes, cut, chosen.release)
    }
    return Second(
        path=folder,
        candidate=replace(
            _same(read_candidates(records), chosen),
            missing=tuple(sorted({recipe for recipe, _ in wanted - done})),
        ),
        images=words,
        untouched=untouched,
        seed=seed,
        alarms=records.alarms,
    )


def _same(candidates: Sequence[Candidate], chosen: Candidate) -> Candidate:
    for one in candidates:
        if (one.cut, one.release) == (chosen.cut, chosen.release):
            return one
    raise BudgetExceeded(
        f"no attack on {chosen.label} ended within the budget: run the audit with a larger one"
    )


def other_images(plan: AuditPlan, before: Splits, rng: Rng) -> tuple[Splits, bool, str]:
    """Splits whose private images the run never used, or else the same images divided anew.

    The attacker keeps its auxiliary images. Fewer than the least that an audit takes count as none.
    """
    wanted = len(before.test) + len(before.validation)
    pool = _unused(plan, before, wanted)
    untouched = pool is not None
    if pool is None:
        pool = _joined(before.test, before.validation)
    share = len(before.validation) / wanted
    counts = {"validation": max(MINIMUM["validation"], int(share * min(wanted, len(pool))))}
    counts["test"] = min(wanted, len(pool)) - counts["validation"]
    labels = None if pool.y is None else pool.y.numpy()
    rows = divide(labels, counts, len(pool), rng)
    parts = {name: pool.take(torch.from_numpy(rows[name])) for name in counts}
    every = {"auxiliary": before.auxiliary, **parts}
    after = replace(
        before,
        validation=parts["validation"],
        test=parts["test"],
        duplicates=find_duplicates({name: part.x for name, part in every.items()}),
    )
    number = f"{counts['test']:,}"
    if untouched:
        return after, True, f"{number} images that had no part in the choice"
    return after, False, f"{number} of the same images, divided anew: there are no others"


def _unused(plan: AuditPlan, before: Splits, wanted: int) -> LabelledImages | None:
    """Images of the run's source that are in none of its splits; None if too few are left.

    The division of a source draws one order, so a larger test split holds the old splits first.
    For the bundled images, the source is the official test set, where it is installed.
    """
    if plan.is_demo and not PACKAGE.is_dir():
        return None
    used = [before.test, before.validation]
    if not plan.is_demo and plan.data.auxiliary is None:
        used.append(before.auxiliary)
    data = plan.data
    source = load_data(
        "fashion-mnist" if plan.is_demo else data.source,
        auxiliary=data.auxiliary,
        size=before.size[0],
        channels=before.channels,
        fit=data.fit,
        pixel_range=(data.pixel_range[0], data.pixel_range[1]) if data.pixel_range else None,
        limits=SplitSizes(
            auxiliary=MINIMUM["auxiliary"],
            validation=MINIMUM["validation"],
            test=sum(map(len, used)) + wanted,
        ),
        rng=Rng(plan.seed).child("data"),
    ).test
    seen = torch.cat([part.ids for part in used])
    fresh = (~torch.isin(source.ids, seen)).nonzero().flatten()
    if len(fresh) < 4 * (MINIMUM["test"] + MINIMUM["validation"]):
        return None
    return source.take(fresh)


def _joined(one: LabelledImages, other: LabelledImages) -> LabelledImages:
    y = None if one.y is None or other.y is None else torch.cat([one.y, other.y])
    return LabelledImages(torch.cat([one.x, other.x]), y, torch.cat([one.ids, other.ids]))
