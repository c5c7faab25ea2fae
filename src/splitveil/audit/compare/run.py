"""All defences at all cuts at equal utility, resumed where they were stopped."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from splitveil.audit.compare.arm import NONE, Attacked, Bench, Trained, attack, train
from splitveil.audit.compare.clock import Clock
from splitveil.audit.compare.plan import ComparisonPlan
from splitveil.audit.compare.ready import read_ready
from splitveil.audit.compare.rows import Row, dropped, levels, summary
from splitveil.audit.compare.seek import seek
from splitveil.audit.compare.span import Span
from splitveil.audit.plan import ThreatSettings
from splitveil.audit.workbench import one_thread
from splitveil.data import Splits
from splitveil.data.training import TrainingImages
from splitveil.errors import AuditError, BadPlan
from splitveil.models import LoadedModel
from splitveil.storage import storing, write_whole
from splitveil.training import Schedule

Say = Callable[[str], None]


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
    defence stands in its place. What has one strength, or was hardened elsewhere, is compared at
    the drop it has, to which the ranges are tuned as well. Decoders are trained after freezing and
    know the defence. The summary is written to `folder`/compare.json and returned; a stopped
    comparison goes on from its checkpoints and records.

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
        self.clock = Clock(self.bench.folder)
        bench, plan = self.bench, self.plan
        spans = [Span.read(text) for text in plan.defences]
        ready = [read_ready(bench, source, plan.cuts[0]) for source in plan.hardened]
        plain = [self._train(NONE, cut) for cut in plan.cuts]
        left = plan.most_trainings - len(plain)
        each = self.clock.seconds / len(plain)
        # one that was taken up again where it had ended costs next to nothing
        cost = f" of about {each:.0f} CPU seconds" if each >= 1 else ""
        self.say(
            f"Without a defence {plain[0].accuracy}. At most {left} trainings{cost} follow, then "
            "attacks."
        )
        ready += [self._fixed(s, cut) for cut in plan.cuts for s in spans if not s.varies]
        rows = [Row.plain(one) for one in plain]
        rows += [Row.point(one, dropped(plain[0], one)) for one in ready]
        drops = levels(plan.drops, rows)
        rows += [
            Row.tuned(str(span), cut, drops, self._tuned(span, cut, plain[place], drops))
            for place, cut in enumerate(plan.cuts)
            for span in spans
            if span.varies
        ]
        record = {
            **summary(bench, plan, rows, self._attack(rows)),
            "failures": [
                {"defence": text, "cut": cut, "reason": reason}
                for (text, cut), reason in self.failed.items()
            ],
            "trainings": len(self.trained),
            "cpu_minutes": round(self.clock.spent() / 60, 1),
        }
        content = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(bench.folder / "compare.json", (content + "\n").encode())
        return record

    def _train(self, text: str, cut: str) -> Trained:
        key = (text, cut)
        if key not in self.trained:
            self.trained[key] = train(self.bench, text, cut)
            self.clock.spent()
            self.say(f"Trained {text} at {cut}: {self.trained[key].accuracy}")
        return self.trained[key]

    def _fixed(self, span: Span, cut: str) -> Trained:
        try:
            return self._train(str(span), cut)
        except AuditError as error:
            raise BadPlan(f"{span} cannot be trained at {cut}: {error}") from error

    def _tuned(self, span: Span, cut: str, plain: Trained, drops: Sequence[float]) -> list[Trained]:
        """For each drop the strongest arm within it, the undefended one where there is none."""
        base = plain.accuracy.value
        wanted = [base - drop / 100 for drop in drops]

        def kept(place: float) -> float:
            try:
                return self._train(span.at(place), cut).accuracy.value
            except AuditError as error:
                self.failed[span.at(place), cut] = str(error)
                self.say(f"{span.at(place)} at {cut} failed: {error}")
                return -1.0

        found = seek(kept, wanted, trainings=self.plan.trainings, same=span.at)
        if not any((span.at(place), cut) in self.trained for place in (0.0, 1.0)):
            reason = self.failed.get((span.at(0.0), cut), "no setting was trained")
            raise BadPlan(f"{span} cannot be trained at {cut}: {reason}")
        places = [found[level] for level in wanted]
        return [plain if p is None else self.trained[span.at(p), cut] for p in places]

    def _attack(self, rows: Sequence[Row]) -> dict[tuple[str, ...], Attacked]:
        # the least drops first: what is stopped has answered them
        given = sorted(((d, one) for row in rows for d, one in row.arms.items()), key=itemgetter(0))
        arms = {one.key: one for _, one in given}
        done: dict[tuple[str, ...], Attacked] = {}
        for key, one in arms.items():
            done[key] = attack(self.bench, one, lambda outcome: None)
            self.clock.spent()
            finding = done[key].finding
            best = finding.best.trial.method.partition("(")[0]
            self.say(
                f"Attacked {one.text} at {one.place} ({len(done)} of {len(arms)}): leakage "
                f"{finding.leakage} by {best}"
            )
        return done
