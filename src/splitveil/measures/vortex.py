"""How the spread within classes moves in training: what drives it, measured and in closed form."""

from dataclasses import dataclass, replace
from typing import TypeAlias

from jaxtyping import Float, Float64
from torch import Tensor

from splitveil.errors import BadData
from splitveil.estimators.scatter import Moments
from splitveil.measures.checks import OtherLabels, finite
from splitveil.measures.radius import radius
from splitveil.measures.reconstruction import mean_of
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Features, Logits, PerImage

OtherTargets: TypeAlias = Float[Tensor, "n4 k4"]
Weight: TypeAlias = Float[Tensor, "k5 f5"]
Bias: TypeAlias = Float[Tensor, " k7"]
PerClass: TypeAlias = Float64[Tensor, " k6"]
_FREE = "the first-order pull on features that move freely before a linear last layer"
_MEANS = "interval given the class means"


@dataclass(frozen=True, eq=False)
class RadiusChange:
    """Exact change of R_c² of each class in one gradient step, in its two terms.

    `first` = -2 γ E_c[(s - s̄)·(p - q)]; `second` = γ² tr Cov_c(g) >= 0. NaN for absent classes.
    """

    first: PerClass
    second: PerClass

    @property
    def total(self) -> PerClass:
        """The change itself, feature unit²."""
        return self.first + self.second


def radius_change(
    z: Features,
    labels: OtherLabels,
    weight: Weight,
    targets: OtherTargets,
    *,
    step: float,
    bias: Bias | None = None,
) -> RadiusChange:
    """Change of R_c² when every z moves by -γ times the gradient of its own cross-entropy.

    With a linear last layer s = W z + b, p = softmax(s) and targets q, the gradient is
    g = Wᵀ(p - q), and exactly
    ΔR_c² = -2 γ E_c[(s - s̄)·(p - q)] + γ² tr Cov_c(g), E_c and Cov_c over the N_c images of c.
    Where q is the same for the whole class it cancels from the first term, and as softmax is the
    gradient of a convex function that term is <= 0: smoothing, of either sign, acts only through
    where it brings p.

    Holds for free features: in a network, layers before z share weights and move it otherwise.

    Args:
        z: features before the last layer.
        labels: their classes.
        weight: W, one row a class.
        targets: q of each image; rows need not be distributions.
        step: γ, the step length on each z.
        bias: b, or None for zero.

    Raises:
        BadData: if shapes do not fit or a number is not finite.

    References:
        Golden Partition Zone, arXiv 2506.15412 (first-order form).
    """
    if len(labels) != len(z) or targets.shape != (len(z), len(weight)) or not len(z):
        raise BadData(
            f"features {tuple(z.shape)}, {len(labels)} labels, weight {tuple(weight.shape)} and "
            f"targets {tuple(targets.shape)} do not fit: one label and one row of targets an image"
        )
    if weight.shape[1] != z.shape[1]:
        raise BadData(f"weight {tuple(weight.shape)} does not take {z.shape[1]} features")
    for values, what in ((z, "features"), (weight, "weights"), (targets, "targets")):
        finite(values, what)
    w = weight.detach().double()
    s = z.detach().double() @ w.T + (0 if bias is None else bias.detach().double())
    residual = s.softmax(1) - targets.double()
    classes = len(w)
    pull = (_centred(s, labels, classes) * residual).sum(1)
    moved = _centred(residual @ w, labels, classes).square().sum(1)
    return RadiusChange(
        -2 * step * _class_mean(pull, labels, classes),
        step**2 * _class_mean(moved, labels, classes),
    )


def vortex_outputs(logits: Logits, labels: OtherLabels, rng: Rng) -> dict[str, Quantity]:
    """Where label distributions act: confidence, curvature, entropy and pull at the outputs.

    With p = softmax(s): `p_true` = mean p_y; `trace_hessian` = mean tr(diag p - p pᵀ) =
    mean(1 - Σ p²), in [0, 1 - 1/K]; `entropy` = mean -Σ p ln p in nats; `contraction` = mean over
    classes of E_c[(s - s̄)·(p - p̄)] >= 0 in nats, the rate -½ dR_c²/dγ at which a gradient step
    contracts free features before a linear last layer; `contraction_linear` = mean over classes of
    tr(H Σ_s), its linearisation with H at the class-mean logits. 95 % bootstrap over images.

    The contractions are proxies: real features move together, and directions the last layer does
    not see are not contracted at all. Classes of one image add nothing.

    Raises:
        BadData: if there are no images, counts differ, or a logit is not finite.
    """
    if len(labels) != len(logits) or not len(logits):
        raise BadData(f"{len(logits)} answers for {len(labels)} labels: give one label an image")
    finite(logits, "answers")
    s = logits.detach().double().cpu()
    y = labels.cpu()
    classes = s.shape[1]
    p = s.softmax(1)
    logs = s.log_softmax(1)
    step = _centred(s, y, classes)
    at_mean = (s - step).softmax(1)
    exact = (step * _centred(p, y, classes)).sum(1)
    linear = (at_mean * step.square()).sum(1) - (at_mean * step).sum(1).square()
    equal = _equal_classes(y, classes)
    found = {
        "p_true": mean_of(
            p.gather(1, y[:, None])[:, 0], rng.child("p"), unit="share", support=(0.0, 1.0)
        ),
        "trace_hessian": mean_of(
            1 - p.square().sum(1), rng.child("hessian"), unit="", support=(0.0, 1.0)
        ),
        "entropy": mean_of(-(p * logs).sum(1), rng.child("entropy"), unit="nat"),
    }
    for name, values in (("contraction", exact), ("contraction_linear", linear)):
        found[name] = replace(
            mean_of(values * equal, rng.child(name), unit="nat", assumptions=(_FREE, _MEANS)),
            kind=Kind.PROXY,
        )
    return found


def vortex_features(moments: Moments, squared_norms: PerImage, rng: Rng) -> dict[str, Quantity]:
    """What moves at a cut: `radius` R_c², `scatter_between` S_B, `nc1`, `norm` = mean |z|².

    A fall of R_c² that S_B and the norm share is a change of scale, not of what leaks: read nc1
    beside it. nc1 is left out where classes do not differ. All are proxies but the norm, which is
    measured, in feature unit² summed over features, 95 % bootstrap over images.

    Raises:
        BadData: if no measure exists for these features.
    """
    found = {
        name: quantity
        for name, quantity in radius(moments).items()
        if name in ("radius", "scatter_between", "nc1")
    }
    found["norm"] = mean_of(squared_norms, rng, unit="feature unit²")
    return found


def _class_mean(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean of values (n, ...) over each class; NaN for absent ones."""
    count = labels.bincount(minlength=classes).to(values)
    total = values.new_zeros(classes, *values.shape[1:]).index_add_(0, labels, values)
    return total / count.reshape(-1, *(1,) * (values.ndim - 1))


def _centred(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    return values - _class_mean(values, labels, classes)[labels]


def _equal_classes(labels: Tensor, classes: int) -> Tensor:
    """Weights under which a mean over images is the mean over classes of two images or more."""
    count = labels.bincount(minlength=classes).double()
    several = count > 1
    weights = several * (len(labels) / max(1, int(several.sum()))) / count.clamp_min(1)
    return weights[labels]
