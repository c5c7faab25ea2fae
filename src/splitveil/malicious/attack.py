"""The secret decoder as an attack beside the others."""

from dataclasses import dataclass
from typing import ClassVar

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.errors import BadInput
from splitveil.malicious.pair import Malicious
from splitveil.rng import Rng
from splitveil.threat import QueryFree


@dataclass(frozen=True, eq=False)
class SecretDecoder(Attack):
    """Answer with the decoder that was trained with the network; learns nothing from knowledge.

    For whoever made the network, or plays its maker. It holds networks, so its `repr` does not
    rebuild it and no plan can name it.
    """

    requires: ClassVar[type[QueryFree]] = QueryFree
    reference: ClassVar[str] = "Malekzadeh & Gündüz 2022"

    pair: Malicious

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        if knowledge.layout.size != self.pair.code:
            raise BadInput(
                f"the decoder reads {self.pair.code} values an image, {knowledge.layout.size} "
                "cross here: attack the release it was trained for"
            )
        return self.pair.reconstructor
