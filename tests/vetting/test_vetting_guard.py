"""The guard: what it learns by a second method, no look ahead, alarms where there is a leak."""

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import binom
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, one_hot

from splitveil.errors import BadData, BadPlan
from splitveil.rng import Rng
from splitveil.vetting.calibration import ceiling, guard_null
from splitveil.vetting.guard import Guard, GuardNull
from splitveil.vetting.online_probe import Fit, OnlineProbe, Pairs, Sums, pairs

CLASSES = 5
NULL = GuardNull(linear=0.25, bent=0.3, learns=400)


def _world(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Images whose mean depends on the class, classes, and how images vary within them."""
    g = Rng(seed, ("world",)).torch()
    y = torch.randint(CLASSES, (n,), generator=g)
    means = torch.rand(CLASSES, 1, 8, 8, generator=Rng(5).torch())
    ways = torch.randn(6, 64, generator=Rng(6).torch()) * torch.linspace(1, 0.3, 6)[:, None]
    inner = torch.randn(n, 6, generator=g)
    x = 0.3 * means[y] + 0.35 + 0.06 * (inner @ ways).reshape(n, 1, 8, 8)
    return x, y, inner


def _honest(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores that tell the class with noise of their own, and nothing else."""
    x, y, _ = _world(n, seed)
    noise = torch.randn(n, CLASSES, generator=Rng(seed, ("noise",)).torch())
    return x, 8 * one_hot(y, CLASSES) + noise


def _vicious(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The same decisions, with the image's own variation where the noise was."""
    x, y, inner = _world(n, seed)
    return x, 8 * one_hot(y, CLASSES) + inner[:, :CLASSES]


def test_the_fit_is_that_of_explicit_least_squares() -> None:
    g = Rng(1).torch()
    n, k, d, m = 90, 3, 4, 5
    decisions = one_hot(torch.randint(k, (n,), generator=g), k).double()
    rows = torch.cat([decisions, torch.randn(n, d + 6, generator=g, dtype=torch.float64)], 1)
    rows[:, k:] += 3 * decisions @ torch.randn(k, d + 6, generator=g, dtype=torch.float64)
    targets = rows @ torch.randn(k + d + 6, m, generator=g, dtype=torch.float64) + 2
    fit = Fit.to(
        Sums.none(k + d + 6, m).and_of(rows[:40], targets[:40]).and_of(rows[40:], targets[40:]),
        k,
        d,
    )

    def ridge(inputs: Tensor, outputs: Tensor, penalty: Tensor) -> Tensor:
        """By least squares on rows with the penalty's own rows added."""
        more = penalty.sqrt() * torch.eye(inputs.shape[1], dtype=torch.float64)
        zeros = torch.zeros(inputs.shape[1], outputs.shape[1], dtype=torch.float64)
        return torch.linalg.lstsq(torch.cat([inputs, more]), torch.cat([outputs, zeros])).solution

    centred, aim = rows - rows.mean(0), targets - targets.mean(0)
    one = torch.full((), 1e-6, dtype=torch.float64)
    left = centred[:, k:] - centred[:, :k] @ ridge(centred[:, :k], centred[:, k:], one)
    truth = aim - centred[:, :k] @ ridge(centred[:, :k], aim, one)
    expected = []
    for width in (d, d + 6):
        part = left[:, :width]
        penalty = part.square().sum(0).mean() * (1 / n + 1e-3) + 1e-9
        penalty = penalty * (width > d)
        guess = part @ ridge(part, truth, penalty)
        cosine = torch.nn.functional.cosine_similarity(guess, truth, 1)
        expected.append(cosine.clamp_min(0).square())
    assert torch.allclose(fit.scores(rows, targets), torch.stack(expected), atol=1e-8)


def test_thumbnails_and_decisions_are_what_they_say() -> None:
    x, outputs = _vicious(20)
    seen = pairs(x, outputs, "logits")
    assert torch.allclose(seen.target, adaptive_avg_pool2d(x, 4).flatten(1).double(), atol=1e-6)
    assert torch.equal(seen.decisions.argmax(1), outputs.argmax(1))
    signs = pairs(x, outputs, "attributes").decisions
    assert torch.equal(signs, (outputs >= 0).double())
    logs = pairs(x, outputs.softmax(1), "softmax").code
    centred = (outputs - outputs.mean(1, keepdim=True)).double()
    assert torch.allclose(logs, centred, atol=1e-4)
    odds = pairs(x, outputs.double().sigmoid(), "sigmoid")
    assert torch.allclose(odds.code, outputs.double(), atol=1e-6)
    assert torch.equal(odds.decisions, signs)
    assert bool(pairs(x, outputs.sigmoid().round(), "sigmoid").code.isfinite().all())
    assert pairs(x, torch.randn(20, 300), "features").code.shape == (20, 64)


def test_scaling_outputs_down_or_mixing_them_hides_nothing_from_the_linear_probe() -> None:
    x, outputs = _vicious(400)
    plain = OnlineProbe(400).scores(pairs(x, outputs, "logits"))
    seen = pairs(x, outputs, "logits")
    mixing = torch.linalg.qr(torch.randn(5, 5, generator=Rng(2).torch(), dtype=torch.float64)).Q
    mixing = mixing * torch.tensor([1.0, 1.0, 0.1, 1e-2, 1e-4], dtype=torch.float64)
    mixed = OnlineProbe(400).scores(Pairs(seen.decisions, seen.code @ mixing, seen.target))
    assert torch.allclose(plain[0, 30:], mixed[0, 30:], atol=1e-3)


def test_a_score_knows_nothing_of_what_comes_later() -> None:
    x, outputs = _vicious(60)
    seen = pairs(x, outputs, "logits")
    whole = OnlineProbe(400).scores(seen)
    changed = seen.target.clone()
    changed[30:] = changed[30:].flip(0) ** 2
    other = OnlineProbe(400).scores(Pairs(seen.decisions, seen.code, changed))
    assert torch.equal(whole[:, :30], other[:, :30])
    assert not torch.allclose(whole[:, 30:], other[:, 30:])
    assert bool((whole[:, :8] == 0).all())
    assert bool((whole[:, 8:] > 0).any())


def test_batches_may_be_cut_anywhere() -> None:
    x, outputs = _vicious(150)
    whole, parts = Guard(NULL), Guard(NULL)
    whole.update(x, outputs)
    for sizes in (torch.tensor([1, 3, 9, 0, 40, 97]),):
        for a, b in zip(x.split(sizes.tolist()), outputs.split(sizes.tolist()), strict=True):
            parts.update(a, b)
    assert whole.images == parts.images == 150
    assert whole.alarm_at == parts.alarm_at
    assert parts.log_e == pytest.approx(whole.log_e, abs=1e-9)
    assert parts.log_peak == pytest.approx(whole.log_peak, abs=1e-9)


def test_it_alarms_where_the_image_is_in_the_answer_and_not_where_the_class_alone_is() -> None:
    guard, quiet = Guard(NULL), Guard(NULL)
    found = guard.update(*_vicious(300))
    quiet.update(*_honest(1500))
    assert guard.alarmed
    assert guard.alarm_at is not None
    assert guard.alarm_at <= 80
    assert found.value > 100
    assert guard.p_value <= 0.01
    assert not quiet.alarmed
    assert quiet.log_peak < 1


def test_without_taking_the_class_away_the_honest_one_would_score() -> None:
    x, outputs = _honest(600)
    scored = OnlineProbe(300).scores(pairs(x, outputs, "logits"))[:, 300:].mean(1)
    plain = OnlineProbe(300).scores(pairs(x, outputs, "features"))[:, 300:].mean(1)
    assert bool((scored < 0.25).all())
    assert bool((plain > scored + 0.1).all())


@pytest.mark.parametrize("released", ["softmax", "attributes", "sigmoid", "features"])
def test_it_alarms_for_every_kind_of_release(released: str) -> None:
    x, outputs = _vicious(400)
    match released:
        case "softmax":
            sent = outputs.double().softmax(1).float()
        case "attributes":
            sent = outputs - 4
        case "sigmoid":
            sent = (outputs - 4).double().sigmoid().float()
        case _:
            sent = torch.cat([outputs, x.flatten(1)], 1)
    declared = GuardNull(linear=0.3, bent=0.3, released=released, learns=400)
    guard = Guard(declared)
    guard.update(x, sent)
    assert guard.alarmed


def test_a_state_stored_and_read_back_goes_on_bit_for_bit(tmp_path: Path) -> None:
    x, outputs = _vicious(120)
    for cut in (0, 3, 8, 50):
        guard = Guard(NULL, alpha=0.05)
        guard.update(x[:cut], outputs[:cut])
        guard.save(tmp_path / "guard.safetensors")
        again = Guard.restore(tmp_path / "guard.safetensors")
        assert (again.null, again.alpha, again.images) == (NULL, 0.05, cut)
        for one in (guard, again):
            one.update(x[cut:90], outputs[cut:90])
            one.update(x[90:], outputs[90:])
        assert again.log_e == guard.log_e
        assert again.alarm_at == guard.alarm_at
    assert (tmp_path / "guard.safetensors").stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").write_bytes(b"no guard")
    with pytest.raises(BadData, match="not a guard's state"):
        Guard.restore(tmp_path / "other")


def test_where_nothing_can_be_learnt_the_e_value_stays_one() -> None:
    x, outputs = _vicious(60)
    cases = {
        "constant images": (x[:1].expand_as(x), outputs),
        "constant outputs": (x, outputs[:1].expand_as(outputs)),
        "fewer images than classes": (x[:4], torch.randn(4, 20, generator=Rng(0).torch())),
        "no images": (x[:0], outputs[:0]),
    }
    for what, (images, sent) in cases.items():
        guard = Guard(NULL)
        assert guard.update(images, sent).value == 1.0, what
        assert not guard.alarmed


def test_one_output_is_decided_by_its_sign() -> None:
    x, _, inner = _world(500)
    guard = Guard(GuardNull(linear=0.2, bent=0.2))
    # one number hides little of six: the guard must take it without a word
    guard.update(x, 3 * inner[:, :1])
    assert math.isfinite(guard.log_e)
    assert guard.images == 500


def test_what_cannot_be_used_is_refused_and_leaves_it_as_it_was() -> None:
    x, outputs = _vicious(40)
    guard = Guard(NULL)
    guard.update(x[:20], outputs[:20])
    before = (guard.images, guard.log_e)
    broken = outputs[20:].clone()
    broken[3, 1] = math.nan
    with pytest.raises(BadData, match="outputs hold 1 values that are NaN"):
        guard.update(x[20:], broken)
    with pytest.raises(BadData, match="images or outputs changed"):
        guard.update(x[20:], outputs[20:, :3])
    with pytest.raises(BadData, match="one image and one vector"):
        guard.update(x[20:], outputs[20:30])
    with pytest.raises(BadData, match="probabilities lie in"):
        Guard(GuardNull(linear=0.2, bent=0.2, released="softmax")).update(x, outputs - 9)
    with pytest.raises(BadPlan, match="take the outputs as features"):
        Guard(NULL).update(x[:2], torch.zeros(2, 2000))
    assert (guard.images, guard.log_e) == before
    guard.update(x[20:], 1e30 * outputs[20:])
    assert math.isfinite(guard.log_e)


def test_tolerances_come_from_the_worst_honest_network() -> None:
    x, _ = _honest(800)
    honest = [_honest(800, seed)[1] for seed in range(3)]
    worse = honest[1] + 0.5 * _vicious(800)[1]
    null = guard_null(x, [honest[0], worse, honest[2]], Rng(0), orders=3, source="three")
    alone = ceiling(x, worse, Rng(0).child("network", 1), orders=3)
    assert (null.models, null.learns, null.beyond) == (3, 400, 0.25)
    assert [null.linear, null.bent] == pytest.approx(alone.upper.tolist(), abs=1e-12)
    assert bool((alone.upper > alone.mean).all())
    assert GuardNull.from_json(null.to_json()) == null
    assert any("at most 0.25" in said for said in null.assumptions)
    with pytest.raises(BadData, match="leave 60 to score"):
        guard_null(x[:120], [honest[0][:120]], Rng(0))
    with pytest.raises(BadPlan, match="one honest network"):
        guard_null(x, [], Rng(0))


def test_a_null_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(BadPlan, match="inside"):
        GuardNull(linear=0.0, bent=0.3)
    with pytest.raises(BadPlan, match="released"):
        GuardNull(linear=0.1, bent=0.3, released="pixels")
    with pytest.raises(BadPlan, match="fields"):
        GuardNull.from_json({"linear": 0.1})
    with pytest.raises(BadPlan, match="as numbers"):
        GuardNull.from_json({"linear": "0.1", "bent": 0.2})
    with pytest.raises(BadPlan, match="false alarm"):
        Guard(NULL, alpha=0.0)


def test_exchangeable_streams_of_a_network_at_the_tolerance_rarely_alarm() -> None:
    """The whole chain: tolerance from one honest network, alarms of the same on further images."""
    alpha, streams = 0.1, 20
    pool_x, pool_out = _honest(4000, 11)
    null = guard_null(pool_x[:1000], [pool_out[:1000]], Rng(1), learns=300, orders=3)
    alarms = 0
    for stream in range(streams):
        order = torch.randperm(3000, generator=Rng(stream).torch())[:300] + 1000
        guard = Guard(null, alpha=alpha)
        guard.update(pool_x[order], pool_out[order])
        alarms += guard.alarmed
    assert alarms <= binom.ppf(0.999, streams, alpha)
