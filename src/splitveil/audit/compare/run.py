"""All defences at all cuts at equal utility, resumed where they were stopped."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from splitveil.audit.compare.arm import NONE, Attacked, Bench, Trained, attack, train
from splitveil.audit.compare.curve import Curves, curves
from splitveil.audit.compare.seek import seek
from splitveil.audit.compare.span import Span
from splitveil.audit.environment import this_environment
from splitveil.audit.plan import ThreatSettings
from splitveil.audit.store import storing, write_whole
from splitveil.audit.workbench import one_thread
from splitveil.data import Splits
from splitveil.data.training import TrainingImages
from splitveil.errors import AuditError, BadPlan
from splitveil.measures.paired import log_ratio
from splitveil.models import LoadedModel
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.training import Schedule

ATTACKS = (
    "PatchRidge()",
    "Ridge()",
    "SmallDecoder(epochs=6)",
    "InverseResidual(epochs=6)",
    "AttentionDecoder(epochs=6, width=64, depth=1)",
)
"""Closed forms and decoders of three builds, none of them that of an adversary in training."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """What is compared.

    `defences` are written with one range each, `noise(0.05..2)`; `cuts` are names or ids; `drops`
    are points of accuracy given up against the same training without a defence, rising;
    `trainings` is the most a range may cost at a cut; `attacks` are recipes.

    Raises:
        BadPlan: if there is nothing to compare, or drops do not rise from 0 or more.
    """

    defences: tuple[str, ...]
    cuts: tuple[str, ...]
    drops: tuple[float, ...] = (0.0, 1.0, 2.0, 5.0)
    trainings: int = 5
    attacks: tuple[str, ...] = ATTACKS
    patience: int | None = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.defences or not self.cuts:
            raise BadPlan("give at least one defence, such as 'noise(0.05..2)', and one cut")
        steps = [b - a for a, b in zip(self.drops, self.drops[1:], strict=False)]
        if not self.drops or self.drops[0] < 0 or any(not step > 0 for step in steps):
            raise BadPlan(f"drops are points of accuracy that rise from 0, got {self.drops}")
        if self.trainings < 1:
            raise BadPlan(f"trainings must be at least 1, got {self.trainings}")
        if len(set(self.defences)) < len(self.defences) or len(set(self.cuts)) < len(self.cuts):
            raise BadPlan("a defence or cut is named twice")
        for text in self.defences:
            Span.read(text)

    @property
    def most_trainings(self) -> int:
        """How many trainings it may take, those without a defence included."""
        each = sum(self.trainings if Span.read(t).varies else 1 for t in self.defences)
        return len(self.cuts) * (1 + each)


def compare(
    model: LoadedModel,
    images: TrainingImages,
    splits: Splits,
    plan: ComparisonPlan,
    *,
    schedule: Schedule,
    folder: Path,
    threat: ThreatSettings | None = None,
    device: str = "cpu",
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Tune each defence to the same drops of accuracy, then attack what was chosen.

    The reference is the same training without a defence. For each drop the strongest setting whose
    accuracy on validation images stays within it is taken; where none does, the network without a
    defence stands in its place. Decoders are trained after freezing and know the defence. The
    summary is written to `folder`/compare.json and returned; a stopped comparison goes on from its
    checkpoints and records.

    Args:
        model: the network to defend.
        images: to train on; none of them may be attacked.
        splits: the attacker's images and the private ones.
        plan: what is compared.
        schedule: of every training.
        folder: where checkpoints, records and the summary go.
        threat: what attackers know.
        device: where networks run.
        say: is told of every step in a line.

    Raises:
        BadInput: if a defence, cut or attack cannot be used, or all trainings of one fail.
        StorageFailed: if something cannot be written, or another comparison writes there now.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".compare.lock", timeout=0)
    try:
        with lock, one_thread():
            bench = Bench(
                model=model,
                images=images,
                splits=splits,
                schedule=schedule,
                patience=plan.patience,
                attacks=plan.attacks,
                threat=threat or ThreatSettings(),
                seed=plan.seed,
                device=device,
                folder=folder,
            )
            return _Comparison(bench, plan, say).run()
    except Timeout as error:
        raise BadPlan(f"another comparison writes to {folder}: choose another folder") from error


@dataclass(eq=False)
class _Comparison:
    bench: Bench
    plan: ComparisonPlan
    say: Say

    def run(self) -> dict[str, Any]:
        self.trained: dict[tuple[str, str], Trained] = {}
        self.failed: dict[tuple[str, str], str] = {}
        began = time.process_time()
        plain = [self._train(NONE, cut) for cut in self.plan.cuts]
        seconds = (time.process_time() - began) / len(plain)
        left = self.plan.most_trainings - len(plain)
        self.say(
            f"Without a defence {plain[0].accuracy}. At most {left} trainings of about "
            f"{seconds:.0f} CPU seconds follow, then attacks."
        )
        chosen = {
            (cut, text): self._tuned(Span.read(text), cut, plain[place])
            for place, cut in enumerate(self.plan.cuts)
            for text in self.plan.defences
        }
        attacked = self._attack({NONE: plain, **chosen})
        record = self._record(plain, chosen, attacked)
        record["cpu_minutes"] = round((time.process_time() - began) / 60, 1)
        content = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(self.bench.folder / "compare.json", (content + "\n").encode())
        return record

    def _train(self, text: str, cut: str) -> Trained:
        key = (text, cut)
        if key not in self.trained:
            self.trained[key] = train(self.bench, text, cut)
            self.say(f"Trained {text} at {cut}: {self.trained[key].accuracy}")
        return self.trained[key]

    def _tuned(self, span: Span, cut: str, plain: Trained) -> list[Trained]:
        """For each drop the strongest arm within it, the undefended one where there is none."""
        base = plain.accuracy.value
        levels = [base - drop / 100 for drop in self.plan.drops]

        def kept(place: float) -> float:
            try:
                return self._train(span.at(place), cut).accuracy.value
            except AuditError as error:
                self.failed[span.at(place), cut] = str(error)
                self.say(f"{span.at(place)} at {cut} failed: {error}")
                return -1.0

        most = self.plan.trainings if span.varies else 1
        found = seek(kept, levels, trainings=most, same=span.at)
        if not any((span.at(place), cut) in self.trained for place in (0.0, 1.0)):
            reason = self.failed.get((span.at(0.0), cut), "no setting was trained")
            raise BadPlan(f"{span} cannot be trained at {cut}: {reason}")
        places = [found[level] for level in levels]
        return [plain if p is None else self.trained[span.at(p), cut] for p in places]

    def _attack(self, wanted: Mapping[Any, Sequence[Trained]]) -> dict[tuple[str, str], Attacked]:
        arms = {(one.text, one.place): one for arms in wanted.values() for one in arms}
        done: dict[tuple[str, str], Attacked] = {}
        for key, one in arms.items():
            done[key] = attack(self.bench, one, lambda outcome: None)
            finding = done[key].finding
            best = finding.best.trial.method.partition("(")[0]
            self.say(
                f"Attacked {one.text} at {one.place} ({len(done)} of {len(arms)}): leakage "
                f"{finding.leakage} by {best}"
            )
        return done

    def _record(
        self,
        plain: Sequence[Trained],
        chosen: Mapping[tuple[str, str], Sequence[Trained]],
        attacked: Mapping[tuple[str, str], Attacked],
    ) -> dict[str, Any]:
        reference = attacked[plain[0].text, plain[0].place]
        rows = {(cut, NONE): [one] for cut, one in zip(self.plan.cuts, plain, strict=True)}
        names = {key: _name(*key) for key in (*rows, *chosen)}
        errors = {
            names[key]: [attacked[one.text, one.place].errors for one in arms]
            for key, arms in chosen.items()
        }
        # a cut without a defence keeps its one point at every drop
        for key, (one,) in rows.items():
            same = attacked[one.text, one.place].errors
            errors[names[key]] = [same] * len(self.plan.drops)
        rng = Rng(self.bench.seed).child("compare")
        found = curves(errors, reference.errors, self.plan.drops, rng.child("curves"))
        series = [
            self._series(names[key], key, [0.0], arms, attacked, reference, found, rng)
            for key, arms in rows.items()
        ]
        series += [
            self._series(names[key], key, self.plan.drops, arms, attacked, reference, found, rng)
            for key, arms in chosen.items()
        ]
        bench = self.bench
        return {
            "splitveil": this_environment(bench.device).splitveil,
            "model": {"name": bench.model.name, "digest": bench.model.digest},
            "data": {
                "trained": bench.images.name,
                "attacked": bench.splits.name,
                "test": len(bench.splits.test),
                "digest": bench.splits.digest,
            },
            "plan": asdict(self.plan),
            "schedule": asdict(bench.schedule),
            "threat": asdict(bench.threat),
            "reference": {"cut": plain[0].place, "defence": NONE},
            "series": series,
            "failures": [
                {"defence": text, "cut": cut, "reason": reason}
                for (text, cut), reason in self.failed.items()
            ],
            "trainings": len(self.trained),
        }

    def _series(
        self,
        name: str,
        key: tuple[str, str],
        drops: Sequence[float],
        arms: Sequence[Trained],
        attacked: Mapping[tuple[str, str], Attacked],
        reference: Attacked,
        found: Curves,
        rng: Rng,
    ) -> dict[str, Any]:
        points = []
        for drop, one in zip(drops, arms, strict=True):
            result = attacked[one.text, one.place]
            points.append(
                {
                    "drop": drop,
                    "defence": one.text,
                    "met": key[1] == NONE or one.text != NONE,
                    "validation_accuracy": one.accuracy.to_json(),
                    "accuracy_lost": (reference.accuracy.value - result.accuracy.value) * 100,
                    "ratio": _ratio(result, reference, rng.child("ratio", name, drop)).to_json(),
                    **result.to_json(),
                }
            )
        ahead = found.ahead[name]
        return {
            "name": name,
            "cut": key[0],
            "defence": key[1],
            "points": points,
            "area": found.area[name].to_json(),
            "ahead": {other: quantity.to_json() for other, quantity in ahead.items()},
        }


def _name(cut: str, defence: str) -> str:
    return f"{'no defence' if defence == NONE else defence} at {cut}"


def _ratio(one: Attacked, reference: Attacked, rng: Rng) -> Quantity:
    return log_ratio(torch.from_numpy(one.errors), torch.from_numpy(reference.errors), rng)
