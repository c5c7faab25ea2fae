import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from audit_toys import outcome

from splitveil.audit.store import Store, open_run
from splitveil.errors import BadInput, BadPlan, StorageFailed
from splitveil.records import Outcome
from splitveil.storage import write_whole


def filled(path: Path, count: int = 3) -> list[Outcome]:
    made = [outcome(number) for number in range(count)]
    with Store(path) as store:
        store.write_json("manifest.json", {"scope": "s", "model": {"name": "vgg"}})
        for one in made:
            store.append(one)
    return made


def test_records_come_back_as_written(tmp_path: Path) -> None:
    made = filled(tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.outcomes() == made
    assert run.damage() == []
    assert (tmp_path / "run/records.jsonl").read_bytes().count(b"\n") == 3


def test_a_trial_that_ran_again_replaces_its_outcome(tmp_path: Path) -> None:
    filled(tmp_path)
    again = outcome(1, seconds=9.0)
    with Store(tmp_path) as store:
        store.append(again)
    assert [o.trial.seed for o in open_run(tmp_path).outcomes()] == [0, 2, 1]
    assert open_run(tmp_path).outcomes()[-1] == again


def test_a_line_cut_anywhere_is_set_aside_and_the_rest_kept(tmp_path: Path) -> None:
    made = filled(tmp_path)
    file = tmp_path / "records.jsonl"
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for keep in (last + 1, (last + len(whole)) // 2, len(whole) - 1):
        file.write_bytes(whole[:keep])
        assert open_run(tmp_path).outcomes() == made[:2]
        with Store(tmp_path) as store:
            (message,) = store.mend()
            assert "line 3 was cut short; set aside in" in message
            assert "\n" not in message
            assert store.mend() == []
            store.append(made[2])
        assert file.read_bytes() == whole
    assert (tmp_path / "records.damaged").read_bytes().count(b"\n") == 3


@pytest.mark.parametrize(
    ("old", "new"), [(b"4.1", b"4.2"), (b'"seed":2', b'"seed":7'), (b'"done"', b'"dome"')]
)
def test_an_altered_line_is_set_aside_with_the_reason(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    made = filled(tmp_path)
    file = tmp_path / "records.jsonl"
    before, last = file.read_bytes()[:-1].rsplit(b"\n", 1)
    assert old in last
    file.write_bytes(before + b"\n" + last.replace(old, new) + b"\n")
    with Store(tmp_path) as store:
        (message,) = store.mend()
    assert message.startswith("line 3 is damaged")
    assert open_run(tmp_path).outcomes() == made[:2]


def test_lines_that_are_no_records(tmp_path: Path) -> None:
    made = filled(tmp_path)
    file = tmp_path / "records.jsonl"
    junk = b'\n[]\n3\n{"trial": 3}\n\xff\xfe\n{"id": NaN}\n'
    file.write_bytes(junk + file.read_bytes())
    assert open_run(tmp_path).outcomes() == made
    assert len(open_run(tmp_path).damage()) == 6


def test_a_number_that_json_cannot_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    made = filled(tmp_path)
    with Store(tmp_path) as store, pytest.raises(BadInput, match="JSON"):
        store.append(outcome(9, details={"loss": float("nan")}))
    assert open_run(tmp_path).outcomes() == made


def test_artefacts_and_their_modes(tmp_path: Path) -> None:
    filled(tmp_path)
    pictures: np.ndarray = np.zeros((2, 3), np.uint8).T
    arrays: dict[str, np.ndarray] = {"mse": np.linspace(0, 1, 5), "pictures": pictures}
    with Store(tmp_path) as store:
        assert store.write_artefact("a1", arrays) == "a1"
    read = open_run(tmp_path).artefact("a1")
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    files = ["manifest.json", "records.jsonl", "artefacts/a1.safetensors"]
    for name in files:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    (tmp_path / "artefacts/a1.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(StorageFailed, match="cannot be read"):
        open_run(tmp_path).artefact("a1")
    with pytest.raises(StorageFailed, match="cannot be read"):
        open_run(tmp_path).artefact("none")


def test_two_audits_do_not_share_a_folder(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(BadPlan, match="another audit is writing"), Store(tmp_path):
        pass
    with Store(tmp_path):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(BadPlan, match=r"holds other files \(holiday.jpg"), Store(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(BadPlan, match="not a run's folder"):
        open_run(tmp_path)


def test_the_audit_of_another_model_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with Store(tmp_path) as store:
        store.claim("s")
        with pytest.raises(BadPlan, match=r"model vgg.*choose another folder"):
            store.claim("t")


def test_broken_json_says_what_to_do(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "summary.json").write_text("[1]")
    for text in ("[1]", "{", ""):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(StorageFailed, match=r"summary.json"):
            _ = open_run(tmp_path).summary
    (tmp_path / "summary.json").unlink()
    with pytest.raises(StorageFailed, match="missing"):
        _ = open_run(tmp_path).summary


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import numpy as np
from audit_toys import outcome
from splitveil.audit.store import Store
from splitveil.errors import StorageFailed
path = Path(sys.argv[1])
with Store(path) as store:
    store.append(outcome(0))
    size = (path / "records.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
    for attempt in (
        lambda: store.append(outcome(1)),
        lambda: store.write_artefact("a", {"x": np.zeros(9999)}),
    ):
        try:
            attempt()
        except StorageFailed as error:
            print(error)
        else:
            sys.exit("it was written")
"""


def test_no_space_left_loses_nothing(tmp_path: Path) -> None:
    """A file size limit makes the kernel refuse in the middle of a write, as a full disk does."""
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(run), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("cannot store" in line and "free space" in line for line in lines)
    content = (run / "records.jsonl").read_bytes()
    assert [Outcome.from_json(json.loads(line)) for line in content.splitlines()] == [outcome(0)]
    assert list((run / "artefacts").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary.json"
    write_whole(file, b"old")
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777: real("/dev/full", os.O_WRONLY))
    with pytest.raises(StorageFailed, match=r"No space left.*free space"):
        write_whole(file, b"new")
    monkeypatch.undo()
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]
