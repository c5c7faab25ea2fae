"""Problems whose answers are known in closed form, to prove measures and attacks on."""

from splitveil.testing.oracles.linear_gaussian import LinearGaussian
from splitveil.testing.oracles.uniform_quantiser import QuantisedUniform

__all__ = ["LinearGaussian", "QuantisedUniform"]
