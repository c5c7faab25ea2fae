"""What weakens an audit, read from its own records: each with the value that set it off; no torch.

| code | set off by |
|---|---|
| RF1 | a trained decoder worse than a ridge there, or than the trivial answer |
| RF3 | more epochs still improve the decoder by more than 3 % |
| RF5 | seeds of one attack more than 20 % apart |
| RF6 | an attack beyond a bound, or worse than the mean image for certain |
| RF7 | a claim about information where nothing adds noise |
| RF8 | a deeper cut that leaks more for certain than a shallower one |
| RF9 | a single attack, kind of attack or seed |
| RF13 | near-duplicates between the attacker's images and the private ones |
| RF15 | modules left in training mode |
| RF16 | a noisy release without a score of the network under the same noise |
| RF17 | a release with a fixed seed, whose noise can be subtracted |
| RF18 | a privacy budget without a clip |
| RF24 | the answer, or the deepest cut, leaks no less than the headline's |

Codes follow the red flags of the project's theory notes; those that need more than records are
left to the tests.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from splitveil.audit.joint import alarms
from splitveil.audit.sent import PLAIN, sent_by
from splitveil.quantities import Quantity
from splitveil.records import Outcome, Status, Task

_TRIVIAL = ("MeanImage", "ClassMean")
_NOISELESS = re.compile(r"^(Identity|HalfPrecision|UniformQuantiser)\(")
_SCALED = 0.03
_APART = 0.2
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Weakness:
    """One reason to trust an audit less: a code, what is wrong, and the value that set it off."""

    code: str
    message: str
    value: str

    def to_json(self) -> dict[str, str]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _Seen:
    """The finished trials of a run, by cell."""

    outcomes: Sequence[Outcome]
    manifest: Mapping[str, Any]

    @property
    def outputs(self) -> dict[str, Mapping[str, Any]]:
        return {one["cut"]["id"]: one["cut"] for one in self.manifest.get("outputs", ())}

    @property
    def places(self) -> dict[str, Mapping[str, Any]]:
        """Cuts, then outputs, by id."""
        cuts = [entry.get("cut", entry) for entry in self.manifest.get("cuts", ())]
        return {cut["id"]: cut for cut in cuts} | self.outputs

    @property
    def names(self) -> dict[str, str]:
        return {cut_id: cut["name"] for cut_id, cut in self.places.items()}

    @property
    def depths(self) -> dict[str, float]:
        return {cut_id: float(cut["depth"]) for cut_id, cut in self.places.items()}

    def done(self, task: Task) -> list[Outcome]:
        return [o for o in self.outcomes if o.trial.task is task and o.status is Status.DONE]

    def attacks(self) -> dict[tuple[str, str], list[Outcome]]:
        """Attacks that look at what was sent and mean to come close, by cut and release."""
        cells: dict[tuple[str, str], list[Outcome]] = {}
        for outcome in self.done(Task.ATTACK):
            looks = outcome.trial.cut != "*" and _method(outcome) not in _TRIVIAL
            if looks and outcome.headline:
                cells.setdefault((outcome.trial.cut, outcome.trial.release), []).append(outcome)
        return cells

    def floor(self, method: str) -> Quantity | None:
        found = [o for o in self.done(Task.ATTACK) if _method(o) == method]
        return found[0].quantities["mse"] if found else None

    def place(self, cell: tuple[str, str]) -> str:
        name = self.names.get(cell[0], cell[0])
        return name if cell[1] == PLAIN else f"{name} with {cell[1]}"


def _method(outcome: Outcome) -> str:
    return outcome.trial.method.partition("(")[0]


def _trained(outcome: Outcome) -> bool:
    """Whether an attack is trained, so that effort and luck count."""
    return "epochs=" in outcome.trial.method


def _error(outcome: Outcome) -> float:
    return outcome.quantities["mse"].value


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return "; ".join(items[:_NAMED]) + more


def weaknesses(outcomes: Sequence[Outcome], manifest: Mapping[str, Any]) -> list[Weakness]:
    """Every weakness that the records of a run show, in the order of their codes."""
    seen = _Seen(outcomes, manifest)
    return [weakness for rule in _RULES for weakness in rule(seen)]


def _weak_decoder(seen: _Seen) -> Iterator[Weakness]:
    floor = seen.floor("ClassMean") or seen.floor("MeanImage")
    found = []
    for cell, here in seen.attacks().items():
        trained = [o for o in here if _trained(o)]
        linear = [o for o in here if _method(o) in ("Ridge", "PatchRidge")]
        if not trained:
            continue
        best = min(map(_error, trained))
        if linear and best > (least := min(map(_error, linear))):
            found.append(f"{seen.place(cell)}: {best:.3g} against {least:.3g} of a ridge")
        elif floor is not None and best > floor.value:
            found.append(f"{seen.place(cell)}: {best:.3g} against {floor.value:.3g} of the floor")
    if found:
        yield Weakness(
            code="RF1",
            message="a trained decoder is worse than a ridge or the trivial answer: too little "
            "training, so its failure means nothing there",
            value=_listed(found),
        )


def _unsaturated(seen: _Seen) -> Iterator[Weakness]:
    found = []
    for cell, here in seen.attacks().items():
        by_kind: dict[str, dict[int, float]] = {}
        for outcome in here:
            if epochs := re.search(r"epochs=(\d+)", outcome.trial.method):
                kind, count = by_kind.setdefault(_method(outcome), {}), int(epochs[1])
                kind[count] = min(_error(outcome), kind.get(count, math.inf))
        for by_epochs in by_kind.values():
            if len(by_epochs) < 2:
                continue
            *_, before, last = sorted(by_epochs)
            gain = 1 - by_epochs[last] / by_epochs[before]
            if gain > _SCALED:
                found.append(f"{seen.place(cell)}: {gain:.0%} from {before} to {last} epochs")
    if found:
        yield Weakness(
            code="RF3",
            message="more training still makes a decoder better: the best attack is not reached",
            value=_listed(found),
        )


def _spread_of_seeds(seen: _Seen) -> Iterator[Weakness]:
    found = []
    for cell, here in seen.attacks().items():
        by_method: dict[str, list[float]] = {}
        for outcome in here:
            by_method.setdefault(outcome.trial.method, []).append(_error(outcome))
        for method, errors in by_method.items():
            apart = max(errors) / max(min(errors), 1e-12) - 1
            if apart > _APART:
                found.append(f"{method.partition('(')[0]} at {seen.place(cell)}: {apart:.0%}")
    if found:
        yield Weakness(
            code="RF5",
            message="seeds of the same attack are more than 20 % apart: restarts would find better",
            value=_listed(found),
        )


def _impossible(seen: _Seen) -> Iterator[Weakness]:
    raised = alarms(seen.outcomes, seen.names)
    if raised:
        yield Weakness(code="RF6", message="something lies beyond a bound", value=_listed(raised))
    mean = seen.floor("MeanImage")
    if mean is None:
        return
    worse = [
        f"{_method(o)} at {seen.place(cell)}: {_error(o):.3g}"
        for cell, here in seen.attacks().items()
        for o in here
        if o.quantities["mse"].low > mean.high and _method(o) != "NearestAuxiliary"
    ]
    if worse:
        yield Weakness(
            code="RF6",
            message=f"an attack is worse than answering the mean image ({mean.value:.3g})",
            value=_listed(worse),
        )


def _fictitious(seen: _Seen) -> Iterator[Weakness]:
    found = [
        f"{name} {q.value:.3g} at {seen.place((o.trial.cut, o.trial.release))}"
        for o in seen.done(Task.BOUND)
        if _NOISELESS.match(o.trial.release) and not o.trial.method.startswith("noise_needed(")
        for name, q in o.quantities.items()
        if q.is_bound and q.value > 0 and name not in ("payload", "leak_floor")
    ]
    if found:
        yield Weakness(
            code="RF7",
            message="a claim about information stands where nothing adds noise: it assumes some",
            value=_listed(found),
        )


def _deeper_leaks_more(seen: _Seen) -> Iterator[Weakness]:
    best = {
        cut: min((o.quantities["mse"] for o in here), key=lambda q: q.value)
        for (cut, release), here in seen.attacks().items()
        if release == PLAIN
    }
    depths = seen.depths
    order = sorted((cut for cut in best if cut in depths), key=depths.__getitem__)
    gaps = [
        (
            best[a].value / best[b].value,
            f"{seen.names[b]} {best[b].value:.3g} after {seen.names[a]} {best[a].value:.3g}",
        )
        for a, b in combinations(order, 2)
        if best[b].high < best[a].low
    ]
    if gaps:
        gaps.sort(reverse=True)
        yield Weakness(
            code="RF8",
            message="deeper cuts leak more than shallower ones, which cannot be: whoever sees the "
            "shallow one can compute the deep one, so attacks on the shallow one were too weak",
            value=f"{len(gaps)} pairs of cuts, widest {gaps[0][1]}",
        )


def _single(seen: _Seen) -> Iterator[Weakness]:
    sent = sent_by(seen.manifest)
    plain = {
        cut: here
        for (cut, release), here in seen.attacks().items()
        if release == (PLAIN if cut in seen.outputs else sent)
    }
    lone = [cut for cut, here in plain.items() if len({_method(o) for o in here}) == 1]
    if lone:
        names = [seen.names.get(cut, cut) for cut in lone]
        yield Weakness(code="RF9", message="cuts that met one kind of attack", value=_listed(names))
    seeds: dict[str, set[int]] = {}
    for here in plain.values():
        for outcome in here:
            if _trained(outcome):
                seeds.setdefault(outcome.trial.method, set()).add(outcome.trial.seed)
    alone = [method for method, used in seeds.items() if len(used) == 1]
    if alone:
        yield Weakness(
            code="RF9",
            message="a random attack ran with one seed: its luck is unknown",
            value=_listed(alone),
        )


def _duplicates(seen: _Seen) -> Iterator[Weakness]:
    counts = (seen.manifest.get("data") or {}).get("duplicates", {}).get("counts", {})
    found = [f"{pair}: {count}" for pair, count in counts.items() if count]
    if found:
        yield Weakness(
            code="RF13",
            message="near-duplicates between splits: an attack may know a private image already",
            value=_listed(found),
        )


def _training_mode(seen: _Seen) -> Iterator[Weakness]:
    count = (seen.manifest.get("model") or {}).get("in_training_mode", 0)
    if count:
        yield Weakness(
            code="RF15",
            message="modules in training mode: features of one image depend on its batch",
            value=f"{count} modules",
        )


def _unscored(seen: _Seen) -> Iterator[Weakness]:
    scored = {(o.trial.cut, o.trial.release, o.trial.seed) for o in seen.done(Task.UTILITY)}
    found = [
        seen.place(cell)
        for cell, here in seen.attacks().items()
        if cell[1] != PLAIN
        and cell[0] not in seen.outputs
        and not any((*cell, o.trial.seed) in scored for o in here)
    ]
    if found:
        yield Weakness(
            code="RF16",
            message="leakage under noise without the network's score under the same noise",
            value=_listed(found),
        )


def _releases(seen: _Seen) -> list[str]:
    return sorted({o.trial.release for o in seen.outcomes if o.trial.release != PLAIN})


def _fixed_noise(seen: _Seen) -> Iterator[Weakness]:
    found = [r for r in _releases(seen) if re.search(r"\bseed=(?!None)", r)]
    if found:
        yield Weakness(
            code="RF17",
            message="a release with a fixed seed: whoever knows it subtracts the noise",
            value=_listed(found),
        )


def _unclipped(seen: _Seen) -> Iterator[Weakness]:
    found = [
        r
        for r in _releases(seen)
        if re.search(r"\b(epsilon|delta)=", r)
        and not re.search(r"\b(clip|bound|radius)=(?!None|inf)", r)
    ]
    if found:
        yield Weakness(
            code="RF18",
            message="a privacy budget without a clip: nothing limits what one image can change",
            value=_listed(found),
        )


def _last_cut(seen: _Seen) -> Iterator[Weakness]:
    sent = sent_by(seen.manifest)
    leak = {
        cut: max((o.quantities["leakage"] for o in here), key=lambda q: q.value)
        for (cut, release), here in seen.attacks().items()
        if release == (PLAIN if cut in seen.outputs else sent)
        and all("leakage" in o.quantities for o in here)
    }
    depths = seen.depths
    known = [cut for cut in leak if cut in depths]
    if len(known) < 2:
        return
    answer = next((cut for cut in known if cut in seen.outputs), None)
    last = answer or max(known, key=depths.__getitem__)
    least = min(known, key=lambda cut: leak[cut].value)
    if last != least and leak[last].low >= leak[least].value:
        yield Weakness(
            code="RF24",
            message="the network's answer leaks no less than the least leaking cut: whatever that "
            "cut hides, the answer gives away"
            if answer
            else "the deepest cut leaks no less than the least leaking one, so the answer that "
            "leaves the network may leak as much: attack the outputs too",
            value=f"{seen.names[last]} L = {leak[last].value:.3g}, "
            f"{seen.names[least]} L = {leak[least].value:.3g}",
        )


_RULES: tuple[Callable[[_Seen], Iterator[Weakness]], ...] = (
    _weak_decoder,
    _unsaturated,
    _spread_of_seeds,
    _impossible,
    _fictitious,
    _deeper_leaks_more,
    _single,
    _duplicates,
    _training_mode,
    _unscored,
    _fixed_noise,
    _unclipped,
    _last_cut,
)
