"""Reference networks for 32x32 images, small enough to bundle and to train on two cores."""

from splitveil.models.reference.ir import ir
from splitveil.models.reference.resnet import resnet
from splitveil.models.reference.vgg import vgg
from splitveil.models.reference.vit import vit

__all__ = ["ir", "resnet", "vgg", "vit"]
