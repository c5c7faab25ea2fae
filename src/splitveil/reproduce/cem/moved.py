"""C1j, C1k: vgg and resnet on all four kinds of images, with a price that meets its target."""

from itertools import chain

import numpy as np

from splitveil.reproduce.cem import claims
from splitveil.reproduce.cem.attacked import Attacked
from splitveil.reproduce.cem.bases import beside, gain, lost
from splitveil.reproduce.cem.choosing import OURS, PLAIN, number
from splitveil.reproduce.cem.evidence import Seen
from splitveil.reproduce.cem.grid import DATA, mean_logs, mean_ratio
from splitveil.reproduce.cem.networks import FASHION, Moved
from splitveil.reproduce.cem.steered import ChosenShare, Steered
from splitveil.reproduce.claims import Finding, Reading
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Scale


def moved(scale: Scale) -> Experiment:
    """C1j, C1k; what the arms of each place measured stands beside."""
    places = [(network, data) for network in claims.NETWORKS for data in DATA]

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        seen: dict[tuple[str, str], tuple[Seen, Seen]] = {}
        missing = []
        for network, data in places:
            try:
                ours, bare = _pair(network, data, scale)
                seen[network, data] = (Seen.of_arms(evidence, ours), Seen.of_arms(evidence, bare))
            except ArmMissing as error:
                missing.append(f"{network}, {data}: {error}")
        readings = [reading for place, pair in seen.items() for reading in _place(*place, *pair)]
        kinds = [
            mean_logs([seen[network, data] for network in claims.NETWORKS], data)
            for data in DATA
            if all((network, data) in seen for network in claims.NETWORKS)
        ]
        whole: tuple[Reading, ...] = ()
        if len(kinds) == len(DATA):
            images = sum(seen["vgg", data][0].mse.shape[1] for data in DATA)
            measured = claims.LARGER_MEAN.criteria[0].measured
            whole = (mean_ratio(np.mean(kinds, axis=0), measured, "8 places", images),)
        note = f"{len(missing)} missing, the first is {missing[0]}" if missing else ""
        return (
            Finding(
                claim=claims.MOVED,
                quantities=tuple(readings),
                seeds=scale.seeds if readings else 0,
                note=note or _shares(evidence),
            ),
            Finding(
                claim=claims.LARGER_MEAN,
                quantities=whole,
                seeds=scale.seeds if whole else 0,
                note=note,
            ),
        )

    return Experiment(
        claims=(claims.MOVED, claims.LARGER_MEAN),
        arms=tuple(chain.from_iterable(_arms(*place, scale) for place in places)),
        judge=judge,
    )


def _pair(
    network: str, data: str, scale: Scale
) -> tuple[tuple[Attacked, ...], tuple[Attacked, ...]]:
    ours = tuple(Steered(data=data, network=network, seed=seed) for seed in range(scale.seeds))
    return ours, tuple(arm.bare for arm in ours)


def _arms(network: str, data: str, scale: Scale) -> tuple[Arm, ...]:
    """In order: what a place's networks begin from, the base, the share, the price."""
    ours, bare = _pair(network, data, scale)
    # the share is chosen on vgg, which has to be there first
    sources = () if data == FASHION else dict.fromkeys(("vgg", network))
    return (
        *(Moved(data=data, network=name) for name in sources),
        *bare,
        ChosenShare(data=data),
        *ours,
    )


def _place(network: str, data: str, ours: Seen, bare: Seen) -> list[Reading]:
    place = f"{network}, {data}"
    return [
        gain(ours, bare, place),
        lost(ours, bare, place),
        *beside({OURS: ours, PLAIN: bare}, place),
    ]


def _shares(evidence: Evidence) -> str:
    found = (
        f"{data} {number(evidence.take(ChosenShare(data=data)).details, 'share'):g}"
        for data in DATA
    )
    return "shares of the base's rate: " + ", ".join(found)
