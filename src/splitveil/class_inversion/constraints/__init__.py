"""Where latents may lie, one set a file."""

from splitveil.class_inversion.constraints.base import Constraint
from splitveil.class_inversion.constraints.box import Box
from splitveil.class_inversion.constraints.l1_ball import L1Ball

__all__ = ["Box", "Constraint", "L1Ball"]
