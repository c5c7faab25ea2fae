"""Which trials an audit consists of, cut by cut, and what it leaves out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from splitveil.attacks import ClassMean, MeanImage, NearestAuxiliary
from splitveil.attacks.grid import Grid as Maps
from splitveil.audit.claim_names import BOUNDS, CALIBRATION, MEASURES, NOISE_NEEDED, PROXIES, TWIN
from splitveil.audit.estimates import (
    WORKER_BYTES,
    Sizes,
    expected_bytes,
    expected_seconds,
    machine_bytes,
)
from splitveil.audit.menu import GALLERIES, core, extras, withheld
from splitveil.audit.outputs import channels
from splitveil.audit.plan import AuditPlan, Budget
from splitveil.audit.recipes import called, read_attack
from splitveil.audit.schedule import AFTER, DEAR, LAST, Job, Left, makespan
from splitveil.audit.sent import PLAIN
from splitveil.errors import BadInput
from splitveil.partition.types import Cut
from splitveil.records import Task, Trial

EVERY_CUT = "*"
ACCURACY = "accuracy()"
MOMENTS = "moments()"
NOISE = "gaussian(sigma=2.0)"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The jobs of an audit in no particular order, and the cells that are left out with why."""

    jobs: tuple[Job, ...]
    left: tuple[Left, ...]

    def seconds(self, workers: int) -> float:
        """Expected wall time of all jobs on `workers` processes."""
        return makespan(self.jobs, workers)

    @property
    def together(self) -> float:
        """Memory in bytes that trials running at the same time may share.

        Two of the largest never run together, which keeps small audits within 2 GB.
        """
        return max(700e6, 1.25 * max((job.bytes for job in self.jobs), default=0))

    def memory(self, workers: int) -> int:
        """Expected peak memory in bytes of this process and `workers` others."""
        largest = sorted((job.bytes for job in self.jobs), reverse=True)[: max(1, workers)]
        return int(WORKER_BYTES * (1 + workers) + min(sum(largest), self.together))


def spaced(cuts: Sequence[Cut], count: int) -> tuple[Cut, ...]:
    """At most `count` of `cuts`, spaced evenly in depth, the first and the last among them."""
    if count >= len(cuts):
        return tuple(cuts)
    if count < 1:
        return ()
    ordered = sorted(range(len(cuts)), key=lambda place: (cuts[place].depth, place))
    low, high = cuts[ordered[0]].depth, cuts[ordered[-1]].depth
    chosen: list[int] = [ordered[0]]
    if count > 1:
        chosen.append(ordered[-1])
    for step in range(1, count - 1):
        wanted = low + (high - low) * step / (count - 1)
        free = [place for place in ordered if place not in chosen]
        chosen.append(min(free, key=lambda place: (abs(cuts[place].depth - wanted), place)))
    return tuple(cuts[place] for place in sorted(chosen))


def spread(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """All cuts, the last and the first, then again and again the middle of the widest gap.

    An audit that is stopped early has then attacked cuts of every depth.
    """
    order = sorted({0, len(cuts) - 1}, reverse=True) if cuts else []
    while len(order) < len(cuts):
        known = sorted(order)
        low, high = max(pairwise(known), key=lambda pair: (pair[1] - pair[0], pair[1]))
        order.append((low + high) // 2)
    return tuple(cuts[place] for place in order)


@dataclass(frozen=True)
class _Cell:
    task: Task
    cut: Cut | None
    method: str
    release: str = PLAIN
    seed: int = 0
    rank: int = 1


def build_grid(
    plan: AuditPlan,
    scope: str,
    cuts: Sequence[Cut],
    sizes: Sizes,
    output: Cut | None = None,
) -> Grid:
    """The cells that a plan asks for at `cuts` and at the output, less those that cannot be run.

    Raises:
        UnknownName: if the plan names an attack or a release that does not exist.
        BadPlan: if it gives one of them settings that make no sense.
    """
    cells, left = _cells(plan, cuts)
    cells += _outputs(plan, output)
    workers = max(1, plan.workers)
    most = int(0.8 * machine_bytes()) // workers - WORKER_BYTES
    jobs = []
    for cell in dict.fromkeys(cells):
        job = _job(cell, scope, sizes)
        reason = _unfit(cell, job, most) or _alien(cell, sizes.shape)
        if reason:
            left.append(Left(trial=job.trial, reason=reason))
        else:
            jobs.append(job)
    named = [
        Left(trial=replace(one.trial, scope=scope), reason=one.reason)
        if not one.trial.scope
        else one
        for one in left
    ]
    return Grid(jobs=tuple(jobs), left=tuple(named))


def _cells(plan: AuditPlan, cuts: Sequence[Cut]) -> tuple[list[_Cell], list[Left]]:
    seed, limits = plan.seed, plan.limits
    sent = called(plan.always_release or "none")
    cells = [
        _Cell(Task.MOMENTS, None, MOMENTS, seed=seed, rank=0),
        _Cell(Task.ATTACK, None, repr(MeanImage()), seed=seed, rank=0),
        _Cell(Task.ATTACK, None, repr(ClassMean()), seed=seed, rank=0),
    ]
    left: list[Left] = []
    if plan.attacks:
        own = [read_attack(text)[0] for text in plan.attacks]
        seeds = range(seed, seed + limits.seeds)
        cells += [_Cell(Task.ATTACK, cut, m, sent, s) for cut in cuts for m in own for s in seeds]
        strong = own
    else:
        some, left = _budgeted(cuts, limits, seed, sent)
        cells += some
        ridge, decoder = core(limits)
        strong = [ridge, *(read_attack(text)[0] for text in GALLERIES), decoder]
    noisy = _noise_cuts(cuts, limits)
    default = (NOISE,) if sent == PLAIN else ()
    arms = [name for name in map(called, plan.releases or default) if name not in (PLAIN, sent)]
    for release in arms:
        cells += _arm(release, noisy, strong, seed)
    if sent != PLAIN:
        cells += [_Cell(Task.UTILITY, cut, ACCURACY, sent, seed) for cut in cuts]
    cells += _claims(plan, cuts, noisy, arms, sent)
    return cells, left


def _outputs(plan: AuditPlan, output: Cut | None) -> list[_Cell]:
    """Cheap attacks on each channel of the output, and the plan's own where it names it.

    They go first, but after attacks that were named, which a short budget has to reach.
    """
    rank = 1 if plan.attacks else 0
    named = output is not None and not {output.id, output.name}.isdisjoint(plan.cuts)
    own = tuple(read_attack(text)[0] for text in plan.attacks) if named else ()
    return [
        _Cell(Task.ATTACK, channel.cut, method, channel.release, plan.seed, rank=rank)
        for channel in channels(output)
        for method in (*channel.attacks, *own)
    ]


def _claims(
    plan: AuditPlan, cuts: Sequence[Cut], noisy: Sequence[Cut], arms: Sequence[str], sent: str
) -> list[_Cell]:
    """The noise that plain features would need, and what was asked for beside the budget's choice.

    The noise is sought where every attack runs, so that the headline's cut is among them; deepest
    cuts first, after all attacks. Where a release is always there, what it proves stands in place
    of that.
    """
    asked = {*plan.measures, *plan.limits.measures}
    full = (
        cuts
        if plan.attacks
        else spaced(spaced(cuts, plan.limits.ridge_cuts), plan.limits.decoder_cuts)
    )
    claim = NOISE_NEEDED if sent == PLAIN else BOUNDS
    cells = [
        _Cell(Task.BOUND, cut, claim, sent, plan.seed, AFTER + place)
        for place, cut in enumerate(reversed(full))
    ]
    hidden = [(arm, tuple(noisy)) for arm in arms]
    if sent != PLAIN:
        hidden = [(sent, tuple(full)), *hidden]
    late = AFTER + len(cuts)
    if PROXIES in {MEASURES[name] for name in asked}:
        cells.append(_Cell(Task.BOUND, None, CALIBRATION, seed=plan.seed, rank=late))
        for release, where in dict.fromkeys(((sent, tuple(full)), *hidden)):
            cells += [_Cell(Task.BOUND, cut, PROXIES, release, plan.seed, late) for cut in where]
    if TWIN in {MEASURES[name] for name in asked}:
        for release, where in hidden:
            cells += [_Cell(Task.BOUND, cut, TWIN, release, plan.seed, late) for cut in where]
    return cells


def _budgeted(
    cuts: Sequence[Cut], limits: Budget, seed: int, sent: str
) -> tuple[list[_Cell], list[Left]]:
    """The budget's choice: cheap attacks everywhere, dear ones at depth-spaced cuts."""
    ridge, decoder = core(limits)
    patch, _ = read_attack("PatchRidge()")
    galleries = [read_attack(text)[0] for text in GALLERIES]
    ridge_cuts = spaced(cuts, limits.ridge_cuts)
    decoder_cuts = spaced(ridge_cuts, limits.decoder_cuts)
    cells: list[_Cell] = []
    left: list[Left] = []
    for cut in spread(cuts):
        cells.append(_Cell(Task.ATTACK, cut, patch, sent, seed))
        cells.append(_Cell(Task.ATTACK, cut, repr(NearestAuxiliary()), sent, seed))
        deepest_first = DEAR + len(cuts) - cuts.index(cut)
        for method, chosen, seeds, rank in (
            (ridge, ridge_cuts, 1, DEAR),
            (decoder, decoder_cuts, limits.seeds, deepest_first),
        ):
            if cut in chosen:
                cells += [
                    _Cell(Task.ATTACK, cut, method, sent, s, rank)
                    for s in range(seed, seed + seeds)
                ]
            else:
                trial = Trial(
                    scope="", task=Task.ATTACK, cut=cut.id, release=sent, method=method, seed=seed
                )
                reason = f"budget: {method} at {len(chosen)} of {len(cuts)} cuts, spaced by depth"
                left.append(Left(trial=trial, reason=reason))
        if cut in spaced(decoder_cuts, limits.gallery_cuts):
            cells += [_Cell(Task.ATTACK, cut, method, sent, seed, DEAR) for method in galleries]
    cells += _beyond(decoder_cuts, limits, seed, sent)
    for name, reason in withheld(limits, len(cuts)):
        trial = Trial(
            scope="", task=Task.ATTACK, cut=EVERY_CUT, release=sent, method=name, seed=seed
        )
        left.append(Left(trial=trial, reason=reason))
    return cells, left


def _beyond(cuts: Sequence[Cut], limits: Budget, seed: int, sent: str) -> list[_Cell]:
    """The attacks beyond the core, one after another, each at its deepest cut first."""
    cells = []
    for place, (method, count) in enumerate(extras(limits)):
        first = LAST + 1 + place * len(cuts)
        cells += [
            _Cell(Task.ATTACK, cut, method, sent, seed, first + index)
            for index, cut in enumerate(reversed(spaced(cuts, count)))
        ]
    return cells


def _noise_cuts(cuts: Sequence[Cut], limits: Budget) -> tuple[Cut, ...]:
    """The narrowest cuts that the ridge is run at, the deepest among equals.

    Noise of a given strength hides most where few values cross.
    """
    where = spaced(cuts, limits.ridge_cuts)
    ranked = sorted(where, key=lambda cut: (cut.layout.size, -cut.depth))
    return tuple(ranked[: limits.noise_cuts])


def _arm(release: str, cuts: Sequence[Cut], methods: Sequence[str], seed: int) -> list[_Cell]:
    """One release at some cuts: what it costs in accuracy, what is proved, what attacks get."""
    cells = []
    for cut in cuts:
        cells.append(_Cell(Task.UTILITY, cut, ACCURACY, release, seed))
        cells.append(_Cell(Task.BOUND, cut, BOUNDS, release, seed))
        early = max(1, len(methods) - 1)
        cells += [
            _Cell(Task.ATTACK, cut, method, release, seed, DEAR) for method in methods[:early]
        ]
        cells += [
            _Cell(Task.ATTACK, cut, method, release, seed, LAST) for method in methods[early:]
        ]
    return cells


def _job(cell: _Cell, scope: str, sizes: Sizes) -> Job:
    trial = Trial(
        scope=scope,
        task=cell.task,
        cut=EVERY_CUT if cell.cut is None else cell.cut.id,
        release=cell.release,
        method=cell.method,
        seed=cell.seed,
    )
    return Job(
        trial=trial,
        seconds=expected_seconds(cell.task, cell.method, cell.cut, sizes),
        bytes=expected_bytes(cell.cut, sizes),
        rank=cell.rank,
    )


def _unfit(cell: _Cell, job: Job, most: int) -> str:
    """Why a cell cannot be run at all, or nothing."""
    if job.bytes > most:
        return (
            f"memory: about {job.bytes / 1e9:.1f} GB needed, {max(0, most) / 1e9:.1f} GB a worker; "
            "use fewer jobs or fewer auxiliary images"
        )
    return ""


def _alien(cell: _Cell, shape: tuple[int, ...]) -> str:
    """Why a map-wise attack cannot work at a cut, or nothing."""
    if cell.cut is None or not cell.method.startswith("PatchRidge("):
        return ""
    try:
        Maps.of(cell.cut.layout, shape)
    except BadInput:
        return "does not apply: what crosses is no map over the image"
    return ""
