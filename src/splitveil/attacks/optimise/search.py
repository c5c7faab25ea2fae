"""Several starts an image, searched together; the answer is the one of least objective."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitveil.attacks.optimise.chunks import in_chunks, measured_chunk
from splitveil.attacks.optimise.coarse_to_fine import Scale, scales
from splitveil.attacks.optimise.minimise import Box, Ending, Minimum, Optimiser
from splitveil.attacks.optimise.objective import Objective, Problems


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found: targets `x` (n, d) and how it went.

    `objective` and `misfit` (n,) are the least objective and its data term, `start` (n,) which
    start led there, `steps` (n, starts) taken at the last scale, `ending` (n, starts) an `Ending`
    each; `notes` say what a reader of the result must know.
    """

    x: Tensor
    objective: Tensor
    misfit: Tensor
    start: Tensor
    steps: Tensor
    ending: Tensor
    chunk: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Starts:
    """Starting points (n, starts, d), and which of the starts say nothing of details.

    Those go through the coarse scales first.
    """

    x: Tensor
    coarse: tuple[bool, ...]


@dataclass(frozen=True)
class Plan:
    """How to search: the optimiser of the last scale, the coarser ones, and rows at a time.

    `factors` are pixels a coarse pixel is wide; each coarse scale takes a quarter of the steps.
    `chunk` None measures.
    """

    optimiser: Optimiser
    factors: tuple[int, ...]
    chunk: int | None

    def solve(
        self,
        objective: Objective,
        problems: Problems,
        start: Tensor,
        coarse: Tensor,
        marks: tuple[int, ...] = (),
    ) -> tuple[Minimum, int, int]:
        """Minimise every problem from its start (b, d); also the chunk sizes used and tried."""
        box = Box(0.0, 1.0) if len(objective.shape) == 3 else Box(-torch.inf, torch.inf)
        start = box.project(start.to(objective.dtype))
        *wide, last = scales(objective.shape, self.factors)
        chunk = self.chunk or measured_chunk(objective.function(problems, last), start)
        short = _shorter(self.optimiser)

        def work(index: Tensor) -> Minimum:
            x, own = start[index].clone(), problems.take(index)
            rough = coarse[index].nonzero().flatten()
            for scale in wide if len(rough) else ():
                found = short.minimise(
                    objective.function(own.take(rough), scale), scale.down(x[rough]), box
                )
                x[rough] = box.project(_raised(found.x, scale))
            return self.optimiser.minimise(objective.function(own, last), x, box, marks=marks)

        return *in_chunks(work, len(start), chunk, start.device), chunk

    def search(self, objective: Objective, problems: Problems, starts: Starts) -> Search:
        """Search all starts of all images; `problems` are one an image."""
        n, k, d = starts.x.shape
        each = torch.arange(n, device=starts.x.device).repeat_interleave(k)
        coarse = torch.tensor(starts.coarse, device=starts.x.device).repeat(n)
        found, chunk, tried = self.solve(
            objective, problems.take(each), starts.x.reshape(n * k, d), coarse
        )
        value = found.value.nan_to_num(torch.inf, torch.inf, torch.inf).reshape(n, k)
        best = value.argmin(1)
        x = found.x.reshape(n, k, d)[torch.arange(n, device=best.device), best]
        misfit = _misfit(objective, x, problems, chunk)
        ending = found.ending.reshape(n, k)
        return Search(
            x,
            value.amin(1),
            misfit,
            best,
            found.steps.reshape(n, k),
            ending,
            chunk,
            (*_notes(ending, value), *_halved(chunk, tried)),
        )


def _shorter(optimiser: Optimiser) -> Optimiser:
    return replace(optimiser, steps=max(1, optimiser.steps // 4))  # type: ignore[type-var]


def _raised(u: Tensor, scale: Scale) -> Tensor:
    return scale.up(u).flatten(1)


def _misfit(objective: Objective, x: Tensor, problems: Problems, chunk: int) -> Tensor:
    parts = [
        objective.fidelity(objective.head(part.unflatten(1, objective.shape)), images).double()
        for part, images in zip(x.split(chunk), problems.images.split(chunk), strict=True)
    ]
    return torch.cat(parts)


def _notes(ending: Tensor, value: Tensor) -> tuple[str, ...]:
    notes = []
    lost = int(value.isinf().all(1).sum())
    if lost:
        notes.append(f"{lost} images have no finite objective at any start: the first guess stands")
    diverged = int((ending == Ending.DIVERGED).any(1).sum())
    if diverged:
        notes.append(f"{diverged} images diverged from some start: the best before that was kept")
    unfinished = int((ending == Ending.STEPS).all(1).sum())
    if unfinished:
        notes.append(f"{unfinished} images used up their steps from every start: more may help")
    return tuple(notes)


def _halved(chunk: int, tried: int) -> tuple[str, ...]:
    if chunk >= tried:
        return ()
    return (f"memory gave out with {tried} searches at a time: {chunk} were run together",)
