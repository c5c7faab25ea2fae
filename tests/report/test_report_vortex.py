"""The figure of trainings: what it shows, and what it refuses."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Kind, Quantity
from splitveil.report.vortex import VortexTrace, read_trace, vortex_charts, vortex_figure


def q(value: float) -> dict[str, object]:
    return Quantity(
        value=value, low=0.9 * value, high=1.1 * value, unit="", kind=Kind.PROXY, n=9
    ).to_json()


def trace(labels: str = "onehot", cuts: int = 3, *, scale: float = 1.0) -> VortexTrace:
    names = [f"c{i}" for i in range(cuts)]
    measures = ("radius", "scatter_between", "nc1", "norm")
    outputs = ("p_true", "trace_hessian", "entropy", "contraction")
    return VortexTrace(
        labels=labels,
        model="<net>",
        cuts=tuple({"id": name, "name": f"layer {name}"} for name in names),
        states=tuple(
            {
                "number": epoch,
                "accuracy": q(0.5),
                "outputs": {name: q(0.1 * (epoch + 1)) for name in outputs},
                "cuts": {c: {m: q(scale * (epoch + 1)) for m in measures} for c in names},
            }
            for epoch in range(4)
        ),
        kept=3,
    )


def test_measures_down_cuts_across_runs_as_lines() -> None:
    rows = vortex_charts([trace(), trace("smooth(0.3)", scale=2.0)])
    assert [len(row) for row in rows] == [3, 3, 3, 3, 5]
    chart = rows[0][1]
    assert chart.title == "R²c at layer c1"
    assert [s.name for s in chart.series] == ["onehot", "smooth(0.3)"]
    assert [p.y for p in chart.series[1].points] == [2, 4, 6, 8]
    assert len({(s.role, s.marker, s.dash) for s in chart.series}) == 2


def test_the_figure_is_one_drawing_with_one_legend_and_escapes_names() -> None:
    drawn = vortex_figure([trace(), trace("smooth(0.3)")])
    root = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    texts = [node.text for node in root.iter(f"{space}text")]
    assert texts.count("smooth(0.3)") == 1
    assert "Features in training: <net>" in texts
    assert texts.count("layer c2") == 1
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme:dark" in drawn


def test_many_cuts_are_thinned_with_both_ends_kept() -> None:
    titles = [chart.title for chart in vortex_charts([trace(cuts=12)])[0]]
    assert len(titles) == 5
    assert titles[0].endswith("c0")
    assert titles[-1].endswith("c11")


def test_runs_share_the_cuts_they_are_compared_at() -> None:
    assert len(vortex_charts([trace(cuts=4), trace(cuts=2)])[0]) == 2
    other = VortexTrace(labels="x", model="m", cuts=({"id": "z"},), states=(), kept=0)
    with pytest.raises(BadPlan, match="share no watched cut"):
        vortex_charts([trace(), other])
    with pytest.raises(BadPlan, match="one to 5"):
        vortex_charts([])
    with pytest.raises(BadPlan, match="one to 5"):
        vortex_charts([trace()] * 6)


def test_what_is_no_trace_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no trace in"):
        read_trace(tmp_path)
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"labels": "x"}))
    with pytest.raises(BadData, match="is no trace"):
        read_trace(tmp_path)
    path.write_text("{")
    with pytest.raises(BadData, match="is no trace"):
        read_trace(path)
