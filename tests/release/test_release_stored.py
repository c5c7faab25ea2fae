import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from splitveil.errors import BadPlan
from splitveil.release import (
    Chain,
    GaussianNoise,
    PooledNoise,
    Stored,
    UniformQuantiser,
    parse_release,
    release_bytes,
)
from splitveil.rng import Rng

Z = torch.randn(20, 4, generator=Rng(0).torch())

OUTSIDE = """
from dataclasses import dataclass
from pathlib import Path
from splitveil.release import Release

Path("imported").touch()


@dataclass(frozen=True)
class Shift(Release):
    by: float

    def __call__(self, z, generator):
        return z + self.by

    def bits(self, features):
        return 32.0 * features
"""


def written(path: Path, described: object) -> str:
    path.write_bytes(save({"x": torch.zeros(1)}, {"release": json.dumps(described)}))
    return str(path)


def hostile(path: Path, kind: object, **settings: object) -> str:
    return written(path, {"kind": kind, "settings": settings})


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_a_file_has_nothing_imported(tmp_path: Path) -> None:
    (tmp_path / "stored_outside.py").write_text(OUTSIDE)
    file = hostile(tmp_path / "r", "stored_outside:Shift", by={"value": 2.0})
    with pytest.raises(BadPlan, match="'stored_outside:Shift', no release of splitveil"):
        Stored(file).fit(Z)
    assert not Path("imported").exists()
    with pytest.raises(BadPlan, match="add kind="):
        Stored(file, kind="stored_outside:Other").fit(Z)
    assert not Path("imported").exists()
    release = parse_release(f"stored(file={file}, kind=stored_outside:Shift)").fit(Z)
    assert torch.equal(release(Z, Rng(0).torch()), Z + 2)


def test_an_inner_class_is_asked_for_too(tmp_path: Path) -> None:
    inner = {"kind": "os:system", "settings": {}}
    file = hostile(
        tmp_path / "r", "splitveil.release.chain:ChainedRelease", stages={"tuple": [inner]}
    )
    with pytest.raises(BadPlan, match="'os:system', no release of splitveil"):
        Stored(file).fit(Z)


@pytest.mark.parametrize(
    "kind",
    [
        "os:system",
        "splitveil.release.gaussian:GaussianNoise",
        "splitveil.release.stored:Path",
        "splitveil.cli:run",
        "builtins:eval",
        "",
        None,
        ["a"],
    ],
)
def test_what_is_no_release_is_refused_in_one_line(tmp_path: Path, kind: object) -> None:
    with pytest.raises(BadPlan) as refused:
        Stored(hostile(tmp_path / "r", kind, command={"value": "touch imported"})).fit(Z)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "described", [1, [], "x", {}, {"value": 1}, {"tuple": 3}, {"tensor": "none"}, {"tensor": "x"}]
)
def test_damage_is_refused_in_one_line(tmp_path: Path, described: object) -> None:
    with pytest.raises(BadPlan, match="no stored release"):
        Stored(written(tmp_path / "r", described)).fit(Z)


def test_records_name_content_not_places(tmp_path: Path) -> None:
    content = release_bytes(GaussianNoise(sigma=1.0).fit(Z))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "r").write_bytes(content)
    one, other = (Stored(str(tmp_path / folder / "r")) for folder in ("a", "b"))
    assert repr(one) != repr(other)
    assert repr(one.content) == repr(other.content) == f"Stored(digest='{one.digest}')"
    chained = [Chain((stored, UniformQuantiser(bits=8))) for stored in (one, other)]
    assert repr(chained[0].content) == repr(chained[1].content)
    plain = GaussianNoise(sigma=1.0)
    assert plain.content is plain
    with pytest.raises(BadPlan, match="give its file"):
        one.content.fit(Z)
    with pytest.raises(BadPlan, match="check the path"):
        _ = Stored("none").content
    with pytest.raises(BadPlan, match="needs a file"):
        Stored()


def test_a_pool_is_read_back(tmp_path: Path) -> None:
    pool = PooledNoise(torch.randn(3, 4, generator=Rng(1).torch()))
    (tmp_path / "r").write_bytes(release_bytes(pool))
    again = Stored(str(tmp_path / "r")).fit(Z)
    assert torch.equal(again(Z, Rng(2).torch()), pool(Z, Rng(2).torch()))
