"""Find every place a network can be cut, and cut it there."""
