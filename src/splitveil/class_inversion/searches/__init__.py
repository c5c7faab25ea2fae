"""Ways to search latents, one a file."""

from splitveil.class_inversion.searches.adam import Adam
from splitveil.class_inversion.searches.base import Found, Memory, Search
from splitveil.class_inversion.searches.gaussian import Gaussian
from splitveil.class_inversion.searches.nesterov import Nesterov
from splitveil.class_inversion.searches.sphere import Sphere

__all__ = ["Adam", "Found", "Gaussian", "Memory", "Nesterov", "Search", "Sphere"]
