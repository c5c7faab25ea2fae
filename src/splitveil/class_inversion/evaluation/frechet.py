"""FID: the Fréchet distance of normal laws fitted to reconstructions and to private images."""

import math

import torch
from jaxtyping import Float64
from scipy import stats
from torch import Tensor

from splitveil.class_inversion.evaluation.distances import OtherFeatures, OtherLabels, every_class
from splitveil.errors import BadData
from splitveil.quantities import Kind, Quantity
from splitveil.shapes import Features, Labels

_GROUPS = 20
"""At most so many groups of classes are left out in turn."""


def frechet_distance(
    found: Features, labels: Labels, private: OtherFeatures, private_labels: OtherLabels
) -> Quantity:
    """FID: ‖m₁ - m₂‖² + tr(C₁ + C₂ - 2 (C₁ C₂)^½) of features' means and covariances, in float64.

    Between reconstructions and private images of the same classes. The trace of the root is the sum
    of the roots of the eigenvalues of C₁^½ C₂ C₁^½. Its error is a jackknife that leaves classes
    out of both, in 20 groups at most; the interval is Student's at 95 % about the value and so does
    not mend its bias: few images make FID too large, by about a constant over their number, and the
    more the wider the features. Compare at the same numbers alone, and prefer KID for few. The
    assumptions say the numbers, and what as many private images came to against the others, where
    there are enough: that is its zero. Features are a judge's, not Inception's: it compares with no
    published number. Unit: squared feature distance. Kind: measured; n is the number of
    reconstructions.

    References: Heusel et al. 2017; Bińkowski et al. 2018 for the bias.

    Raises:
        BadData: if there are fewer than three classes, or one has no private image.
    """
    every_class(labels, private_labels)
    names, row = labels.unique(return_inverse=True)
    inside = torch.isin(private_labels, names)
    x, y = found.double(), private[inside].double()
    column = torch.searchsorted(names, private_labels[inside])
    if len(names) < 3:
        raise BadData(f"FID with its error needs 3 classes or more, got {len(names)}")
    groups = min(_GROUPS, len(names))
    kept = torch.cat([torch.ones(1, groups), 1 - torch.eye(groups)]).double()
    values = between(*_fitted(x, row % groups, kept), *_fitted(y, column % groups, kept))
    value, others = float(values[0]), values[1:]
    error = math.sqrt((groups - 1) / groups * float((others - others.mean()).square().sum()))
    half = float(stats.t.ppf(0.975, groups - 1)) * error
    return Quantity(
        value=value,
        low=max(0.0, value - half),
        high=value + half,
        unit="squared feature distance",
        kind=Kind.MEASURED,
        n=len(x),
        assumptions=(
            "classes are independent draws",
            f"{len(x)} reconstructions, {len(y)} private images, {x.shape[1]} features",
            f"biased upwards where images are few{_zero(y, len(x))}",
            "features of a judge, not of Inception",
        ),
    )


def between(
    mean: Float64[Tensor, "k f"],
    covariance: Float64[Tensor, "k f f"],
    other_mean: Float64[Tensor, "k f"],
    other_covariance: Float64[Tensor, "k f f"],
) -> Float64[Tensor, " k"]:
    """Squared Fréchet distance of k pairs of normal laws; the covariances may lack rank."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt()[:, None]
    # as C₁^½ C₂ C₁^½ it is symmetric, so that rounding makes no complex eigenvalues
    middle = root.transpose(1, 2) @ other_covariance @ root
    cross = torch.linalg.eigvalsh(middle).clamp(min=0).sqrt().sum(1)
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1)
    traces = traces + other_covariance.diagonal(dim1=1, dim2=2).sum(1)
    apart = (mean - other_mean).square().sum(1) + traces - 2 * cross
    return apart.clamp(min=0)


def _fitted(x: Tensor, group: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Means (k, f) and covariances (k, f, f) over the groups that each row of `kept` keeps."""
    groups, wide = kept.shape[1], x.shape[1]
    centred = x - x.mean(0)  # so that sums of squares lose no digits
    counts = kept @ group.bincount(minlength=groups).double()
    if float(counts.min()) < 2:
        raise BadData(
            "FID needs two images or more of either kind, also without a group of classes"
        )
    sums = torch.zeros(groups, wide, dtype=torch.float64).index_add_(0, group, centred)
    parts = (centred[group == one] for one in range(groups))
    squares = torch.stack([part.T @ part for part in parts])
    means = kept @ sums / counts[:, None]
    total = torch.einsum("kg,gfh->kfh", kept, squares)
    total = total - counts[:, None, None] * means[:, :, None] * means[:, None]
    return means + x.mean(0), total / (counts - 1)[:, None, None]


def _zero(private: Tensor, count: int) -> str:
    """What as many private images come to against the others."""
    step = len(private) // count
    if step < 2:
        return ""
    chosen = torch.zeros(len(private), dtype=torch.bool)
    chosen[torch.arange(count) * step] = True
    whole = torch.ones(1, 1, dtype=torch.float64)
    parts = [
        _fitted(part, torch.zeros(len(part), dtype=torch.int64), whole)
        for part in (private[chosen], private[~chosen])
    ]
    value = float(between(*parts[0], *parts[1])[0])
    return f": {count} private images are {value:.3g} from the others"
