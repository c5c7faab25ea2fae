"""splitveil vet: three answers, three exit codes, a record and a page."""

import json
from pathlib import Path

import numpy as np
import pytest

from splitveil.cli import BAD_INPUT, GATE_FAILED, run
from splitveil.errors import BadData
from splitveil.report.vetting import read_vetting
from splitveil.vetting import images_digest, panel_nets, shipped_null
from splitveil.vetting.subject import images_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ir", "resnet", "vgg", "vit"])
def test_a_bundled_network_is_consistent_with_its_shipped_panel(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert run(["vet", name, "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((out / "vet.json").read_text())
    assert record["answer"] == "CONSISTENT WITH HONEST"
    assert not record["reasons"]
    assert len(record["null"]["accuracies"]) >= 39
    assert any("could not be recovered" in text for text in record["cannot_see"])


def test_exit_codes_follow_a_null_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = tmp_path / "data.npz", np.arange(60) % 4
    pixels = np.random.default_rng(0).random((60, 16, 16, 1)) * 0.3
    pixels[np.arange(60), 3 * y % 16] += 0.6
    np.savez(x, x=pixels.astype(np.float32), y=y)
    code = (
        "import torch\n"
        "class Rows(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return torch.stack([x[:, 0, 3 * k % 16].mean(1) for k in range(4)], 1)\n"
    )
    (tmp_path / "vetted_rows.py").write_text(code)
    place, name = Path.cwd(), "vetted_rows:Rows"
    images = images_of(str(x))
    told = {
        "family": "plain",
        "how": "by hand",
        "command": "none",
        "seed": 0,
        "images": images_digest(images),
        "cut": "",
        "accuracies": [1.0] * 39,
    }
    words = ["vet", name, "--data", str(x), "--null", str(tmp_path / "null.json")]
    import os

    os.chdir(tmp_path)
    try:
        for value, expected in ((9.0, 0), (-9.0, GATE_FAILED)):
            values = {key: [value] * 39 for key in ("linear_probe", "spread")}
            (tmp_path / "null.json").write_text(json.dumps({**told, "values": values}))
            assert run([*words, "--out", str(tmp_path / "out")]) == expected
    finally:
        os.chdir(place)
    text = capsys.readouterr().out
    assert "CONSISTENT WITH HONEST (p = 1)" in text
    assert "SUSPICIOUS (p = 0.05)" in text
    assert "executed the Python code of vetted_rows" in text
    assert "Cannot be seen" in text
    record = json.loads((tmp_path / "out" / "vet.json").read_text())
    assert record["answer"] == "SUSPICIOUS"
    assert any("could not be recovered" in text for text in record["cannot_see"])
    page = (tmp_path / "out" / "vet.html").read_text(encoding="utf-8")
    for text in ("in any honest network", "T3, linear probe", "What this cannot see", "null.json"):
        assert text in page


def test_a_panel_is_built_and_detectors_are_tried_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(panel_nets, "COUNTS", {"test": 1, "train": 2})
    y = np.arange(120) % 4
    pixels = np.random.default_rng(0).random((120, 16, 16, 1)) * 0.3
    pixels[np.arange(120), 3 * y % 16] += 0.6
    data, panel = tmp_path / "data.npz", tmp_path / "panel"
    np.savez(data, x=pixels.astype(np.float32), y=y)
    words = ["vet", "--data", str(data), "--panel", str(panel)]
    assert run([*words, "--build-panel"]) == 0
    assert len(list(panel.iterdir())) == 6
    assert "Try one" in capsys.readouterr().out
    tried = ["--benchmark", "linear_probe", "--benchmark", "discriminant"]
    assert run([*words, *tried]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("linear_probe", "discriminant", "AUC"))
    assert run([*words, *tried, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["detector"] for one in found] == ["linear_probe", "discriminant"]
    assert all(one["auc"]["n"] == 2 for one in found)
    assert all(set(one["scores"]) == {"test-honest-00", "test-vicious-00"} for one in found)


def test_unlabelled_data_and_bad_settings_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "bare.npz", x=np.random.default_rng(0).random((60, 32, 32, 1)))
    wrong = [
        (["vet", "vgg", "--data", str(tmp_path / "bare.npz")], "no labels"),
        (["vet", "vgg", "--null", str(tmp_path)], "cannot read the honest"),
        (["vet", "none.onnx"], "does not exist"),
        (["vet", "--benchmark", "spread", "--panel", str(tmp_path)], "holds no panel"),
        (["vet", "--benchmark", "nothing", "--panel", str(tmp_path)], "expected one of"),
    ]
    for words, text in wrong:
        assert run(words) == BAD_INPUT
        error = capsys.readouterr().err
        assert text in error
        assert error.count("\n") == 1


def test_a_folder_without_a_vetting_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="make one"):
        read_vetting(tmp_path)
    (tmp_path / "vet.json").write_text("{}")
    with pytest.raises(BadData, match="no record"):
        read_vetting(tmp_path)


def test_the_shipped_panel_is_of_the_bundled_images() -> None:
    null = shipped_null("vit")
    assert null is not None
    assert null.images == images_digest(images_of(None))
