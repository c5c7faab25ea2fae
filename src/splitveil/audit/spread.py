"""Class-wise spread at every cut of a subject, from one pass over its private images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from splitveil.audit.subject import Subject
from splitveil.errors import AuditError, BadData
from splitveil.estimators.clusters import cluster_labels
from splitveil.estimators.geometry import ClassGeometry
from splitveil.estimators.moments import (
    Cells,
    ClassMoments,
    groups_within,
    joint_moments,
    stream_order,
)
from splitveil.estimators.paper_probe import paper_raw_radius
from splitveil.estimators.scatter import Moments
from splitveil.measures.geometry import class_geometry
from splitveil.measures.radius import radius
from splitveil.models import predict
from splitveil.partition import Cut
from splitveil.quantities import Quantity
from splitveil.rng import Rng

_BATCH = 64
_SKETCHED = 2000  # images whose nearest centres are looked at: more change little
_PROBED = 128  # the paper's batch
_COMPARED = ("radius", "nc1", "leak(0.3)", "leak(0.1)", "leak(0.03)", "leak(0.01)")


@dataclass(frozen=True)
class _Images:
    x: Tensor
    y: Tensor | None
    classes: int | None
    kind: str

    @property
    def clustered(self) -> bool:
        return self.kind == "clusters"


@torch.no_grad()
def spread(subject: Subject, cuts: Sequence[Cut], rng: Rng) -> dict[str, object]:
    """What the record of the moments trial holds, as plain data.

    `cuts`: by cut id, every measure of `radius` and `class_geometry`. `replicates`: by cut id,
    measures without each group of images in turn (None where there is none), from which cuts are
    compared in pairs. `classes`: "labels", "clusters" or "none", the last where even clusters fail.
    `paper_raw`: the paper's own probe of one batch of auxiliary images.
    """
    images = _private(subject, cuts, rng)
    moments = _moments(subject, cuts, images)
    quantities = {cut: radius(found) for cut, found in moments.items()}
    if images.clustered:
        note = f"{images.classes} clusters of the last cut's features stand in for classes"
        quantities = {
            cut: {name: replace(q, assumptions=(*q.assumptions, note)) for name, q in found.items()}
            for cut, found in quantities.items()
        }
    for cut, more in _geometry(subject, cuts, images).items():
        quantities[cut] |= more
    return {
        "cuts": {
            cut: {name: q.to_json() for name, q in found.items()}
            for cut, found in quantities.items()
        },
        "replicates": {
            cut: {name: _plain(found.replicates[name]) for name in _COMPARED}
            for cut, found in moments.items()
        },
        "classes": images.kind,
        "paper_raw": _paper_raw(subject, cuts),
    }


def _private(subject: Subject, cuts: Sequence[Cut], rng: Rng) -> _Images:
    """Validation and test images with labels, else with clusters of the last cut's features."""
    x = torch.cat([subject.validation.x, subject.test.x])
    if subject.validation.y is not None and subject.test.y is not None:
        y = torch.cat([subject.validation.y, subject.test.y]).cpu()
        return _Images(x, y, 1 + int(y.max()), "labels")
    late = max(cuts, key=lambda cut: cut.depth)
    z = torch.cat([subject.traced.features(part, [late])[late.id] for part in x.split(_BATCH)])
    clusters = _outputs(subject)
    try:
        return _Images(x, cluster_labels(z, clusters, rng.child("clusters")), clusters, "clusters")
    except AuditError:
        return _Images(x, None, None, "none")


def _outputs(subject: Subject) -> int:
    """Values in the model's answer, the number of its classes."""
    return predict(subject.model.network, subject.test.x[:2]).shape[1]


def _moments(subject: Subject, cuts: Sequence[Cut], images: _Images) -> dict[str, Moments]:
    traced = subject.traced
    sizes = {
        name: part.size
        for cut in cuts
        for name, part in zip(traced.tensors(cut), cut.layout.parts, strict=True)
    }
    groups = groups_within(images.classes or 1, list(sizes.values()))
    sums = {name: ClassMoments(images.classes, size, groups=groups) for name, size in sizes.items()}
    ids = torch.arange(len(images.x))
    for chosen in stream_order(images.y, ids, groups).split(_BATCH):
        y = None if images.y is None else images.y[chosen]
        cells = Cells.of(y, ids[chosen], images.classes, groups)
        for name, z in traced.stream(images.x[chosen.to(images.x.device)], cuts):
            sums[name].add(z, cells)
    return {cut.id: joint_moments([sums[name] for name in traced.tensors(cut)]) for cut in cuts}


def _geometry(
    subject: Subject, cuts: Sequence[Cut], images: _Images
) -> dict[str, dict[str, Quantity]]:
    """Nearest centres and effective rank; nothing without classes or with too few images."""
    if images.y is None or images.classes is None:
        return {}
    sums = {cut.id: ClassGeometry(images.classes, cut.layout.size) for cut in cuts}
    for chosen in torch.arange(min(_SKETCHED, len(images.x))).split(_BATCH):
        x = images.x[chosen.to(images.x.device)]
        for cut, z in subject.traced.features(x, cuts).items():
            sums[cut].update(z, images.y[chosen], chosen)
    found = {}
    for cut, geometry in sums.items():
        try:
            found[cut] = class_geometry(geometry.result())
        except BadData:
            continue
    return found


def _paper_raw(subject: Subject, cuts: Sequence[Cut]) -> dict[str, object]:
    x = subject.auxiliary.x[:_PROBED]
    predicted = predict(subject.model.network, x).argmax(1)
    features = subject.traced.features(x, cuts)
    return {
        "images": len(x),
        "classes": int(predicted.unique().numel()),
        "radii": {cut: paper_raw_radius(z, predicted) for cut, z in features.items()},
    }


def _plain(replicates: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in replicates]
