"""Importance of layers: closed forms, a slow loop, and what rescaling does to it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from splitveil.errors import BadData, BadModel, BadPlan
from splitveil.measures.fisher import (
    Estimator,
    ImportanceAlong,
    layer_importance,
    surprise,
)
from splitveil.rng import Rng

CLASSES = 3


def images(n: int = 24) -> tuple[Tensor, Tensor]:
    generator = Rng(0).child("images").torch()
    x = torch.rand(n, 1, 6, 6, generator=generator)
    return x, torch.randint(0, CLASSES, (n,), generator=generator)


class Net(nn.Sequential):
    """Layers by number, as modules of any kind."""

    def __getitem__(self, place: int) -> Any:  # type: ignore[override]
        return list(self.children())[place]


def network() -> Net:
    with Rng(1).as_global():
        net = Net(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 5, 3),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(20, CLASSES),
        )
        with torch.no_grad():
            net[1].running_mean.uniform_(-0.2, 0.2)
    return net


def linear() -> Net:
    with Rng(1).as_global():
        return Net(nn.Flatten(), nn.Linear(36, CLASSES, bias=False)).double()


def test_softmax_regression_has_its_closed_form() -> None:
    x, y = images()
    net = linear()
    x = x.double()
    found = layer_importance(net, x, y)
    p = net(x).softmax(1).detach()
    slope = p - torch.eye(CLASSES)[y]
    fisher = (slope.square()[:, :, None] * x.flatten(1).square()[:, None]).mean(0)
    weight = net[1].weight.detach()
    assert found.layers == ("1",)
    torch.testing.assert_close(found.scores()[0], fisher.mean())
    torch.testing.assert_close(found.scores(reduce="sum")[0], fisher.sum())
    torch.testing.assert_close(found.scores("invariant")[0], (weight.square() * fisher).sum())


def test_drawn_labels_give_the_fisher_proper() -> None:
    x, y = images(8)
    net = linear()
    with torch.no_grad():
        net[1].weight *= 12
    x = x.double().repeat(2000, 1, 1, 1)
    estimator = Estimator(labels="drawn", batch=1000)
    found = layer_importance(net, x, y.repeat(2000), estimator=estimator, rng=Rng(5))
    p = net(x[:8]).softmax(1).detach()
    proper = ((p * (1 - p))[:, :, None] * x[:8].flatten(1).square()[:, None]).mean()
    torch.testing.assert_close(found.scores()[0], proper, rtol=0.05, atol=0)
    given = layer_importance(net, x[:8], y).scores()[0]
    assert abs(float(given / proper) - 1) > 0.1


@pytest.mark.parametrize("rows", ["image", "batch"])
def test_both_estimators_agree_with_a_slow_loop_and_frozen_layers_count(rows: str) -> None:
    x, y = images(10)
    net = network().train()
    net[3].requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = layer_importance(net, x, y, estimator=Estimator(rows=rows, batch=4))  # type: ignore[arg-type]
    assert net.training
    assert not net[3].weight.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    twin = network().eval()
    twin.load_state_dict(before)
    slow = []
    step = 1 if rows == "image" else 4
    for start in range(0, 10, step):
        twin.zero_grad()
        cross_entropy(twin(x[start : start + step]), y[start : start + step]).backward()
        slow.append([float(twin[k].weight.grad.double().square().sum()) for k in (0, 3, 7)])
    assert found.layers == ("0", "3", "7")
    torch.testing.assert_close(
        found.plain, torch.tensor(slow, dtype=torch.float64), rtol=1e-5, atol=1e-12
    )


def test_legacy_rows_of_one_image_are_the_images_own() -> None:
    x, y = images(6)
    by_image = layer_importance(network(), x, y)
    by_batch = layer_importance(network(), x, y, estimator=Estimator(rows="batch", batch=1))
    torch.testing.assert_close(by_batch.plain, by_image.plain)


def test_rescaling_moves_fisher_but_not_the_invariant_score() -> None:
    x, y = images()
    net, other = network().double(), network().double()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        other[3].weight *= 4
        other[3].bias *= 4
        other[7].weight /= 4
    x = x.double()
    torch.testing.assert_close(net.eval()(x), other.eval()(x))
    before, after = (layer_importance(one, x, y) for one in (net, other))
    torch.testing.assert_close(before.scores("invariant"), after.scores("invariant"))
    torch.testing.assert_close(
        after.scores() / before.scores(), torch.tensor([1, 1 / 16, 16], dtype=torch.float64)
    )
    moved = after.centroid(Rng(0)).value - before.centroid(Rng(0)).value
    assert moved > 0.1
    same = [one.centroid(Rng(0), score="invariant").value for one in (before, after)]
    assert same[0] == pytest.approx(same[1])


def test_shares_and_centroid_by_hand() -> None:
    x, y = images(10)
    found = layer_importance(network(), x, y, groups=y)
    assert len(found.plain) == len(y.unique())
    shares = found.shares()
    assert float(shares.sum()) == pytest.approx(1)
    centre = found.centroid(Rng(0))
    assert centre.value == pytest.approx(float((shares * torch.tensor([0, 0.5, 1.0])).sum()))
    assert centre.low <= centre.value <= centre.high
    own = layer_importance(network(), x[y == 0], y[y == 0]).plain.mean(0)
    torch.testing.assert_close(found.plain[0], own)


def test_any_loss_will_do_and_an_attack_is_followed() -> None:
    x, y = images(12)

    def logit(output: Tensor, labels: Tensor) -> Tensor:
        return -output.gather(1, labels[:, None])[:, 0]

    along = ImportanceAlong(network=network(), loss=logit, steps=(0, 2))
    for step in range(4):
        along(step, x[:6] * (1 + step), y[:6])
        along(step, x[6:] * (1 + step), y[6:])
    found = along.found()
    assert [*found] == [0, 2]
    whole = layer_importance(network(), x * 3, y, loss=logit, groups=y)
    torch.testing.assert_close(found[2].plain, whole.plain)
    assert not torch.allclose(found[2].shares(), layer_importance(network(), x, y).shares())


def test_bad_input_is_refused() -> None:
    x, y = images(4)
    with pytest.raises(BadData, match="one label and group"):
        layer_importance(network(), x[:0], y[:0])
    with pytest.raises(BadModel, match="name the layers"):
        layer_importance(nn.Sequential(nn.Flatten(), nn.ReLU()), x, y)
    with pytest.raises(BadPlan, match="rows by image"):
        layer_importance(network(), x, y, groups=y, estimator=Estimator(rows="batch"))
    with pytest.raises(BadPlan, match="one image or more"):
        Estimator(batch=0)
    still = nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES))
    flat = layer_importance(still, torch.zeros(2, 1, 6, 6), y[:2], loss=surprise)
    with pytest.raises(BadData, match="no weight"):
        flat.shares()
    with pytest.raises(BadData, match="two layers"):
        layer_importance(still, x, y).centroid(Rng(0))
