"""Names for the tensor shapes that cross room borders.

`n` counts images, `c h w` are image axes, `f` is the packed feature axis, `k` counts classes.
"""

from typing import TypeAlias

from jaxtyping import Bool, Float, Int64
from torch import Tensor

Images: TypeAlias = Float[Tensor, "n c h w"]
Targets: TypeAlias = Float[Tensor, "n *target"]
Labels: TypeAlias = Int64[Tensor, " n"]
Features: TypeAlias = Float[Tensor, "n f"]
Logits: TypeAlias = Float[Tensor, "n k"]
PerImage: TypeAlias = Float[Tensor, " n"]
Mask: TypeAlias = Bool[Tensor, " n"]
