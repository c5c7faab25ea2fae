"""Reference networks and adapters for any nn.Module."""

from splitveil.models.load import LoadedModel, load_model
from splitveil.models.pixel_model import PixelModel

__all__ = ["LoadedModel", "PixelModel", "load_model"]
