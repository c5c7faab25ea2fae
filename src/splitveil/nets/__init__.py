"""Networks that attackers and defenders train."""

from splitveil.nets.modes import evaluating

__all__ = ["evaluating"]
