"""Cross-entropy: the identity loss of GMI and KEDMI."""

from dataclasses import dataclass

from splitveil.class_inversion.losses.base import Answer, IdentityLoss, chosen
from splitveil.shapes import Labels, PerImage


@dataclass(frozen=True)
class CrossEntropy(IdentityLoss):
    """-o_c + ln Σ exp(o): unmoved by a constant added to all logits; in nats.

    Its gradient vanishes as the probability of the class reaches one.

    References: Zhang et al., CVPR 2020.
    """

    def __call__(self, answer: Answer, labels: Labels) -> PerImage:
        return answer.logits.logsumexp(1) - chosen(answer.logits, labels)
