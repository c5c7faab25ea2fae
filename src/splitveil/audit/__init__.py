"""Plan an audit, run it, store what came of it."""
