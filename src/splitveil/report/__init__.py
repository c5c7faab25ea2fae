"""Turns a run's records into tables, figures and one HTML page; reads records, never torch."""

from splitveil.report.html import write_report

__all__ = ["write_report"]
