"""What a smooth map of any shape reads off what is sent, beyond the class."""

import torch
from torch import Tensor

from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.vetting.statistics.answers import Answers, centred
from splitveil.vetting.statistics.smoother import left_out, share, whitened, within

MOST = 1000
_SCALES = (0.5, 1.0, 2.0)


def kernel_probe(answers: Answers, rng: Rng) -> Quantity:
    """Leave-one-out R² of Gaussian kernel ridge regression from what is sent to the image.

        K_ij = exp(-|a_i - a_j|² / (2 s²)),  a = what is sent, whitened within classes

    with class means unpenalised on both sides, s a half, one or two times the median distance
    within classes and the penalty, both those with the least error. Of at most 1,000 images. The
    map may differ from class to class, as a secret decoder's does. The whole within-class variance
    of the images counts.

    Returns:
        Unit: share. Kind: measured. 0 where within classes nothing is sent.
    """
    kept = within(answers.labels).nonzero()[:, 0]
    if len(kept) > MOST:
        order = torch.randperm(len(kept), generator=rng.child("kernel images").torch())
        kept = kept[order[:MOST].sort().values]
        kept = kept[within(answers.labels[kept])]
    labels = answers.labels[kept]
    targets = centred(answers.images[kept], labels)
    code = whitened(answers.sent[kept], labels)
    best, floor = left_out(code.new_zeros(len(code), 0), code.new_zeros(0), targets, labels)
    if code.shape[1]:
        squared = torch.cdist(code, code).square()
        same = (labels[:, None] == labels).fill_diagonal_(fill_value=False)
        typical = squared[same].median().clamp_min(torch.finfo(torch.float64).tiny)
        for scale in _SCALES:
            values, vectors = torch.linalg.eigh(_centred_twice(squared, typical * scale**2, labels))
            solid = values > 1e-10 * values[-1]
            errors, _ = left_out(vectors[:, solid], values[solid], targets, labels)
            if float(errors.sum()) < float(best.sum()):
                best = errors
    return share(best, floor, rng.child("kernel probe"), of="all of it")


def _centred_twice(squared: Tensor, width: Tensor, labels: Tensor) -> Tensor:
    kernel = (-squared / (2 * width)).exp()
    return centred(centred(kernel, labels).T, labels)
