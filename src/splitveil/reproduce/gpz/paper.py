"""The claims of the paper on the golden partition zone and what answers them.

`claims` and `training_claims` say what is claimed; each experiment is an entry below.
"""

from splitveil.reproduce.experiment import PUBLISHED, SMALL, Draw, Make, Paper
from splitveil.reproduce.gpz import claims, training_claims
from splitveil.reproduce.gpz.attacks import abruptness, ceiling, tokens
from splitveil.reproduce.gpz.enhanced import enhancement
from splitveil.reproduce.gpz.figures import figures
from splitveil.reproduce.gpz.jump_findings import columns, control, other_data, token
from splitveil.reproduce.gpz.radius import sanity, switch
from splitveil.reproduce.gpz.vortex_findings import draw, vortex
from splitveil.reproduce.gpz.zone import alignment, delay, depth, ranking

MAKES: tuple[Make, ...] = (
    sanity,
    switch,
    depth,
    abruptness,
    alignment,
    ranking,
    delay,
    tokens,
    ceiling,
    enhancement,
    vortex,
    control,
    columns,
    other_data,
    token,
)
DRAWS: tuple[Draw, ...] = (draw, figures)

PAPER = Paper(
    name="gpz",
    title="Golden Partition Zone, arXiv 2506.15412",
    claims=(*claims.CLAIMS, *training_claims.CLAIMS),
    makes=MAKES,
    draws=DRAWS,
    scales=(SMALL, PUBLISHED),
)
