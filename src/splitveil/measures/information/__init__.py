"""How much of an image is sent, in nats, and the least error that follows from it.

| measure | says | kind |
|---|---|---|
| `payload_bound`, `capacity_bound` | I(X; Z) at most, from the release alone | theorem, upper |
| `variational_bound` | I(X; Z) at most, from features and noise | theorem at confidence, upper |
| `log_det_bound` | the same from covariances | theorem at confidence, upper |
| `redundancy_bound` | I(X; Z given Y) at most | theorem at confidence, upper |
| `leave_one_out_bounds` | I(X; Z) between two ends | theorem at confidence |
| `identification_floor` | I(X; Z) at least, from an attack | theorem at confidence, lower |
| `log_det_estimates`, `leak_budget` | what a stated noise would let through | proxy, model |
| `entropy_floor` | a discrete entropy at least | theorem at confidence, lower |
| `mixture_entropy_bounds` | entropy of a declared mixture | model |
| `shannon_bound`, `water_filled_bound` | least error, from I and entropies | as given |
| `label_side_bound`, `dithered_bound` | the same within classes, on a grid | as given |
| `retention` | the prior-free factor exp(-2 I / d) | as given |
"""

from splitveil.measures.information.dithered import dithered_bound
from splitveil.measures.information.entropy_floor import entropy_floor
from splitveil.measures.information.flow import FlowTraining
from splitveil.measures.information.identification import identification_floor
from splitveil.measures.information.label_side import label_side_bound
from splitveil.measures.information.leak_budget import (
    LeakBudget,
    leak_budget,
    spectral_leak_budget,
)
from splitveil.measures.information.leave_one_out import leave_one_out_bounds
from splitveil.measures.information.log_det import log_det_bound, log_det_estimates
from splitveil.measures.information.mixture import mixture_entropy_bounds
from splitveil.measures.information.payload import capacity_bound, payload_bound
from splitveil.measures.information.redundancy import redundancy_bound
from splitveil.measures.information.shannon import retention, shannon_bound
from splitveil.measures.information.variational import variational_bound
from splitveil.measures.information.water_filled import water_filled_bound

__all__ = [
    "FlowTraining",
    "LeakBudget",
    "capacity_bound",
    "dithered_bound",
    "entropy_floor",
    "identification_floor",
    "label_side_bound",
    "leak_budget",
    "leave_one_out_bounds",
    "log_det_bound",
    "log_det_estimates",
    "mixture_entropy_bounds",
    "payload_bound",
    "redundancy_bound",
    "retention",
    "shannon_bound",
    "spectral_leak_budget",
    "variational_bound",
    "water_filled_bound",
]
