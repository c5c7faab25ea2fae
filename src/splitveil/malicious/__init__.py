"""A server that trains a network to give its inputs away, and the arms to compare it with.

`train_malicious` trains a classifier together with a secret decoder of what it releases. The
controls are `train_honest`, `fit_afterwards` (a decoder of an honest network), `autoencoder` and
`linear_code`.
"""

from splitveil.malicious.attack import SecretDecoder
from splitveil.malicious.hiding import Hiding
from splitveil.malicious.linear import linear_code
from splitveil.malicious.objective import Resemblance
from splitveil.malicious.pair import Honest, Malicious, Passed, SecretReconstructor
from splitveil.malicious.tasks import MultiAttribute, MultiClass, Task
from splitveil.malicious.train import (
    autoencoder,
    fit_afterwards,
    train_honest,
    train_malicious,
)

__all__ = [
    "Hiding",
    "Honest",
    "Malicious",
    "MultiAttribute",
    "MultiClass",
    "Passed",
    "Resemblance",
    "SecretDecoder",
    "SecretReconstructor",
    "Task",
    "autoencoder",
    "fit_afterwards",
    "linear_code",
    "train_honest",
    "train_malicious",
]
