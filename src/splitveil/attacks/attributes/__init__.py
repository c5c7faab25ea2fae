"""What z tells about a person beside the picture: attributes, and who it is.

| attack | what it does |
|---|---|
| `LabelOnly` | the floor: the commonest attribute of the label, whatever was sent |
| `LinearAttribute` | least squares from z to indicators of the attribute |
| `NetworkAttribute` | a small network, trained on auxiliary images |
| `FewShotAttribute` | nearest mean of a few examples a value |
| `Verifier` | are two things sent of the same person? and who is it, in a gallery |

`measures.attribute_lift` and `measures.verification` turn answers into numbers.
"""

from splitveil.attacks.attributes.base import AttributeAttack, AttributeGuesser
from splitveil.attacks.attributes.few_shot import FewShotAttribute
from splitveil.attacks.attributes.label_only import LabelOnly
from splitveil.attacks.attributes.linear import LinearAttribute
from splitveil.attacks.attributes.network import NetworkAttribute
from splitveil.attacks.attributes.verifier import Verifier

__all__ = [
    "AttributeAttack",
    "AttributeGuesser",
    "FewShotAttribute",
    "LabelOnly",
    "LinearAttribute",
    "NetworkAttribute",
    "Verifier",
]
