"""The golden-zone paper's own probe of one batch, kept as it is for comparison."""

import torch
from jaxtyping import Int64
from torch import Tensor

from splitveil.errors import BadData
from splitveil.shapes import Features


def paper_raw_radius(z: Features, predicted: Int64[Tensor, " n"]) -> float:
    """V = mean over predicted classes of sum |z - mu_c|² / N_c, in feature unit².

    One batch in eval mode, classes as the network predicts them, distances summed over all
    features, every class with an image counts alike and one with a single image counts 0. Misleads
    thrice: a few images a class bias it low, predictions that collapse fake a radius, and feature
    scale and width move it without any change of what leaks. `ClassMoments` mends all but the last.

    References:
        Golden Partition Zone, arXiv 2506.15412, as its authors' published code computes it.

    Raises:
        BadData: if there is no image, or a feature is not finite.
    """
    if not len(z) or not torch.isfinite(z).all():
        raise BadData("the probe needs a batch of finite features")
    rows, labels = z.detach().cpu().double(), predicted.cpu()
    present, index, count = labels.unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(present), z.shape[1], dtype=torch.float64).index_add_(0, index, rows)
    means /= count[:, None]
    squares = (rows - means[index]).square().sum(1)
    scatter = torch.zeros(len(present), dtype=torch.float64).index_add_(0, index, squares)
    return float((scatter / count).mean())
