"""What a network answers is attacked beside its cuts and never counted as one of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from audit_tiny import plan, write_images

from splitveil.audit.run import preview, run_audit
from splitveil.audit.store import Run
from splitveil.audit.subject import load_model_and_data
from splitveil.errors import BadPlan
from splitveil.quantities import Quantity
from splitveil.records import Task
from splitveil.report import write_report
from splitveil.report.outputs import outputs_table
from splitveil.report.reading import read_report
from splitveil.select.reading import read_records


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One cut, one attack, and the outputs."""
    asked = plan(data, cuts=["2"], attacks=["Ridge()"], releases=["none"])
    return run_audit(asked, tmp_path_factory.mktemp("runs") / "run")


def test_scores_and_softmax_have_records_of_their_own(run: Run) -> None:
    scores, softmax = run.manifest["outputs"]
    assert [scores["name"], softmax["name"]] == ["logits", "softmax"]
    assert scores["cut"]["kind"] == "output"
    assert len(run.manifest["cuts"]) == 1
    for channel in (scores, softmax):
        place = (channel["cut"]["id"], channel["release"])
        here = [o for o in run.outcomes() if (o.trial.cut, o.trial.release) == place]
        assert len({o.trial.id for o in here}) == 3
        assert all(o.trial.task is Task.ATTACK and o.quantities for o in here)
    assert [one["name"] for one in run.summary["outputs"]] == ["logits", "softmax"]
    assert "answer alone gave L =" in run.summary["verdict"]


def test_ridge_on_scores_is_least_squares_on_what_the_network_answers(data: Path, run: Run) -> None:
    model, splits = load_model_and_data(plan(data))
    with torch.no_grad():
        own, seen = (
            model.network(part.x).double().numpy() for part in (splits.auxiliary, splits.test)
        )
    x, truth = (part.x.flatten(1).double().numpy() for part in (splits.auxiliary, splits.test))
    assert splits.auxiliary.y is not None
    assert splits.test.y is not None
    mine, theirs = splits.auxiliary.y.numpy(), splits.test.y.numpy()
    z_mean, x_mean = (
        np.stack([values[mine == c].mean(0) for c in range(3)]) for values in (own, x)
    )
    weight, *_ = np.linalg.lstsq(own - z_mean[mine], x - x_mean[mine], rcond=None)
    made = np.clip(x_mean[theirs] + (seen - z_mean[theirs]) @ weight, 0, 1)
    (ridge,) = [
        o
        for o in run.outcomes()
        if o.trial.cut == run.manifest["outputs"][0]["cut"]["id"]
        and o.trial.release == "Identity()"
        and o.trial.method.startswith("Ridge(")
    ]
    expected = float(((made - truth) ** 2).mean())
    assert ridge.quantities["mse"].value == pytest.approx(expected, rel=0.08)  # less its penalty


def test_nobody_takes_an_output_for_a_cut(run: Run) -> None:
    output = run.manifest["outputs"][0]["cut"]["id"]
    assert output not in {entry["cut"] for entry in run.summary["leakage"]}
    assert output not in {o.trial.cut for o in read_records(run).outcomes}
    (moments,) = [o for o in run.outcomes() if o.trial.task is Task.MOMENTS]
    assert output not in moments.details["cuts"]


def test_the_report_shows_the_best_attack_on_each(run: Run) -> None:
    report = read_report(run.path)
    table = outputs_table(report)
    assert table is not None
    assert [row[0].text for row in table.rows] == ["logits", "softmax"]
    assert {row[1].text for row in table.rows} == {"3"}
    for row, entry in zip(table.rows, run.summary["outputs"], strict=True):
        assert row[3].key == repr(Quantity.from_json(entry["quantity"]).value)
    assert {o.trial.cut for o in report.attacks()} == {"*", run.manifest["cuts"][0]["cut"]["id"]}
    page = write_report(run.path).read_text()
    assert "What the answer gives away" in page


def test_a_dry_run_counts_them_and_names_them(data: Path, run: Run) -> None:
    found = preview(plan(data, cuts=["2"], attacks=["Ridge()"], releases=["none"]))
    assert {trial.id for trial in found.trials} == {o.trial.id for o in run.outcomes()}
    assert found.cuts == ("2",)
    assert found.names[run.manifest["outputs"][0]["cut"]["id"]] == "logits"


def test_attacks_that_were_named_run_there_where_the_output_is_named(data: Path) -> None:
    named = preview(plan(data, cuts=["2", "logits"], attacks=["MeanImage()"], releases=["none"]))
    own = [t for t in named.trials if t.method == "MeanImage()" and t.cut != "*"]
    at_output = {trial.release for trial in own if named.names[trial.cut] == "logits"}
    assert at_output == {"Identity()", "Softmax()"}


def test_an_output_alone_is_refused(data: Path) -> None:
    with pytest.raises(BadPlan, match="no place to cut: outputs are attacked in every audit"):
        preview(plan(data, cuts=["logits"]))
