"""PEEL (Arif et al. 2025, arXiv 2504.06410): its claims, with ours, and what answers them."""

from splitveil.reproduce.experiment import Make, Paper
from splitveil.reproduce.peel.claims import CLAIMS
from splitveil.reproduce.peel.depth import depth
from splitveil.reproduce.peel.exactness import exactness, speed
from splitveil.reproduce.peel.noise import noise
from splitveil.reproduce.peel.places import places
from splitveil.reproduce.peel.rivals import rivals, skips
from splitveil.reproduce.peel.strides import counts, strides

MAKES: tuple[Make, ...] = (
    exactness,
    speed,
    skips,
    rivals,
    strides,
    depth,
    noise,
    counts,
    places,
)

PAPER = Paper(name="peel", title="PEEL, arXiv 2504.06410", claims=CLAIMS, makes=MAKES)
