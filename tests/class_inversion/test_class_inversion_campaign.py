"""A campaign from judges to the page: recorded, resumed, failures kept, pictures when asked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jinja2 import TemplateNotFound
from torch import Tensor, nn

from splitveil.class_inversion import (
    Adam,
    ClassInversion,
    CrossEntropy,
    Draws,
    LabelSearch,
    Objective,
    Rules,
    Sphere,
    Wasserstein,
)
from splitveil.class_inversion.campaign import Campaign, run_campaign
from splitveil.class_inversion.evaluation import Judges
from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.quantities import Kind, Quantity
from splitveil.report import class_inversion as page_room
from splitveil.report.class_inversion import _on_paper, headline, write_class_inversion
from splitveil.report.pictures import Picture, Row
from splitveil.rng import Rng
from splitveil.training import Schedule

RNG = Rng(6)
SHAPE = (1, 8, 8)
CLASSES = 4
_RULES = Rules(steps=2, batch=8, critic_steps=1)
GRADIENT = ClassInversion(
    name="gradient",
    prior=Wasserstein(latent=6, width=8, critic_width=8, rules=_RULES),
    start=Draws(restarts=2),
    search=Adam(steps=4),
    objective=Objective(identity=CrossEntropy()),
)
LABELS = replace(
    GRADIENT,
    name="labels",
    start=LabelSearch(batch=8, most=16),
    search=Sphere(points=4, patience=2, largest=4.0),
    objective=None,
)


def small(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64 * channels, 16), nn.ReLU(), nn.Linear(16, classes)
    )


def images(count: int, seed: int) -> LabelledImages:
    x = torch.rand(count, *SHAPE, generator=Rng(seed).torch())
    return LabelledImages(x, torch.arange(count) % CLASSES)


def campaign(**changes: object) -> Campaign:
    with RNG.as_global():
        model = small(1, CLASSES)
    judges = Judges(families=(f"{__name__}:small",), schedule=Schedule(epochs=1, batch=20))
    plain = Campaign(
        model=model,
        attacks=(GRADIENT, LABELS),
        public=images(30, 1).x,
        private=images(40, 2),
        held_out=images(40, 3),
        classes=(0, 1, 2, 3),
        rng=RNG,
        judges=judges,
        radii=(0.01,),
        images=2,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_campaign_is_recorded_shown_and_gone_on_with(tmp_path: Path) -> None:
    said: list[str] = []
    record = run_campaign(campaign(), tmp_path, say=said.append)
    assert record["complete"]
    assert [*record["attacks"]] == ["gradient", "labels"]
    assert [*record["baselines"]] == ["best public image", "random draw of wasserstein"]
    assert [*record["robust"]] == ["0", "0.01"]
    one = record["attacks"]["gradient"]
    assert one["queries"] == one["search_queries"] == 4 * 8
    assert Quantity.from_json(one["quantities"]["accuracy@1 by all"]).n == 4
    assert one["curve"][0]["step"] == 0
    assert [*one["seconds_to"]] == ["0.25", "0.5", "0.75"]
    stored = json.loads((tmp_path / "class-inversion.json").read_text())
    assert stored == json.loads(json.dumps(record))
    assert any("names" in note and "private images right" in note for note in record["notes"])
    again: list[str] = []
    repeated = run_campaign(campaign(), tmp_path, say=again.append)
    assert "gradient: 4 of 4 classes, from the folder" in again
    assert not any("epoch" in text or "step" in text for text in again)
    assert repeated["attacks"]["gradient"]["curve"] == one["curve"]
    assert repeated["attacks"]["labels"]["quantities"] == record["attacks"]["labels"]["quantities"]

    page = write_class_inversion(tmp_path, show_images=False)
    text = page.read_text(encoding="utf-8")
    assert "gradient" in text
    assert "data:image/png" not in text
    assert "puts them in" in text
    assert not (tmp_path / "contact-sheet.png").exists()
    text = write_class_inversion(tmp_path, show_images=True).read_text(encoding="utf-8")
    assert text.count("data:image/png") == 4 * 4
    assert (tmp_path / "contact-sheet.png").stat().st_size < 300_000
    # the installation is at fault, not the record
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(page_room, "page_from", _without_template)
        with pytest.raises(TemplateNotFound):
            write_class_inversion(tmp_path, show_images=True)
    assert headline(record).endswith(".")
    assert [*record["shown"]] == ["private", "best public image", "gradient", "labels"]
    assert all(len(taken) == 4 for taken in record["shown"].values())
    marks = [mark for taken in record["shown"].values() for mark in taken]
    assert text.count("✓</figcaption>") == sum(marks)
    assert text.count("✗</figcaption>") == 16 - sum(marks)
    assert (tmp_path / "class-inversion.json").stat().st_mode & 0o077 == 0


def test_the_headline_names_the_surest_of_the_best_and_no_difference_that_may_be_chance() -> None:
    def said(value: float, low: float) -> dict[str, object]:
        one = Quantity(value=value, low=low, high=1.0, unit="share", kind=Kind.MEASURED, n=9)
        return one.to_json()

    def attack(value: float, low: float) -> dict[str, object]:
        return {
            "quantities": {"accuracy@1 by all": said(value, 0.1)},
            "net_accuracy": said(0.5, low),
        }

    public = {"best public image": {"quantities": {"accuracy@1 by all": said(0.2, 0.1)}}}
    first, second = attack(0.7, -0.1), attack(0.7, 0.2)
    found = headline({"baselines": public, "attacks": {"a": first, "b": second}})
    assert "images by b for" in found
    assert "chance" not in found
    found = headline({"baselines": public, "attacks": {"a": first, "c": attack(0.6, 0.3)}})
    assert "images by a for" in found
    assert found.endswith("The difference may be chance.")
    first["net_accuracy"] = None
    assert headline({"baselines": public, "attacks": {"a": first}}).endswith("chance.")


def test_captions_that_a_picture_s_font_lacks_are_numbers_there() -> None:
    pixels = np.zeros((2, 2), dtype=np.uint8)
    row = Row("a", "", (Picture(pixels, "Ω", "✓", ""), Picture(pixels, "b", "✗", "")), "cut")
    (made,) = _on_paper((row,), [7, 8])
    assert [(one.caption, one.unit) for one in made.pictures] == [("class 7", "yes"), ("b", "no")]


def test_an_attack_that_fails_sinks_no_other(tmp_path: Path) -> None:
    record = run_campaign(campaign(level="label"), tmp_path)
    assert [*record["attacks"]] == ["labels"]
    assert "gradient needs white access" in record["failures"]["gradient"]
    assert record["complete"]
    spent = run_campaign(campaign(attacks=(GRADIENT,), budget=20), tmp_path / "spent")
    assert "of 20 left" in spent["failures"]["gradient"]
    assert "(0 of 4 classes done)" in spent["failures"]["gradient"]
    assert headline(spent) == "No attack came to an end."
    write_class_inversion(tmp_path / "spent", show_images=True)


def _without_template(name: str, context: dict[str, Any]) -> str:
    raise TemplateNotFound(name)


def test_campaigns_and_records_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match="each once"):
        campaign(attacks=(GRADIENT, GRADIENT))
    with pytest.raises(BadData, match="run `splitveil invert-classes`"):
        write_class_inversion(tmp_path, show_images=True)
    (tmp_path / "class-inversion.json").write_text('{"attacks": {"a": {}}}')
    with pytest.raises(BadData, match="damaged record"):
        write_class_inversion(tmp_path, show_images=False)


def test_an_oracle_of_the_data_is_asked(tmp_path: Path) -> None:
    def oracle(x: Tensor, labels: Tensor) -> Tensor:
        return torch.full((len(x),), 0.25)

    record = run_campaign(campaign(attacks=(GRADIENT,), oracle=oracle), tmp_path)
    assert record["attacks"]["gradient"]["quantities"]["identity distance"]["value"] == 0.25
