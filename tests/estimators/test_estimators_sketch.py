"""Sketches against the traces they replace; samples and geometry against exact calculations."""

import math

import pytest
import torch

from splitveil.errors import BadData, BadPlan
from splitveil.estimators import ClassGeometry, ClassMoments, CountSketch, Reservoir
from splitveil.rng import Rng


def _clusters(
    n: int, f: int, classes: int, spread: float, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = Rng(seed, ("sketch",)).torch()
    y = torch.randint(0, classes, (n,), generator=generator)
    centres = torch.randn(classes, f, generator=generator)
    return centres[y] + spread * torch.randn(n, f, generator=generator), y, torch.arange(n)


def test_sketched_lengths_are_right_on_average() -> None:
    """Over 300 sketches the mean of |S v|² is within 4 standard errors of |v|², and is linear."""
    v = torch.randn(2, 1000, generator=Rng(1).torch(), dtype=torch.float64)
    lengths = torch.stack([CountSketch(1000, 64, seed)(v).square().sum(1) for seed in range(300)])
    error = lengths.std(0) / math.sqrt(300)
    assert ((lengths.mean(0) - v.square().sum(1)).abs() < 4 * error).all()
    sketch = CountSketch(1000, 64)
    assert torch.allclose(sketch(v[:1] + v[1:]), sketch(v)[:1] + sketch(v)[1:])


def test_relative_deviation_of_a_trace_is_as_predicted() -> None:
    """Identity covariance: r = D, predicted sqrt(2 / (m D)); the prediction is an upper one."""
    z = torch.randn(400, 4096, generator=Rng(2).torch())
    trace = float((z - z.mean(0)).square().sum())
    found = []
    for seed in range(20):
        small = CountSketch(4096, 128, seed)(z)
        found.append(float((small - small.mean(0)).square().sum()) / trace - 1)
    deviation = math.sqrt(sum(x * x for x in found) / len(found))
    predicted = math.sqrt(2 / (128 * 400))  # the sample's own rank is 400
    assert deviation < 2 * predicted
    assert deviation > predicted / 4


def test_moments_of_a_sketch_are_those_of_the_features() -> None:
    z, y, ids = _clusters(600, 8000, 5, 0.7)
    sketch = CountSketch(8000, 1024)
    exact, small = ClassMoments(5, 8000), ClassMoments(5, 1024)
    exact.update(z, y, ids)
    small.update(sketch(z), y, ids)
    for name in ("within", "between", "total", "rho"):
        assert small.result().values[name] == pytest.approx(exact.result().values[name], rel=0.1)


def test_narrow_features_are_not_sketched() -> None:
    z = torch.randn(3, 10, generator=Rng(0).torch())
    assert CountSketch(10, 16).exact
    assert torch.equal(CountSketch(10, 16)(z), z)


@pytest.mark.parametrize("features", [17, 32, 33, 100])
def test_every_feature_goes_to_one_place(features: int) -> None:
    out = CountSketch(features, 16)(torch.eye(features))
    assert (out.abs().sum(1) == 1).all()
    assert (out.abs().sum(0) - features / 16).abs().max() <= 1


def test_bad_sketches_are_refused() -> None:
    with pytest.raises(BadPlan, match="at least 1"):
        CountSketch(0, 4)
    with pytest.raises(BadData, match="takes 10 features"):
        CountSketch(10, 4)(torch.zeros(2, 9))


def test_reservoir_depends_on_ids_alone() -> None:
    z, y, ids = _clusters(300, 4, 3, 1.0)
    whole, left, right = Reservoir(40), Reservoir(40), Reservoir(40)
    whole.update(z, y, ids)
    order = torch.randperm(300, generator=Rng(4).torch())
    for part in order[:120].split(7):
        left.update(z[part], y[part], ids[part])
    right.update(z[order[120:]], y[order[120:]], ids[order[120:]])
    left.merge(right)
    for one, other in zip(whole.sample(), left.sample(), strict=True):
        assert torch.equal(one, other)
    rows, labels, kept = whole.sample()
    assert len(kept) == 40
    assert torch.equal(rows, z[kept])
    assert torch.equal(labels, y[kept])


def test_reservoir_is_uniform() -> None:
    """Each of 200 runs of 50 ids keeps 10: every tenth of the ids gets its share (5 sd)."""
    hits = torch.zeros(50)
    for run in range(200):
        reservoir = Reservoir(10)
        ids = torch.arange(50) + 1000 * run
        reservoir.update(torch.zeros(50, 1), None, ids)
        hits[reservoir.sample()[2] - 1000 * run] += 1
    assert (hits - 40).abs().max() < 5 * math.sqrt(200 * 0.2 * 0.8)


def test_bad_reservoirs_are_refused() -> None:
    with pytest.raises(BadPlan, match="at least 1"):
        Reservoir(0)
    with pytest.raises(BadPlan, match="do not merge"):
        Reservoir(2).merge(Reservoir(3))
    with pytest.raises(BadData, match="nothing has been seen"):
        Reservoir(2).sample()


def _geometry(
    z: torch.Tensor, y: torch.Tensor, ids: torch.Tensor, *, width: int = 2048, size: int = 512
) -> ClassGeometry:
    geometry = ClassGeometry(int(y.max()) + 1, z.shape[1], width=width, size=size)
    geometry.update(z, y, ids)
    return geometry


def test_centre_accuracy_leaves_each_image_out_of_its_own_mean() -> None:
    z, y, ids = _clusters(60, 30, 4, 2.0)
    hits = 0
    for index in range(60):
        rest = torch.arange(60) != index
        means = torch.stack([z[rest & (y == label)].double().mean(0) for label in range(4)])
        hits += int((z[index].double() - means).norm(dim=1).argmin()) == int(y[index])
    found = _geometry(z, y, ids).result()
    assert found.centre_accuracy is not None
    assert found.centre_accuracy.value == pytest.approx(hits / 60)
    assert 0.2 < hits / 60 < 0.95
    assert not found.sketched


def test_effective_rank_of_a_known_covariance() -> None:
    """Variances 1 on 20 features, 0.01 on 180: r = 21.8² / 20.018 = 23.7."""
    generator = Rng(7).torch()
    scale = torch.cat([torch.ones(20), torch.full((180,), 0.1)])
    y = torch.randint(0, 3, (2000,), generator=generator)
    z = 5 * torch.randn(3, 200, generator=generator)[y]
    z = z + scale * torch.randn(2000, 200, generator=generator)
    truth = 21.8**2 / 20.018
    whole = _geometry(z, y, torch.arange(2000), size=800).result().effective_rank
    assert whole is not None
    assert whole.low < truth < whole.high
    assert whole.value == pytest.approx(truth, rel=0.1)
    sketched = []
    for seed in range(12):
        geometry = ClassGeometry(3, 200, width=64, size=300, seed=seed)
        geometry.update(z, y, torch.arange(2000))
        found = geometry.result()
        assert found.sketched
        assert found.effective_rank is not None
        sketched.append(1 / found.effective_rank.value)
    assert 12 / sum(sketched) == pytest.approx(truth, rel=0.15)


def test_permuted_labels_give_chance_accuracy() -> None:
    z, y, ids = _clusters(2000, 20, 4, 0.5)
    shuffled = y[torch.randperm(2000, generator=Rng(3).torch())]
    right, wrong = _geometry(z, y, ids).result(), _geometry(z, shuffled, ids).result()
    assert right.centre_accuracy is not None
    assert right.centre_accuracy.value > 0.95
    assert wrong.centre_accuracy is not None
    assert wrong.centre_accuracy.low < 0.25 + 4 * math.sqrt(0.25 * 0.75 / 512)


def test_geometry_without_variation_or_company() -> None:
    constant = _geometry(torch.ones(20, 3), torch.arange(20) % 2, torch.arange(20)).result()
    assert constant.effective_rank is None
    one = _geometry(
        torch.randn(9, 3, generator=Rng(0).torch()), torch.zeros(9).long(), torch.arange(9)
    )
    assert one.result().centre_accuracy is None
    alone = _geometry(torch.eye(3), torch.arange(3), torch.arange(3))
    with pytest.raises(BadData, match="at most one of a class"):
        alone.result()


def test_geometry_merges() -> None:
    z, y, ids = _clusters(400, 50, 3, 1.5)
    whole = _geometry(z, y, ids, width=16)
    parts = [ClassGeometry(3, 50, width=16) for _ in range(2)]
    parts[0].update(z[:100], y[:100], ids[:100])
    parts[1].update(z[100:], y[100:], ids[100:])
    parts[1].merge(parts[0])
    one, other = whole.result(), parts[1].result()
    assert one.centre_accuracy == other.centre_accuracy
    assert one.effective_rank is not None
    assert other.effective_rank is not None
    assert one.effective_rank.value == pytest.approx(other.effective_rank.value, rel=1e-5)
