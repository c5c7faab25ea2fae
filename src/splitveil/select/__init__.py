"""Which cut under which release: zone, limits, Pareto front, choice; reads records, no torch."""

from splitveil.select.candidates import Candidate, read_candidates
from splitveil.select.choose import Selection, select
from splitveil.select.energy import Energy
from splitveil.select.knee import Knee
from splitveil.select.limits import Breach, Limits
from splitveil.select.link import Link, link_of_trace, read_trace
from splitveil.select.pareto import dominates, front
from splitveil.select.prefer import Chebyshev, Lexicographic
from splitveil.select.profile import Profile, read_profile
from splitveil.select.question import Question, Sensitivity, sensitivity
from splitveil.select.reading import Records, read_records
from splitveil.select.relax import Relaxation, minimal_relaxations
from splitveil.select.scenarios import Regret, Scenario, least_regret, regrets, worst_case
from splitveil.select.zone import CutEvidence, Zone, find_zone, paper_raw_marks

__all__ = [
    "Breach",
    "Candidate",
    "Chebyshev",
    "CutEvidence",
    "Energy",
    "Knee",
    "Lexicographic",
    "Limits",
    "Link",
    "Profile",
    "Question",
    "Records",
    "Regret",
    "Relaxation",
    "Scenario",
    "Selection",
    "Sensitivity",
    "Zone",
    "dominates",
    "find_zone",
    "front",
    "least_regret",
    "link_of_trace",
    "minimal_relaxations",
    "paper_raw_marks",
    "read_candidates",
    "read_profile",
    "read_records",
    "read_trace",
    "regrets",
    "select",
    "sensitivity",
    "worst_case",
]
