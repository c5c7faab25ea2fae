"""What a trial of the task "bound" finds at one cut under one release.

| method | says | at |
|---|---|---|
| `bounds(level=0.999)` | all that is proved of every attacker | every release that changes z |
| `noise_needed(share=0.1)` | how much noise it would take, and the accuracy there | z as it is |
| `proxies()` | what ranks and proves nothing | on request and in larger budgets |
| `calibration()` | the same estimators where the answer is known | with `proxies()` |
| `twin()` | least errors for a declared source of images | on request and in the full budget |

Every bound at confidence is stated at 99.9 %, so that 50 of them still hold together at 95 %.
"""

from splitveil.audit.claims.cell import Cell, Found
from splitveil.audit.claims.dispatch import Setting, claim

__all__ = ["Cell", "Found", "Setting", "claim"]
