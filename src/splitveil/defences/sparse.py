"""Sparse codes across the cut."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from splitveil.defences.base import Batch, Component, Part, Setting, Structure, written
from splitveil.errors import BadPlan
from splitveil.nets.carriers import SparseCode, SparseDecode, channels_of


@dataclass(frozen=True)
class Sparse(Component):
    """Sends codes by `steps` of locally competitive activity, and adds weight · mean |a| / RMS(a).

    As many codes as channels, thresholded at `threshold` times the features' RMS at the start;
    dictionaries on both sides are learnt. The ratio is 1 for equal magnitudes, and rescaling does
    not change it. The published architecture alternates several such layers; this is one, at the
    cut, with the price added.

    It misleads where zeros are read as absence: which codes are zero tells something too.

    Raises:
        BadPlan: if weight is negative, or threshold or steps are not positive.
    """

    name: ClassVar[str] = "sparse"
    reference: ClassVar[str] = "Dibbo et al. 2024 (SCA); Rozell et al. 2008 (LCA)"

    weight: float
    threshold: float = 0.1
    steps: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf") or not 0 < self.threshold < float("inf"):
            raise BadPlan(
                f"sparse: weight must not be negative and threshold positive, got {self.weight}, "
                f"{self.threshold}"
            )
        if self.steps < 1:
            raise BadPlan(f"sparse: steps must be positive, got {self.steps}")

    def structure(self, setting: Setting) -> Structure:
        shape = setting.shape(self)
        codes = channels_of(shape)
        level = self.threshold * float(setting.features(self).square().mean().sqrt())
        device, cloud = SparseCode(shape, codes, self.steps, level), SparseDecode(shape, codes)
        with torch.no_grad():
            cloud.dictionary.copy_(device.dictionary.T)
        return Structure(device=device, cloud=cloud)

    def prepare(self, setting: Setting) -> Part:
        setting.crossing(self)
        return Part(term=self.term if self.weight else None)

    def term(self, batch: Batch) -> Tensor:
        """The price of a batch."""
        z = batch.features
        scale = z.square().mean().clamp_min(torch.finfo(z.dtype).tiny).sqrt()
        return self.weight * z.abs().mean() / scale

    def __str__(self) -> str:
        return written(self)
