"""Malicious networks: what outputs give away when training was for that."""

from splitveil.reproduce.experiment import Make, Paper
from splitveil.reproduce.vicious.claims import CLAIMS
from splitveil.reproduce.vicious.findings import arms_compared, outputs_counted, weights_swept
from splitveil.reproduce.vicious.pictures import gallery, shown

MAKES: tuple[Make, ...] = (arms_compared, outputs_counted, weights_swept, shown)

PAPER = Paper(
    name="vicious",
    title="Malicious networks: what outputs give away",
    claims=CLAIMS,
    makes=MAKES,
    draws=(gallery,),
)
