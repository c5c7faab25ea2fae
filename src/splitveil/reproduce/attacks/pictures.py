"""Error against computing at early, middle and late cuts: one panel a network and cut."""

from pathlib import Path

import numpy as np

from splitveil.reproduce.attacks.claims import PLACES
from splitveil.reproduce.attacks.strength import EPOCHS, LENGTHS, RIDGE, measured_at
from splitveil.reproduce.experiment import ArmMissing, Evidence, Scale

_FAMILIES = (
    ("ridge", (RIDGE,), "s"),
    ("decoder", tuple(f"{n} epochs" for n in EPOCHS), "o"),
    ("search", tuple(f"{n} steps" for n in LENGTHS), "^"),
)


def pictures(evidence: Evidence, scale: Scale, folder: Path) -> None:
    """Write attacks-strength.svg.

    Raises:
        ArmMissing: if no cut was attacked by all.
    """
    from matplotlib.figure import Figure

    found = {}
    for network, cuts in PLACES.items():
        for cut in cuts:
            try:
                found[network, cut] = measured_at(evidence, f"{network} {cut}", scale)
            except ArmMissing:
                continue
    if not found:
        raise ArmMissing("no cut was attacked by all")
    networks = [name for name in PLACES if any(key[0] == name for key in found)]
    figure = Figure(figsize=(8.4, 0.5 + 2.1 * len(networks)), layout="constrained")
    panels = figure.subplots(len(networks), 3, squeeze=False, sharex=True, sharey="row")
    for row, network in zip(panels, networks, strict=True):
        row[0].set_ylabel(f"{network}\nmse per value")
        for panel, cut in zip(row, PLACES[network], strict=True):
            panel.set_title(cut, fontsize=9)
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.grid(visible=True, alpha=0.3)
            if (network, cut) not in found:
                continue
            errors, seconds = found[network, cut]
            for name, rungs, marker in _FAMILIES:
                x = [seconds[rung].value for rung in rungs]
                y = [float(np.mean(errors[rung])) for rung in rungs]
                panel.plot(x, y, marker=marker, label=name, linewidth=1.2, markersize=4)
    for panel in panels[-1]:
        panel.set_xlabel("CPU seconds, 100 images")
    panels[0][0].legend(fontsize=8)
    figure.savefig(folder / "attacks-strength.svg", metadata={"Date": None})
