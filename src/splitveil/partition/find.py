"""Two calls for a start: list a model's cuts, and split it at one."""

from typing import Literal

from torch import Tensor, nn

from splitveil.partition.graph import trace
from splitveil.partition.types import Cut, Partition
from splitveil.release.base import Release


def find_cuts(
    model: nn.Module, example: Tensor, *, family: Literal["menu", "prefix"] = "menu"
) -> list[Cut]:
    """The cuts of any network that torch.fx or torch.export can trace.

    Args:
        model: maps images (n, c, h, w) in [0, 1] to outputs; it stays untouched.
        example: at least one image.
        family: "menu" for the cuts worth looking at, "prefix" for all prefixes of the graph.

    Raises:
        UnsupportedCut: if the model cannot be traced exactly.
        BadModel: if it does not run on the example or holds weights that are not finite.
    """
    traced = trace(model, example)
    return list(traced.menu() if family == "menu" else traced.prefixes())


def split(
    model: nn.Module, cut: Cut | str, *, example: Tensor, release: Release | None = None
) -> Partition:
    """Both halves of a model at a cut, given as found or by its name or id.

    Raises:
        UnknownName: if the model has no such cut.
        UnsupportedCut: if the model cannot be traced exactly.
    """
    traced = trace(model, example)
    found = traced.cut(cut) if isinstance(cut, str) else cut
    return traced.split(found, release)
