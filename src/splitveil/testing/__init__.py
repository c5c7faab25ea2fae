"""Public helps for testing: problems with known answers, and suites that new methods inherit."""
