"""TL-DMI: transfer learning against training-data inversion, and the attacks it is tried on."""

from splitveil.reproduce.experiment import PUBLISHED, SMALL, Make, Paper
from splitveil.reproduce.tldmi.beyond import composed, fragile, known
from splitveil.reproduce.tldmi.claims import CLAIMS
from splitveil.reproduce.tldmi.figures import layers, people_sheet, sheet
from splitveil.reproduce.tldmi.findings import (
    adaptive,
    efficient,
    farther,
    important,
    main_claim,
    matched,
    monotone,
    ordered,
    placed,
    signed,
    statistics,
)
from splitveil.reproduce.tldmi.networks import REVISION
from splitveil.reproduce.tldmi.others import people_frozen, people_rivals

MAKES: tuple[Make, ...] = (
    ordered,
    main_claim,
    monotone,
    important,
    efficient,
    matched,
    placed,
    farther,
    signed,
    adaptive,
    composed,
    statistics,
    fragile,
    known,
    people_frozen,
    people_rivals,
)

PAPER = Paper(
    name="tldmi",
    title="TL-DMI: transfer learning against training-data inversion",
    claims=CLAIMS,
    makes=MAKES,
    draws=(layers, sheet, people_sheet),
    revision=REVISION,
    scales=(SMALL, PUBLISHED),
)
