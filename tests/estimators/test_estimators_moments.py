"""Streaming moments against a two-pass calculation, and the jackknife against leaving out."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitveil.errors import BadData, BadPlan
from splitveil.estimators import (
    ClassMoments,
    Moments,
    groups_within,
    joint_moments,
    stream_order,
)
from splitveil.rng import Rng


def _data(
    n: int = 400, f: int = 12, classes: int = 5, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = Rng(seed, ("moments",)).torch()
    y = torch.randint(0, classes, (n,), generator=generator)
    centres = torch.randn(classes, f, generator=generator)
    z = centres[y] + 0.5 * torch.randn(n, f, generator=generator)
    return z.double(), y, torch.arange(n)


def _seen(z: torch.Tensor, y: torch.Tensor, ids: torch.Tensor, *, groups: int = 16) -> Moments:
    moments = ClassMoments(5, z.shape[1], groups=groups)
    moments.update(z, y, ids)
    return moments.result()


def _two_pass(z: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    values, labels = z.double().numpy(), y.numpy()
    n, middle = len(values), values.mean(0)
    within = between = 0.0
    radii, unbiased = [], []
    for label in np.unique(labels):
        own = values[labels == label]
        scatter = ((own - own.mean(0)) ** 2).sum()
        within += scatter / n
        between += len(own) * ((own.mean(0) - middle) ** 2).sum() / n
        if len(own) > 1:
            radii.append(scatter / len(own))
            unbiased.append(scatter / (len(own) - 1))
    k = len(np.unique(labels))
    return {
        "radius": float(np.mean(radii)),
        "radius_unbiased": float(np.mean(unbiased)),
        "within": within,
        "within_unbiased": within * n / max(1, n - k),
        "between": between,
        "between_unbiased": between - (k - 1) / n * within * n / max(1, n - k),
        "total": float(((values - middle) ** 2).sum() / n),
        "v": within / values.shape[1],
        "rho": within / (within + between) if within + between > 0 else math.nan,
        "nc1": within / between if between > 0 else math.nan,
    }


@given(
    st.integers(0, 1000),
    st.integers(2, 60),
    st.integers(1, 6),
    st.lists(st.integers(1, 59), max_size=4),
    st.sampled_from([0.0, 1e4]),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_batching_equals_two_passes(
    seed: int, n: int, f: int, cuts: list[int], offset: float, dtype: torch.dtype
) -> None:
    """Sums are taken in the features' own precision, and within it hold at any offset."""
    z, y, ids = _data(n, f, 5, seed)
    z = (z + offset).to(dtype)
    relative = 1e-9 if dtype is torch.float64 else 1e-6
    if int(y.bincount().max()) < 2:
        return
    moments = ClassMoments(5, f)
    ends = sorted({0, n, *(c for c in cuts if c < n)})
    for start, end in pairwise(ends):
        moments.update(z[start:end], y[start:end], ids[start:end])
    found, expected = moments.result().values, _two_pass(z, y)
    for name, value in expected.items():
        if math.isfinite(found[name]) and name != "between_unbiased":
            assert found[name] == pytest.approx(value, rel=relative, abs=1e-12), name
    assert found["between_unbiased"] == pytest.approx(
        max(0.0, expected["between_unbiased"]), rel=relative, abs=relative * expected["total"]
    )
    assert found["total"] == pytest.approx(found["within"] + found["between"], rel=1e-9)


def test_survives_a_large_offset_that_ruins_naive_sums() -> None:
    """The known case of offset 1e4, deviation 0.5, 300 features: true radius 75."""
    generator = Rng(3).torch()
    z = 1e4 + 0.5 * torch.randn(4000, 300, generator=generator)
    moments = ClassMoments(1, 300)
    for batch, ids in zip(z.split(128), torch.arange(4000).split(128), strict=True):
        moments.update(batch, torch.zeros(len(batch), dtype=torch.int64), ids)
    exact = _two_pass(z, torch.zeros(4000, dtype=torch.int64))["radius"]
    assert moments.result().values["radius"] == pytest.approx(exact, rel=1e-7)
    naive = float(z.square().sum() / 4000 - z.mean(0).square().sum())
    assert abs(naive - exact) > 10


def test_merging_equals_one_stream_in_any_order() -> None:
    z, y, ids = _data()
    whole = _seen(z, y, ids)
    parts = []
    for chosen in (slice(0, 50), slice(50, 300), slice(300, 400)):
        part = ClassMoments(5, 12)
        part.update(z[chosen], y[chosen], ids[chosen])
        parts.append(part)
    for order in ((0, 1, 2), (2, 0, 1)):
        merged = ClassMoments(5, 12)
        for index in order:
            merged.merge(parts[index])
        merged.merge(ClassMoments(5, 12))
        result = merged.result()
        assert result.counts == whole.counts
        for name, value in whole.values.items():
            assert result.values[name] == pytest.approx(value, rel=1e-10)
            assert result.replicates[name] == pytest.approx(whole.replicates[name], rel=1e-6)


def test_replicates_are_the_moments_without_a_group() -> None:
    z, y, ids = _data()
    whole = _seen(z, y, ids, groups=4)
    single = ClassMoments(5, 12, groups=4)
    groups = []
    for index in range(len(z)):
        single = ClassMoments(5, 12, groups=4)
        single.update(z[index : index + 1], y[index : index + 1], ids[index : index + 1])
        groups.append(int(single._count.argmax()) // 5)
    member = torch.tensor(groups)
    assert member.bincount().tolist() == pytest.approx([100] * 4, abs=35)
    for group in range(4):
        keep = member != group
        left = _two_pass(z[keep], y[keep])
        for name, value in left.items():
            assert whole.replicates[name][group] == pytest.approx(value, rel=1e-6), name


def test_groups_depend_on_ids_alone() -> None:
    z, y, ids = _data()
    order = torch.randperm(400, generator=Rng(1).torch())
    first, second = _seen(z, y, ids), _seen(z[order], y[order], ids[order])
    for name in first.values:
        assert second.replicates[name] == pytest.approx(first.replicates[name], rel=1e-6)


def test_jackknife_interval_covers_the_truth() -> None:
    """f = 40 unit Gaussians: S_W is 40; 95 % intervals of 40 streams miss at most 7 (p < 4e-3)."""
    missed = 0
    for seed in range(40):
        generator = Rng(seed, ("cover",)).torch()
        z = torch.randn(300, 40, generator=generator)
        y = torch.randint(0, 5, (300,), generator=generator)
        interval = _seen(z, y, torch.arange(300)).interval("within_unbiased")
        missed += not interval.low <= 40 <= interval.high
    assert missed <= 7


def test_rescaling_moves_the_radius_and_not_its_twins() -> None:
    z, y, ids = _data()
    one, seven = _seen(z, y, ids), _seen(7 * z, y, ids)
    assert seven.values["radius"] == pytest.approx(49 * one.values["radius"], rel=1e-6)
    assert seven.values["rho"] == pytest.approx(one.values["rho"], rel=1e-6)
    assert seven.values["nc1"] == pytest.approx(one.values["nc1"], rel=1e-6)


def test_permuted_labels_leave_only_chance_between_classes() -> None:
    z, y, ids = _data(2000)
    shuffled = y[torch.randperm(2000, generator=Rng(9).torch())]
    values = _seen(z, shuffled, ids).values
    assert values["between"] / values["total"] < 5 * 4 / 1999
    assert values["between_unbiased"] < 0.5 * _seen(z, y, ids).values["between"] / 10


def test_class_means_are_the_means() -> None:
    z, y, ids = _data()
    moments = ClassMoments(7, 12)
    moments.update(z, y, ids)
    means = moments.means()
    for label in range(5):
        assert torch.allclose(means[label], z[y == label].double().mean(0), atol=1e-10)
    assert not means[5:].any()


def test_constant_features_have_no_radius() -> None:
    values = _seen(torch.ones(20, 3), torch.arange(20) % 5, torch.arange(20))
    assert values.values["radius"] == 0
    assert math.isnan(values.values["rho"])
    interval = values.interval("radius")
    assert (interval.low, interval.high) == (0, 0)


def test_one_class_has_a_radius_and_no_ratio() -> None:
    z, _, ids = _data()
    result = _seen(z, torch.zeros(400, dtype=torch.int64), ids)
    assert result.classes == 1
    assert result.values["radius"] > 0
    assert math.isnan(result.values["nc1"])
    assert math.isnan(result.class_radii[1])


def test_classes_of_one_image_are_counted_apart() -> None:
    z = torch.randn(4, 3, generator=Rng(1).torch())
    result = _seen(z, torch.tensor([0, 0, 1, 2]), torch.arange(4))
    assert result.values["radius"] == pytest.approx(result.class_radii[0])
    assert result.class_radii[1] == 0
    assert math.isnan(result.unbiased_class_radii[1])


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_images_are_refused(n: int) -> None:
    with pytest.raises(BadData, match="at least two images"):
        _seen(torch.ones(n, 3), torch.zeros(n, dtype=torch.int64), torch.arange(n))


def test_bad_batches_are_refused_and_leave_no_trace() -> None:
    z, y, ids = _data()
    moments = ClassMoments(5, 12)
    moments.update(z, y, ids)
    before = moments.result()
    broken = z.clone()
    broken[3, 4] = math.nan
    for bad_z, bad_y, words in (
        (broken, y, "NaN"),
        (z[:, :5], y, "shape"),
        (z, y + 5, "expected 0 to 4"),
        (z, y - 1, "expected 0 to 4"),
        (z, None, "one label an image"),
    ):
        with pytest.raises(BadData, match=words):
            moments.update(bad_z, bad_y, ids)
    assert moments.result() == before


def test_without_labels_all_images_are_one_heap() -> None:
    z, y, ids = _data()
    moments = ClassMoments(None, 12)
    moments.update(z, None, ids)
    result = moments.result()
    assert not result.labelled
    assert result.values["total"] == pytest.approx(_two_pass(z, y)["total"], rel=1e-9)
    with pytest.raises(BadData, match="without labels"):
        moments.update(z, y, ids)


def test_without_groups_there_is_no_interval() -> None:
    interval = _seen(*_data(), groups=0).interval("radius")
    assert (interval.low, interval.high) == (0, math.inf)


def test_group_count_follows_memory() -> None:
    assert groups_within(10, [1000] * 3) == 16
    assert groups_within(10, [1000], memory=4 * 10 * 1000 * 5) == 4
    assert groups_within(1000, [100_000], memory=1000) == 0


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(BadPlan, match="at least 1"):
        ClassMoments(0, 3)
    with pytest.raises(BadPlan, match="merge"):
        ClassMoments(2, 3).merge(ClassMoments(3, 3))


def test_the_order_for_speed_changes_rounding_alone() -> None:
    z, y, ids = _data(500, 3000)
    order = stream_order(y, ids, 16)
    assert sorted(order.tolist()) == list(range(500))
    sorted_first = ClassMoments(5, 3000)
    for part in order.split(64):
        sorted_first.update(z[part].float(), y[part], ids[part])
    plain = _seen(z, y, ids)
    for name, value in plain.values.items():
        assert sorted_first.result().values[name] == pytest.approx(value, rel=1e-6), name
        assert sorted_first.result().replicates[name] == pytest.approx(
            plain.replicates[name], rel=1e-6
        )


@pytest.mark.parametrize("offset", [0.0, 0.5, 30.0, 1e4])
def test_wide_features_are_exact_at_any_offset(offset: float) -> None:
    z, y, ids = _data(600, 4096)
    wide = (z + offset).float()
    found, exact = _seen(wide, y, ids).values, _two_pass(wide, y)
    for name, value in exact.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_a_joint_result_is_that_of_the_features_side_by_side() -> None:
    z, y, ids = _data()
    parts = []
    for columns in (slice(0, 5), slice(5, 12)):
        part = ClassMoments(5, columns.stop - columns.start)
        part.update(z[:, columns], y, ids)
        parts.append(part)
    joint, whole = joint_moments(parts), _seen(z, y, ids)
    assert (joint.features, joint.counts) == (12, whole.counts)
    assert joint.class_radii == pytest.approx(whole.class_radii, rel=1e-10)
    for name, value in whole.values.items():
        assert joint.values[name] == pytest.approx(value, rel=1e-9)
        assert joint.replicates[name] == pytest.approx(whole.replicates[name], rel=1e-9)
    with pytest.raises(BadPlan, match="same images"):
        joint_moments([parts[0], ClassMoments(5, 12)])


def test_trace_form_of_the_leak_by_hand() -> None:
    z, y, ids = _data()
    moments = _seen(z, y, ids)
    total, radii = moments.values["total"], moments.class_radii
    shares = [count / 400 for count in moments.counts]
    entropy = -sum(p * math.log(p) for p in shares)
    for ratio in (0.3, 0.1, 0.03, 0.01):
        rate = sum(
            p * 6 * math.log(1 + r / (ratio**2 * total)) for p, r in zip(shares, radii, strict=True)
        )
        assert moments.values[f"leak({ratio})"] == pytest.approx(entropy + rate, rel=1e-12)
    assert _seen(7 * z, y, ids).values["leak(0.1)"] == pytest.approx(
        moments.values["leak(0.1)"], rel=1e-9
    )


def test_one_image_a_class_keeps_the_label_term() -> None:
    """K = N: R_c² vanishes and yet z names the image, so the entropy ln N must stay."""
    z, _, ids = _data(50)
    y = torch.arange(50) % 49
    moments = ClassMoments(49, 12)
    moments.update(z, y, ids)
    values = moments.result().values
    assert values["within"] < 0.05 * values["total"]
    assert values["leak(0.3)"] > math.log(49) - 0.1


def test_pooling_lowers_the_radius_without_meaning() -> None:
    """Features repeated four times lose three quarters of R_c² when pooled, and no information."""
    z, y, ids = _data()
    pooled, whole = _seen(z, y, ids).values, _seen(z.repeat(1, 4), y, ids).values
    assert whole["radius"] == pytest.approx(4 * pooled["radius"])
    assert whole["nc1"] == pytest.approx(pooled["nc1"])
    assert whole["v"] == pytest.approx(pooled["v"])


def test_paired_ratio_between_cuts_is_sharper_than_unpaired() -> None:
    """One cut is the other with a little noise: what they share cancels."""
    z, y, ids = _data(800, 40)
    near = 0.8 * z + 0.05 * torch.randn(z.shape, generator=Rng(5).torch())
    first, second = _seen(z, y, ids), _seen(near, y, ids)
    paired = first.log_ratio("radius", second)
    assert paired is not None
    assert paired.log == pytest.approx(
        math.log(first.values["radius"] / second.values["radius"]), rel=1e-12
    )
    alone = math.log(first.interval("radius").high / first.values["radius"]) / 2.13
    assert paired.error < 0.2 * alone
    assert paired.z > 20
    back = second.log_ratio("radius", first)
    assert back is not None
    assert back.z == pytest.approx(-paired.z)
    with pytest.raises(BadData, match="same images"):
        first.log_ratio("radius", _seen(z[:300], y[:300], ids[:300]))
