"""T3: what a linear map reads off within-class differences of what is sent."""

import torch

from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.vetting.statistics.answers import MOST_DIRECTIONS, Answers, centred
from splitveil.vetting.statistics.smoother import left_out, share, whitened, within


def linear_probe(answers: Answers, rng: Rng) -> Quantity:
    """Leave-one-out R² of ridge regression from what is sent to the image, both less class means.

    Targets are the images' f widest within-class principal components, f the number of values
    sent, at most 64: 1 is the linear code of that size, 0 the class mean. What is sent is whitened
    within classes, so scaling some outputs down hides nothing. Blind to codes that no linear map
    reads; see `kernel_probe`.

    Returns:
        Unit: share. Kind: measured. 0 where within classes nothing is sent.
    """
    kept = within(answers.labels)
    labels = answers.labels[kept]
    targets = centred(answers.images[kept], labels)
    basis = centred(whitened(answers.sent[kept], labels), labels)
    u, values, _ = torch.linalg.svd(basis, full_matrices=False)
    solid = values > 1e-9 * values.max() if len(values) else values > 0
    size = min(answers.sent.shape[1], MOST_DIRECTIONS, *targets.shape)
    left, lengths, _ = torch.linalg.svd(targets, full_matrices=False)
    scores = left[:, :size] * lengths[:size]
    errors, floor = left_out(u[:, solid], values[solid].square(), scores, labels)
    return share(errors, floor, rng.child("linear probe"), of=f"{size} principal components")
