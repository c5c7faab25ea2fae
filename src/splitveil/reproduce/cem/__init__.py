"""Conditional entropy maximisation (arXiv 2503.00383): its claims, with ours, and what answers."""

from splitveil.reproduce.cem.bases import bases, elsewhere, larger, noise, signs
from splitveil.reproduce.cem.claims import CLAIMS
from splitveil.reproduce.cem.clusters import followed, shape
from splitveil.reproduce.cem.controlled import controlled
from splitveil.reproduce.cem.figures import figures
from splitveil.reproduce.cem.grid import grid
from splitveil.reproduce.cem.mixed import mixed
from splitveil.reproduce.cem.moved import moved
from splitveil.reproduce.cem.networks import REVISION
from splitveil.reproduce.cem.simpler import simpler
from splitveil.reproduce.cem.steered import steered
from splitveil.reproduce.cem.strength import strength
from splitveil.reproduce.experiment import Make, Paper

MAKES: tuple[Make, ...] = (
    noise,
    bases,
    elsewhere,
    strength,
    followed,
    larger,
    shape,
    signs,
    grid,
    steered,
    moved,
    simpler,
    mixed,
    controlled,
)

PAPER = Paper(
    name="cem",
    title="Conditional entropy maximisation, arXiv 2503.00383",
    claims=CLAIMS,
    makes=MAKES,
    draws=(figures,),
    revision=REVISION,
)
