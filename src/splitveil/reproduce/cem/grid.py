"""C1i: what the price gains over every base on every kind of images, on the small network."""

import numpy as np
from numpy.typing import NDArray

from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.bases import ALL, compared, gain, lost
from splitveil.reproduce.cem.choosing import OURS, PLAIN
from splitveil.reproduce.cem.evidence import Seen, Setting
from splitveil.reproduce.cem.networks import FASHION
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.draws import error_draws, quantity_of
from splitveil.reproduce.experiment import ArmMissing, Evidence, Experiment, Scale
from splitveil.rng import Rng

DATA = (FASHION, *claims.ELSEWHERE)


def grid(scale: Scale) -> Experiment:
    """C1i; every kind's own mean and every place stand beside."""
    arms = tuple(
        arm for data in DATA for base in ALL for arm in compared(data, base, scale, (OURS,))
    )

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        kinds: list[NDArray[np.float64]] = []
        beside: list[Reading] = []
        images = 0
        for data in DATA:
            try:
                row = [_pair(evidence, data, base, scale) for base in ALL]
            except ArmMissing as error:
                return (Finding(claim=claims.GRID, quantities=(), seeds=0, note=f"{error}"),)
            kinds.append(mean_logs(row, data))
            count = row[0][0].mse.shape[1]
            images += count
            beside.append(mean_ratio(kinds[-1], f"mean ratio, {data}", "5 bases", count))
            for base, (ours, bare) in zip(ALL, row, strict=True):
                place = f"{data}, {base}"
                beside += [gain(ours, bare, place), lost(ours, bare, place)]
        measured = claims.GRID.criteria[0].measured
        whole = mean_ratio(np.mean(kinds, axis=0), measured, "20 places", images)
        return (Finding(claim=claims.GRID, quantities=(whole, *beside), seeds=scale.seeds),)

    return Experiment(claims=(claims.GRID,), arms=arms, judge=judge)


def _pair(evidence: Evidence, data: str, base: str, scale: Scale) -> tuple[Seen, Seen]:
    ours, bare = (
        Seen.of(evidence, Setting(data=data, base=base, form=form), scale) for form in (OURS, PLAIN)
    )
    return ours, bare


def mean_logs(row: list[tuple[Seen, Seen]], data: str) -> NDArray[np.float64]:
    """Mean over pairs of the ln ratio, in every draw; images and seeds are drawn jointly."""
    errors = np.stack([one.mse for pair in zip(*row, strict=True) for one in pair])
    drawn = np.log(error_draws(errors, Rng(0, ("cem", "grid", data))))
    found: NDArray[np.float64] = (drawn[:, : len(row)] - drawn[:, len(row) :]).mean(1)
    return found


def mean_ratio(logs: NDArray[np.float64], measured: str, subject: str, images: int) -> Reading:
    """The geometric mean of ratios whose ln was drawn."""
    words = ("the places compared are these",)
    found = quantity_of(np.exp(logs), unit="", n=images, words=words)
    return Reading(measured=measured, subject=subject, quantity=found)
