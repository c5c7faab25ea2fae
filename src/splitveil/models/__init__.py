"""Reference networks and adapters for any nn.Module."""

from splitveil.models.accuracy import (
    ClassOrder,
    best_class_order,
    check_accuracy,
    class_order_hint,
    predict,
)
from splitveil.models.load import LoadedModel, load_model
from splitveil.models.pixel_model import PixelModel
from splitveil.models.utility import Utility, load_utility

__all__ = [
    "ClassOrder",
    "LoadedModel",
    "PixelModel",
    "Utility",
    "best_class_order",
    "check_accuracy",
    "class_order_hint",
    "load_model",
    "load_utility",
    "predict",
]
