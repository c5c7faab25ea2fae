"""What is proved, what it would take, and what only ranks: each in its own place on the page."""

from collections.abc import Callable

import pytest
from run_folders import NOISE, Builder

from splitveil.quantities import Direction, Kind, Quantity
from splitveil.records import Task
from splitveil.report import write_report
from splitveil.report.proved import noise_table, proved_cells, proxy_section
from splitveil.report.reading import read_report
from splitveil.report.story import weaknesses
from splitveil.report.tables import release_table

Make = Callable[..., Builder]


def proved(value: float, unit: str, direction: Direction, level: float = 0.999) -> Quantity:
    lower = direction is Direction.LOWER
    return Quantity(
        value=value,
        low=value if lower else 0.0,
        high=float("inf") if lower else value,
        unit=unit,
        kind=Kind.CONFIDENCE,
        n=400,
        direction=direction,
        level=level,
        assumptions=("the noise is fresh",),
    )


LOW, HIGH = Direction.LOWER, Direction.UPPER
CLAIMS = {
    "mse_bound": proved(0.0123, "mse per value", LOW),
    "mse_bound_success": proved(0.0, "mse per value", LOW),
    "named_at_most": proved(0.456, "share", HIGH),
    "near_by_noise": proved(1.0, "probability", HIGH),
    "variational": proved(7.89, "nat per image", HIGH),
    "log_det": proved(9.87, "nat per image", HIGH),
    "beyond_label": proved(1.11, "nat per image", HIGH),
    "leave_one_out_low": proved(2.34, "nat per image", LOW),
    "leak_floor": proved(1.21, "nat per image", LOW),
    "budget": Quantity.exact(
        0.0517, unit="bit per input value", kind=Kind.MODEL, direction=HIGH, n=9
    ),
    "worst_image": Quantity.exact(0.0031, unit="mse per value", kind=Kind.PROXY, n=9),
}


@pytest.fixture
def run(builder: Make, monkeypatch: pytest.MonkeyPatch) -> Builder:
    monkeypatch.setattr("splitveil.report.html.png", lambda chart: b"PNG")
    made = builder(cuts=4, images=False).fill()
    made.add(Task.BOUND, made.cut_id(2), "bounds(level=0.999)", release=NOISE, quantities=CLAIMS)
    return made


def test_the_summary_table_takes_the_tightest_of_each_side(run: Builder) -> None:
    table = release_table(read_report(run.write()))
    assert table is not None
    row = next(r for r in table.rows if r[0].text == run.cut_names(2))
    names = [column.name for column in table.columns]
    shown = {name: cell.text for name, cell in zip(names, row, strict=True)}
    assert shown["information sent"] == "2.34 to 7.89"
    assert shown["named in a gallery"] == "≤ 0.456"


def test_details_hold_every_claim_and_models_apart(run: Builder) -> None:
    report = read_report(run.write())
    (cell,) = proved_cells(report)
    assert run.cut_names(2) in cell.place
    assert cell.joint == "0.991"  # nine claims at 99.9 %
    values = {row[0].text: row[1].text for row in cell.table.rows}
    assert len(cell.table.rows) == 9
    assert "≥ 0.0123" in {row[1].text for row in cell.table.rows}
    assert values["chance of landing near an image, at most"] == "says nothing"
    assert cell.models is not None
    assert [row[1].text for row in cell.models.rows] == ["0.0517"]
    source = write_report(run.write()).read_text(encoding="utf-8")
    assert source.count("<details>") == 1
    assert "All that is proved at" in source
    assert "hold at 0.991" in source


def test_plain_features_get_the_words_and_the_price_of_noise(run: Builder) -> None:
    words = "no information-theoretic guarantee: the release adds no noise of known law"
    run.add(
        Task.BOUND,
        run.cut_id(0),
        "noise_needed(share=0.1)",
        quantities={
            "noise": Quantity.exact(14.1, unit="rms of the features", kind=Kind.MEASURED, n=500),
            "bought": proved(0.00432, "mse per value", LOW),
            "accuracy_there": Quantity.exact(0.217, unit="share", kind=Kind.MEASURED, n=500),
            "payload": proved(360.0, "nat per image", HIGH, level=1.0),
            "leak_floor": proved(2.53, "nat per image", LOW),
        },
        details={"words": words, "release": "gaussian(sigma=14.1)"},
    )
    run.add(
        Task.BOUND,
        run.cut_id(1),
        "noise_needed(share=0.1)",
        quantities={"payload": proved(360.0, "nat per image", HIGH, level=1.0)},
        details={"words": words, "without": {"noise": "more private images prove more"}},
    )
    report = read_report(run.write())
    table = noise_table(report)
    assert table is not None
    first, second = table.rows
    assert first[0].small == "least leaking cut"
    assert [cell.text for cell in first[1:6]] == ["none", "14.1", "≥ 0.00432", "0.217", "≥ 2.53"]
    assert (second[2].text, second[2].small) == ("not found", "more private images prove more")
    source = write_report(run.write()).read_text(encoding="utf-8")
    assert "There is no information-theoretic guarantee." in source
    # what noise would buy at a plain cut is no bound of that cut
    plain = report.finding(run.cut_id(0))
    assert plain is not None
    assert plain.bound is None


def test_proxies_stand_in_a_table_with_their_calibration(run: Builder) -> None:
    def proxy(value: float) -> Quantity:
        return Quantity(
            value=value, low=value - 0.1, high=value + 0.1, unit="nat", kind=Kind.PROXY, n=9
        )

    assert proxy_section(read_report(run.write())) is None
    run.add(
        Task.BOUND,
        run.cut_id(1),
        "proxies()",
        quantities={"mine": proxy(2.22), "hsic": proxy(0.33)},
    )
    ladder = {
        name: [{"nats": n, "found": proxy(0.9 * n).to_json()} for n in (0.5, 10.0)]
        for name in ("mine", "hsic", "club")
    }
    run.add(Task.BOUND, "*", "calibration()", details={"ladders": ladder})
    section = proxy_section(read_report(run.write()))
    assert section is not None
    assert [c.name for c in section.table.columns] == ["cut and release", "HSIC", "MINE"]
    assert {c.kind for c in section.table.columns[1:]} == {"proxy"}
    assert section.ladder is not None
    assert [row[2].text for row in section.ladder.rows] == ["0.450", "9.00"]
    source = write_report(run.write()).read_text(encoding="utf-8")
    place = source.index('id="proxies"')
    assert "bound" not in source[place : source.index("</section>", place)].lower()


def test_weaknesses_are_shown_with_their_values(run: Builder) -> None:
    run.summary["weaknesses"] = [{"code": "RF9", "message": "one seed", "value": "Decoder()"}]
    report = read_report(run.write())
    assert [(f.name, f.value, f.meaning) for f in weaknesses(report)] == [
        ("RF9", "one seed", "Decoder()")
    ]
    source = write_report(run.write()).read_text(encoding="utf-8")
    assert "Weaknesses of this audit" in source
    assert "one seed" in source
