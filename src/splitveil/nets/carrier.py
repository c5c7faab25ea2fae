"""The base of modules that are built again from their settings when weights are loaded."""

from typing import Any

from torch import nn


class Carrier(nn.Module):
    """A module that `settings` rebuild: `type(module)(**module.settings)`, tensors apart."""

    def __init__(self, **settings: Any) -> None:
        nn.Module.__init__(self)
        self.settings = settings
