"""What the moments trial records: measures by cut, replicates to compare cuts by, and clusters."""

import json
import math
from dataclasses import replace
from functools import cache

import audit_tiny
import pytest
import torch

from splitveil.audit.spread import _COMPARED, spread
from splitveil.audit.subject import Subject, wrap
from splitveil.data import LabelledImages
from splitveil.partition import trace
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng


@cache
def subject() -> Subject:
    x, y = audit_tiny.images()
    pixels = torch.from_numpy(x)[:, None].float() / 255
    labels = torch.from_numpy(y)
    parts = [
        LabelledImages(pixels[rows], labels[rows], torch.arange(len(x))[rows])
        for rows in (slice(0, 140), slice(140, 200), slice(200, 280))
    ]

    model = wrap(audit_tiny.net())
    return Subject(model, trace(model.network, parts[0].x[:2]), *parts)


def unlabelled() -> Subject:
    parts = {
        name: replace(getattr(subject(), name), y=None)
        for name in ("auxiliary", "validation", "test")
    }
    return replace(subject(), **parts)


@cache
def found() -> dict[str, object]:
    return spread(subject(), subject().traced.menu(), Rng(0))


def test_every_cut_has_the_measures_of_its_features() -> None:
    cuts = subject().traced.menu()
    measured = found()["cuts"]
    assert found()["classes"] == "labels"
    assert set(measured) == {cut.id for cut in cuts}  # type: ignore[call-overload]
    x = torch.cat([subject().validation.x, subject().test.x])
    y = torch.cat([subject().validation.y, subject().test.y])  # type: ignore[list-item]
    for cut in cuts:
        numbers = {n: Quantity.from_json(q) for n, q in measured[cut.id].items()}  # type: ignore[index]
        with torch.no_grad():
            z = subject().traced.features(x, [cut])[cut.id].double()
        groups = [z[y == label] for label in y.unique()]
        radii = [float((g - g.mean(0)).square().sum(1).mean()) for g in groups]
        within = sum(len(g) * r for g, r in zip(groups, radii, strict=True)) / len(z)
        total = float((z - z.mean(0)).square().sum(1).mean())
        assert numbers["radius"].value == pytest.approx(sum(radii) / len(radii), rel=1e-5)
        assert numbers["scatter_within"].value == pytest.approx(within, rel=1e-5)
        assert numbers["rho"].value == pytest.approx(within / total, rel=1e-5)
        assert numbers["nc1"].value == pytest.approx(within / (total - within), rel=1e-4)
        assert numbers["radius"].kind is Kind.PROXY
        assert numbers["radius"].low <= numbers["radius"].value <= numbers["radius"].high


def test_replicates_are_what_intervals_come_from_and_plain_data() -> None:
    replicates = found()["replicates"]
    for by_name in replicates.values():  # type: ignore[attr-defined]
        assert set(by_name) == set(_COMPARED)
        lengths = {len(values) for values in by_name.values()}
        assert len(lengths) == 1
        assert lengths.pop() > 1
        assert all(v is None or math.isfinite(v) for values in by_name.values() for v in values)
    json.dumps(found(), allow_nan=False)


def test_the_papers_probe_looks_at_the_attackers_images_and_the_networks_own_labels() -> None:
    raw = found()["paper_raw"]
    assert raw["images"] == 128  # type: ignore[index]
    assert 1 <= raw["classes"] <= audit_tiny.CLASSES  # type: ignore[index]
    assert set(raw["radii"]) == {cut.id for cut in subject().traced.menu()}  # type: ignore[index]


def test_clusters_stand_in_for_labels_and_say_so() -> None:
    bare = spread(unlabelled(), unlabelled().traced.menu(), Rng(0))
    assert bare["classes"] == "clusters"
    for numbers in bare["cuts"].values():  # type: ignore[attr-defined]
        assert "clusters of the last cut's features" in numbers["radius"]["assumptions"][-1]


def test_the_stream_decides_the_clusters_and_nothing_else() -> None:
    cuts = subject().traced.menu()
    assert spread(subject(), cuts, Rng(7)) == found()
    once, again = (spread(unlabelled(), cuts, Rng(3)) for _ in range(2))
    assert once == again


def test_fewer_cuts_give_the_same_numbers() -> None:
    cuts = subject().traced.menu()
    fewer = spread(subject(), cuts[:1], Rng(0))["cuts"]
    mine, all_ = (
        {n: Quantity.from_json(q).value for n, q in one[cuts[0].id].items()}  # type: ignore[index]
        for one in (fewer, found()["cuts"])
    )
    assert mine == pytest.approx(all_, rel=1e-6)
