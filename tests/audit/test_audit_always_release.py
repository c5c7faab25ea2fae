"""A device that always sends through a release: plain features are no channel."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from audit_tiny import plan, write_images

from splitveil.audit.plan import AuditPlan, default_folder, load_plan
from splitveil.audit.prepare import prepare
from splitveil.audit.run import preview, run_audit
from splitveil.audit.settings import to_toml
from splitveil.audit.store import Run, open_run
from splitveil.errors import BadPlan
from splitveil.records import Status, Task
from splitveil.release import GaussianNoise, UniformQuantiser, release_bytes
from splitveil.report import write_report
from splitveil.report.reading import read_report
from splitveil.select import read_candidates, read_records

CUT = "3"
PLAIN = "Identity()"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data"))


def stored(data: Path, folder: Path) -> str:
    """What a hardening would have left in `folder`, and the release as people write it."""
    prepared = prepare(plan(data, cuts=[CUT]))
    x = prepared.subject.auxiliary.x
    z = prepared.subject.traced.features(x, prepared.cuts)[prepared.cuts[0].id]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "release.safetensors"
    path.write_bytes(release_bytes(GaussianNoise(sigma=1.0).fit(z)))
    return f"stored(file={path})"


def always(data: Path, text: str, **changes: object) -> AuditPlan:
    return plan(data, cuts=[CUT], always_release=text, **changes)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("hardened")
    return run_audit(always(data, stored(data, folder)), folder / "run")


def test_every_attack_meets_the_release_and_nothing_else(run: Run) -> None:
    outcomes = run.outcomes()
    assert all(one.status is Status.DONE for one in outcomes)
    cuts = {one["cut"]["id"] for one in run.manifest["cuts"]}
    here = [one for one in outcomes if one.trial.cut in cuts]
    (release,) = {one.trial.release for one in here}
    assert release.startswith("Stored(digest=")
    assert {one.trial.task for one in here} == {Task.ATTACK, Task.BOUND, Task.UTILITY}
    assert not [one for one in here if one.trial.method.startswith("noise_needed(")]


def test_the_verdict_speaks_of_what_is_sent(run: Run) -> None:
    summary = run.summary
    (entry,) = summary["leakage"]
    assert summary["headline"] == 0
    assert entry["release"] == run.manifest["plan"]["always_release"] != PLAIN
    assert entry["bound"] is not None
    assert entry["utility"] is not None
    assert f"behind {entry['release']}" in summary["verdict"]
    assert any(entry["release"] in text for text in summary["not_tested"])
    codes = {one["code"] for one in summary["weaknesses"]}
    assert "RF16" not in codes


def test_the_report_shows_it_as_the_channel(run: Run) -> None:
    report = read_report(run.path)
    ((cut, best),) = report.reach()
    assert (cut.id, best.release) == (report.headline.cut, report.sent)  # type: ignore[union-attr]
    text = write_report(run.path).read_text()
    assert "best attack here or deeper" not in text
    assert "best attack under Stored(digest=" in text


def test_select_reads_it(run: Run) -> None:
    (candidate,) = read_candidates(read_records(run))
    assert candidate.release == run.manifest["plan"]["always_release"]
    assert candidate.payload == 64 * 4
    assert candidate.accuracy is not None


def test_the_same_audit_elsewhere_gives_the_same_numbers(
    data: Path, run: Run, tmp_path: Path
) -> None:
    elsewhere = always(data, stored(data, tmp_path / "moved"))
    again = run_audit(elsewhere, tmp_path / "run")
    before = {one.trial.id: one.quantities for one in run.outcomes()}
    assert {one.trial.id: one.quantities for one in again.outcomes()} == before
    assert load_plan(again.path / "splitveil.toml") == elsewhere
    assert str(tmp_path) in to_toml(elsewhere)
    assert str(tmp_path) not in (again.path / "records.jsonl").read_text()


def test_it_goes_on_where_it_was(data: Path, run: Run) -> None:
    count = len(run.outcomes())
    assert len(open_run(run_audit(load_plan(run.settings), run.path).path).outcomes()) == count


def test_other_releases_stand_beside_it(data: Path) -> None:
    text = "gaussian(sigma=1.0)"
    found = preview(always(data, text, releases=["quantise(bits=8)", "none"]))
    attacked = {
        one.release for one in found.trials if one.task is Task.ATTACK and one.cut != "*"
    } - {PLAIN, "Softmax()"}
    assert attacked == {repr(GaussianNoise(sigma=1.0)), repr(UniformQuantiser(bits=8))}
    (here,) = (cut for cut, name in found.names.items() if name == CUT)
    assert PLAIN not in {one.release for one in found.trials if one.cut == here}


@pytest.mark.parametrize("budget", ["3m", "30m", "full"])
def test_no_budget_looks_at_plain_features(data: Path, budget: str) -> None:
    settings = {"budget": budget, "attacks": [], "cuts": [], "measures": ["proxies", "twin"]}
    found = preview(plan(data, always_release="gaussian(sigma=1.0)", **settings))
    cuts = {one.cut for one in found.trials if one.task is Task.UTILITY} - {"*"}
    assert cuts
    release = repr(GaussianNoise(sigma=1.0))
    for one in found.trials:
        assert one.cut not in cuts or one.release == release
    for left in found.left:
        assert left.trial.release == release


def test_none_is_as_if_it_were_not_said(data: Path) -> None:
    plain, none = (preview(plan(data, always_release=text)) for text in (None, "none"))
    assert plain.trials == none.trials


def test_it_has_a_folder_of_its_own(data: Path) -> None:
    one = plan(data)
    assert default_folder(replace(one, always_release="gaussian(sigma=1.0)")) != default_folder(one)


def test_what_cannot_be_sent_is_refused_before_loading(data: Path) -> None:
    with pytest.raises(BadPlan, match="check the path"):
        prepare(always(data, "stored(file=nowhere.safetensors)"))
    with pytest.raises(BadPlan, match="leave no room for always_release"):
        AuditPlan(pairs=("a", "b"), always_release="half").check_pairs()


def test_payloads_are_asked_of_the_release(data: Path, tmp_path: Path) -> None:
    run = run_audit(always(data, "quantise(bits=4)", attacks=["Ridge()"]), tmp_path)
    (candidate,) = read_candidates(read_records(run))
    assert candidate.payload == 64 * 4 // 8
    assert torch.isfinite(torch.tensor(candidate.leakage.value))
