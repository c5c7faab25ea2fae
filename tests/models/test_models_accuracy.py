import pytest
import torch
from torch import Tensor, nn

from splitveil.data import load_data
from splitveil.errors import BadModel
from splitveil.models import best_class_order, check_accuracy, load_model, predict
from splitveil.rng import Rng


class Fixed(nn.Module):
    """Gives the stored logits whose positions are the pixels."""

    def __init__(self, logits: Tensor) -> None:
        nn.Module.__init__(self)
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[x[:, 0, 0, 0].long()]


class Listing(nn.Module):
    """Gives a list instead of a tensor."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def positions(count: int) -> Tensor:
    return torch.arange(count).float().reshape(-1, 1, 1, 1)


def demo() -> tuple[Tensor, Tensor]:
    data = load_data("demo").validation
    assert data.y is not None
    return data.x, data.y


def test_accuracy_is_the_share_of_hits_with_wilson_interval() -> None:
    labels = torch.arange(100) % 4
    logits = nn.functional.one_hot(labels, 4).float()
    logits[:20] = logits[:20].roll(1, 1)
    accuracy = check_accuracy(Fixed(logits), positions(100), labels)
    p, n, z = 0.8, 100, 1.959964
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert accuracy.value == pytest.approx(0.8)
    assert accuracy.low == pytest.approx(centre - half, abs=1e-6)
    assert accuracy.high == pytest.approx(centre + half, abs=1e-6)


def test_an_untrained_network_stops_with_the_question() -> None:
    x, y = demo()
    with Rng(3).as_global():
        network = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
    with pytest.raises(BadModel, match=r"near chance \(0.1\): normalisation or class order\? Chec"):
        check_accuracy(network, x, y)


def test_wrong_class_order_is_named_and_the_advice_is_right() -> None:
    x, y = demo()
    names = load_data("demo").class_names
    moved = torch.tensor([5, 3, 1, 2, 0, 4, 7, 6, 9, 8])[y]
    with pytest.raises(BadModel, match=r"would be 0.9\d with class order classes=") as caught:
        check_accuracy(load_model("vgg").network, x, moved, class_names=names)
    advised = str(caught.value).partition("classes=")[2].split(",")
    mended = load_model("vgg", classes=advised, data_classes=names)
    assert check_accuracy(mended.network, x, moved, class_names=names).value > 0.9


def test_wrong_normalisation_alone_gets_no_advice_on_order() -> None:
    x, y = demo()
    with pytest.raises(BadModel, match="Check mean and std and the weights"):
        check_accuracy(load_model("vgg", mean=(50.0,)).network, x, y)


def test_two_classes_at_three_quarters_are_not_near_chance() -> None:
    labels = torch.arange(400) % 2
    logits = nn.functional.one_hot(labels, 2).float()
    logits[:100] = logits[:100].flip(1)
    x = positions(400)
    assert check_accuracy(Fixed(logits), x, labels).value == 0.75
    with pytest.raises(BadModel, match="near chance"):
        check_accuracy(Fixed(logits.flip(1)), x, labels)


def test_best_order_equals_the_best_of_all_permutations() -> None:
    from itertools import permutations

    generator = Rng(1).torch()
    labels = torch.randint(0, 4, (200,), generator=generator)
    logits = torch.rand(200, 4, generator=generator)
    predicted = logits.argmax(1)
    shares = {
        order: float(torch.tensor(order)[labels].eq(predicted).double().mean())
        for order in permutations(range(4))
    }
    best = best_class_order(logits, labels)
    assert best.accuracy == pytest.approx(max(shares.values()))
    assert shares[best.outputs] == pytest.approx(max(shares.values()))


def test_prediction_restores_the_mode_also_on_error() -> None:
    network = load_model("vgg").network.train()
    predict(network, torch.rand(3, 1, 32, 32))
    assert network.training
    with pytest.raises(BadModel, match=r"fails on images of shape \(3, 8, 8\)"):
        predict(network, torch.rand(2, 3, 8, 8))
    assert network.training


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.zeros(4, 2), r"data have label 3 but the model gives 2 outputs"),
        (torch.zeros(4, 2, 2), r"shape \(4, 2, 2\) for 4 images"),
        (torch.full((4, 4), float("nan")), "NaN or infinite logits for 4 of 4 images"),
    ],
)
def test_outputs_that_are_no_logits(logits: Tensor, message: str) -> None:
    with pytest.raises(BadModel, match=message):
        check_accuracy(Fixed(logits), positions(4), torch.arange(4))


def test_a_list_is_no_logits() -> None:
    with pytest.raises(BadModel, match="gives a list, not logits"):
        predict(Listing(), positions(4))
