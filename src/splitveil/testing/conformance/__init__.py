"""Suites to subclass: one fixture, and every promise of the interface is checked."""
