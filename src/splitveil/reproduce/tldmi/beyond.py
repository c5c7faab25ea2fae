"""What is asked beyond the paper's claims: composition, fragility, an attacker who knows more."""

from collections.abc import Sequence

import numpy as np

from splitveil.errors import BadData
from splitveil.reproduce.claims import Reading
from splitveil.reproduce.experiment import Experiment, Scale
from splitveil.reproduce.tldmi import claims as c
from splitveil.reproduce.tldmi.attacked import Fragile
from splitveil.reproduce.tldmi.findings import (
    arms_of,
    beside,
    experiment,
    needs,
    over,
    reading,
)
from splitveil.reproduce.tldmi.table import Draws, Table


def composed(scale: Scale) -> Experiment:
    """C11: freezing with BiDO against each by itself."""
    pairs = [(defence, c.CHEAP) for defence in (c.NONE, c.CHOSEN, c.BIDO[0], c.COMPOSED)]

    def read(table: Table) -> Sequence[Reading]:
        needs(table.net(c.NONE, c.CHEAP))
        apart = [table.net(defence, c.CHEAP) for defence in (c.CHOSEN, c.BIDO[0])]
        better = min(apart, key=lambda one: float(one[0]))  # chosen on the measured numbers alone
        both = table.net(c.COMPOSED, c.CHEAP)
        return [
            reading(c.COMPOSING, 0, both - better, "share"),
            *(beside("accuracy", one, table.accuracy(one)) for one, _ in pairs),
            *(beside("net accuracy", one, table.net(one, c.CHEAP)) for one, _ in pairs),
        ]

    return experiment(c.COMPOSING, scale, arms_of(scale, pairs), read)


def fragile(scale: Scale) -> Experiment:
    """C13: accuracy under small changes, frozen against none, and against leakage."""
    pairs = [(defence, c.CHEAP) for defence in c.GENERIC]
    arms = arms_of(scale, pairs) + [
        Fragile(defence=defence, seed=seed) for seed in range(scale.seeds) for defence in c.GENERIC
    ]

    def read(table: Table) -> Sequence[Reading]:
        needs(table.net(c.NONE, c.CHEAP))
        stands = {defence: table.standing(defence, c.MIDDLE) for defence in c.GENERIC}
        if not (stands[c.NONE] > 0).all():
            raise BadData("the undefended network stands under no change of 0.01 a pixel")
        nets = np.stack([table.net(defence, c.CHEAP) for defence in c.GENERIC], 1)
        return [
            reading(c.FRAGILE, 0, stands[c.CHOSEN] / stands[c.NONE]),
            reading(c.FRAGILE, 1, determination(np.stack([*stands.values()], 1), nets)),
            *(beside("accuracy under 0.01", one, draws) for one, draws in stands.items()),
            *(
                beside(f"accuracy under {radius:g}", one, table.standing(one, place))
                for place, radius in ((1, c.RADII[0]), (3, c.RADII[2]))
                for one in (c.NONE, c.CHOSEN)
            ),
        ]

    return experiment(c.FRAGILE, scale, arms, read)


def determination(x: Draws, y: Draws) -> Draws:
    """R² of the line of y on x, row by row of (m, k); 0 where it falls or either is constant."""
    a, b = (one - one.mean(1, keepdims=True) for one in (x, y))
    spread, common = (a**2).sum(1) * (b**2).sum(1), np.maximum((a * b).sum(1), 0)
    found: Draws = np.where(spread > 0, common**2 / np.where(spread > 0, spread, 1), 0.0)
    return found


def known(scale: Scale) -> Experiment:
    """C14: the attacker who has the network before fine-tuning."""
    pairs = [(one, attack) for attack in (c.CHEAP, c.KNOWING) for one in (c.NONE, c.CHOSEN)]

    def read(table: Table) -> Sequence[Reading]:
        nets = {pair: table.net(*pair) for pair in pairs}
        best = []
        for defence in (c.NONE, c.CHOSEN):
            both = [nets[defence, attack] for attack in (c.CHEAP, c.KNOWING)]
            best.append(max(both, key=lambda one: float(one[0])))
        told = over(nets[c.CHOSEN, c.KNOWING], nets[c.NONE, c.KNOWING])
        return [
            reading(c.KNOWN, 0, told),
            reading(c.KNOWN, 1, over(best[1], best[0])),
            *(beside(f"net accuracy, {pair[0]}", pair[1], net) for pair, net in nets.items()),
        ]

    return experiment(c.KNOWN, scale, arms_of(scale, pairs), read)
