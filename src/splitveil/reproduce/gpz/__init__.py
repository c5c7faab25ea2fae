"""Golden Partition Zone (Liu et al., arXiv 2506.15412): `PAPER` is its claims and experiments."""

from splitveil.reproduce.gpz.paper import PAPER

__all__ = ["PAPER"]
