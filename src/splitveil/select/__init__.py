"""Which cut under which release: zone, limits, Pareto front, choice; reads records, no torch."""

from splitveil.select.candidates import Candidate, Link, read_candidates
from splitveil.select.choose import Selection, Sensitivity, select, sensitivity
from splitveil.select.limits import Breach, Limits
from splitveil.select.pareto import dominates, front
from splitveil.select.prefer import Chebyshev, Lexicographic
from splitveil.select.profile import Profile, read_profile
from splitveil.select.reading import Records, read_records
from splitveil.select.relax import Relaxation, minimal_relaxations
from splitveil.select.zone import CutEvidence, Zone, find_zone, paper_raw_marks

__all__ = [
    "Breach",
    "Candidate",
    "Chebyshev",
    "CutEvidence",
    "Lexicographic",
    "Limits",
    "Link",
    "Profile",
    "Records",
    "Relaxation",
    "Selection",
    "Sensitivity",
    "Zone",
    "dominates",
    "find_zone",
    "front",
    "minimal_relaxations",
    "paper_raw_marks",
    "read_candidates",
    "read_profile",
    "read_records",
    "select",
    "sensitivity",
]
