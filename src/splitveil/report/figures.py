"""Which figures a run gives: leakage, the sandwich, the spread of features, and the price."""

from splitveil.report.chart import Chart
from splitveil.report.cut_figures import cost_charts, spread_charts
from splitveil.report.leakage_figure import leakage_chart
from splitveil.report.reading import Report
from splitveil.report.sandwich_figure import sandwich_chart


def charts(report: Report) -> dict[str, tuple[Chart, ...]]:
    """All figures the run gives, by section."""
    leakage, sandwich = leakage_chart(report), sandwich_chart(report)
    return {
        "leakage": (leakage,) if leakage else (),
        "sandwich": (sandwich,) if sandwich else (),
        "spread": spread_charts(report),
        "cost": cost_charts(report),
    }
