"""Audits of pairs (z, x) from any framework, and challenges with sealed targets."""
