"""How like the originals an attack's pictures are, beyond the mean error."""

from torch import Tensor

from splitveil import measures
from splitveil.errors import BadData
from splitveil.quantities import Quantity
from splitveil.rng import Rng
from splitveil.shapes import Labels, Targets

_BANDS = measures.CosineBands()


def likeness_of(
    made: Targets, truth: Targets, labels: Labels | None, rng: Rng
) -> dict[str, Quantity]:
    """Figures of reconstructions beside the mean error; what cannot be had is left out.

    "psnr_of_mean" (dB), "r_squared" and "r_squared_in_class" (share of the variance recovered),
    "found" and "found_in_class" with "found_chance" and "found_in_class_chance" (share of
    reconstructions whose original is the nearest of all these images, or of its class), and
    "band <frequencies>" (mse per value that lies in a band, so that the bands sum to the mse).
    Kind: measured.
    """
    found = {"psnr_of_mean": measures.psnr_of_mean(made, truth, rng.child("psnr of mean"))}
    found |= _shares(made, truth, labels, rng)
    if truth.ndim == 4:
        bands = measures.band_mse(made.cpu(), truth.cpu(), _BANDS, rng.child("bands"))
        found |= {f"band {name}": quantity for name, quantity in bands.items()}
    return found


def _shares(made: Tensor, truth: Tensor, labels: Tensor | None, rng: Rng) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for suffix, classes in (("", None), ("_in_class", labels)):
        if suffix and classes is None:
            continue
        try:
            found[f"r_squared{suffix}"] = measures.r_squared(
                made, truth, rng.child("r squared", suffix), labels=classes
            )
            ranks = measures.retrieval(
                made, truth, rng.child("found", suffix), labels=classes, top=(1,)
            )
        except BadData:
            continue
        found[f"found{suffix}"] = ranks["top1"]
        found[f"found{suffix}_chance"] = ranks["top1_chance"]
    return found
