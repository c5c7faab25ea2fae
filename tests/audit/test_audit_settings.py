import subprocess
import sys
from pathlib import Path

import pytest

from splitveil.audit.plan import AuditPlan, DataSettings, ModelSettings, ThreatSettings, load_plan
from splitveil.audit.settings import from_mapping, to_mapping, to_toml
from splitveil.errors import BadInput, BadPlan, UnknownName

PLANS = [
    AuditPlan(),
    AuditPlan(
        model=ModelSettings(name="pkg.net:make", mean=(0.5, 0.25), std=(0.1, 0.2), output="logits"),
        data=DataSettings(source='odd "name"\\ ☂\x7f', size=32, channels=3),
        threat=ThreatSettings(knows_label=False, queries=0),
        cuts=("conv1", "a3f"),
        attacks=("Ridge(penalty=0.001)",),
        releases=("gaussian(sigma=0.5)",),
        budget="30m",
        seed=2**62,
        jobs=0,
    ),
]


@pytest.mark.parametrize("plan", PLANS, ids=["default", "all settings"])
def test_toml_round_trip(plan: AuditPlan, tmp_path: Path) -> None:
    file = tmp_path / "splitveil.toml"
    file.write_text(to_toml(plan), encoding="utf-8")
    assert load_plan(file) == plan
    assert from_mapping(AuditPlan, to_mapping(plan)) == plan


def test_unknown_key_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"\[threat\] 'know_label': did you mean knows_label"):
        load_plan({"threat": {"know_label": True}})
    with pytest.raises(UnknownName, match="'budgets': did you mean budget"):
        load_plan({"budgets": "3m"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"seed": "one"}, "seed: expected int, got 'one'"),
        ({"seed": True}, "seed: expected int, got True"),
        ({"jobs": 1.5}, "jobs: expected int"),
        ({"cuts": "conv1"}, "cuts: expected a list of str"),
        ({"model": {"mean": ["a"]}}, "model.mean: expected float"),
        ({"threat": {"knows_label": 1}}, "threat.knows_label: expected bool"),
        ({"budget": "4m"}, "budget setting '4m'"),
        ({"jobs": -1}, "jobs must not be negative"),
        ({"model": 3}, "model: expected ModelSettings"),
        ({"data": {"size": 0}}, "data.size must be positive"),
    ],
)
def test_wrong_values_name_the_setting(table: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_plan(table)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match="cannot read settings"):
        load_plan(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("seed = = 3")
    with pytest.raises(BadPlan, match="is not TOML"):
        load_plan(broken)


def test_settings_store_and_executors_start_without_torch() -> None:
    code = (
        "import sys; import splitveil.audit.store, splitveil.audit.plan, splitveil.audit.settings,"
        " splitveil.audit.executors; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
