"""Golden Partition Zone (Liu et al., arXiv 2506.15412): its claims and what answers them.

Files of their own hold claims (`gpz_claims`) and experiments; each experiment is an entry below.
"""

from splitveil.reproduce import gpz_claims, gpz_training_claims
from splitveil.reproduce.experiment import Draw, Make, Paper
from splitveil.reproduce.gpz_attacks import abruptness, ceiling, tokens
from splitveil.reproduce.gpz_enhanced import enhancement
from splitveil.reproduce.gpz_figures import figures
from splitveil.reproduce.gpz_jump_findings import columns, control, other_data, token
from splitveil.reproduce.gpz_radius import sanity, switch
from splitveil.reproduce.gpz_vortex_findings import draw, vortex
from splitveil.reproduce.gpz_zone import alignment, delay, depth, ranking

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
    claims=(*gpz_claims.CLAIMS, *gpz_training_claims.CLAIMS),
    makes=MAKES,
    draws=DRAWS,
)
