"""Judges, accuracies, distances and robust accuracy against closed forms and second ways."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from inverting import SHAPE, door, linear, prior, two_layers
from torch import Tensor, nn

from splitveil.class_inversion import Access, Inversion
from splitveil.class_inversion.evaluation import (
    Baseline,
    Curve,
    Judge,
    Judges,
    Point,
    Score,
    agreed,
    best_public,
    judge,
    kernel_distance,
    mean_over_classes,
    nearest_in_class,
    net_accuracy,
    random_draws,
    robust_accuracy,
    score,
    seconds_to,
    to_class_mean,
    train_judges,
)
from splitveil.data import LabelledImages
from splitveil.errors import BadData, BadPlan
from splitveil.measures import share_of
from splitveil.quantities import Kind
from splitveil.rng import Rng
from splitveil.training import Schedule

RNG = Rng(4)
CLASSES = 6


class Sees(nn.Module):
    """Takes an image for the class that its first pixel says, in tenths."""

    def __init__(self, classes: int = CLASSES, shift: int = 0) -> None:
        nn.Module.__init__(self)
        self.out = nn.Linear(2 * classes, classes, bias=False)
        self.classes, self.shift = classes, shift
        with torch.no_grad():
            self.out.weight.zero_()
            self.out.weight[:, :classes] = torch.eye(classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1, 4, 4) to (n, classes)."""
        named = (x[:, 0, 0, 0] * 10).round().long()
        wide = nn.functional.one_hot((named + self.shift) % self.classes, 2 * self.classes).float()
        wide[:, self.classes :] = x.flatten(1)[:, 1 : self.classes + 1]
        out: Tensor = self.out(wide)
        return out


def of(labels: Tensor, seed: int = 0) -> Tensor:
    x = torch.rand(len(labels), *SHAPE, generator=Rng(seed).torch())
    x[:, 0, 0, 0] = labels / 10
    return x


def sure(name: str = "first", *, shift: int = 0, classes: int = CLASSES) -> Judge:
    right = share_of(torch.ones(50, dtype=torch.bool))
    return Judge(name=name, network=Sees(classes, shift), accuracy=right)


PRIVATE = LabelledImages(of(torch.arange(CLASSES).repeat(4)), torch.arange(CLASSES).repeat(4))


def guesses(shown: Tensor, classes: int = CLASSES) -> Baseline:
    """Images (classes, m) that show `shown` in place of the class."""
    labels = torch.arange(classes)
    return Baseline(
        name="made", classes=labels, images=of(shown.flatten(), 1).unflatten(0, tuple(shown.shape))
    )


def scored(shown: Tensor, judges: list[Judge] | None = None, **given: object) -> Score:
    return score(guesses(shown), judges or [sure()], PRIVATE, rng=RNG, **given)  # type: ignore[arg-type]


def test_accuracy_is_the_mean_over_classes_of_what_the_judge_sees() -> None:
    shown = torch.arange(CLASSES)[:, None].repeat(1, 4)
    shown[0], shown[1, :2] = 5, 0  # none of class 0, half of class 1
    found = scored(shown)
    one = found.quantities["accuracy@1 by first"]
    assert found.by_class["accuracy@1 by first"].tolist() == [0, 0.5, 1, 1, 1, 1]
    assert one.value == pytest.approx(4.5 / 6)
    assert (one.kind, one.n) == (Kind.MEASURED, 6)
    assert "4 images a class" in one.assumptions
    assert one.low < one.value < one.high


def test_images_that_please_one_judge_alone_do_not_count_for_all() -> None:
    shown = torch.arange(CLASSES)[:, None].repeat(1, 2)
    other = sure("other", shift=1)
    found = scored(shown, [sure(), other])
    assert found.quantities["accuracy@1 by first"].value == 1
    assert found.quantities["accuracy@1 by other"].value == 0
    assert found.quantities["accuracy@1 by all"].value == 0


def test_what_judges_agree_on_alone_is_that_of_the_whole_score() -> None:
    shown = torch.arange(CLASSES)[:, None].repeat(1, 4)
    shown[0], shown[1, :2] = 5, 0
    judges = [sure(), sure("again")]
    assert torch.equal(
        agreed(guesses(shown), judges), scored(shown, judges).by_class["accuracy@1 by all"]
    )
    lost = Inversion(
        classes=torch.arange(CLASSES),
        images=guesses(shown).images,
        latents=torch.zeros(CLASSES, 4, 1),
        found=torch.arange(CLASSES) != 2,
        steps=torch.ones(CLASSES),
        queries=0,
        seconds=0.0,
        processor_seconds=0.0,
    )
    assert agreed(lost, judges).tolist() == [0, 0.5, 0, 1, 1, 1]
    with pytest.raises(BadPlan, match="judges"):
        agreed(lost, [])


def test_where_every_class_is_right_the_interval_is_that_of_so_many_classes() -> None:
    found = scored(torch.arange(CLASSES)[:, None]).quantities["accuracy@1 by first"]
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(0.025 ** (1 / 6), rel=1e-6)


def test_a_class_without_a_start_counts_as_a_failure_whatever_its_images_show() -> None:
    made = guesses(torch.arange(CLASSES)[:, None])
    begun = torch.tensor([True] * 5 + [False])
    found = Inversion(
        classes=made.classes,
        images=made.images,
        latents=torch.zeros(6, 1, 1),
        found=begun,
        steps=torch.zeros(6),
        queries=0,
        seconds=1.0,
        processor_seconds=1.0,
    )
    assert score(found, [sure()], PRIVATE, rng=RNG).by_class["accuracy@1 by all"].tolist() == [
        1,
        1,
        1,
        1,
        1,
        0,
    ]


def test_accuracy_at_five_is_refused_below_five_classes_and_said_to_be_trivial_at_five() -> None:
    def at(classes: int, top5: bool | None) -> Score:
        labels = torch.arange(classes)
        seen = LabelledImages(of(labels.repeat(3)), labels.repeat(3))
        made = guesses(labels[:, None], classes)
        return score(made, [sure(classes=classes)], seen, rng=RNG, top5=top5)

    with pytest.raises(BadPlan, match=r"accuracy@5 of 4 classes makes no sense"):
        at(4, top5=True)
    assert "accuracy@5 by first" not in at(4, top5=None).quantities
    trivial = at(5, top5=True).quantities["accuracy@5 by first"]
    assert any("trivial" in words for words in trivial.assumptions)
    assert "accuracy@5 by first" in at(6, top5=None).quantities
    assert "accuracy@5 by first" not in at(6, top5=False).quantities


def test_equal_logits_are_no_hit() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.out = nn.Linear(16, CLASSES)
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out(x.flatten(1))
            return out

    flat = Judge(name="flat", network=Flat(), accuracy=sure().accuracy)
    found = scored(torch.arange(CLASSES)[:, None], [flat])
    assert found.quantities["accuracy@1 by flat"].value == 0
    assert found.quantities["accuracy@5 by flat"].value == 0


def test_distances_by_brute_force() -> None:
    features = torch.randn(6, 5, generator=RNG.torch())
    labels = torch.tensor([0, 1, 1, 2, 0, 2])
    private = torch.randn(20, 5, generator=RNG.child(1).torch())
    theirs = torch.arange(20) % 3
    nearest = nearest_in_class(features, labels, private, theirs)
    mean = to_class_mean(features, labels, private, theirs)
    for row, label in enumerate(labels):
        own = private[theirs == label].double()
        apart = (own - features[row].double()).square().sum(1)
        assert float(nearest[row]) == pytest.approx(float(apart.min()))
        centre = (own.mean(0) - features[row].double()).square().sum()
        assert float(mean[row]) == pytest.approx(float(centre))
    with pytest.raises(BadData, match="class 2 has no private image"):
        nearest_in_class(features, labels, private[theirs != 2], theirs[theirs != 2])


def test_a_private_image_itself_is_at_distance_zero() -> None:
    found = score(
        Baseline(name="copied", classes=torch.arange(CLASSES), images=PRIVATE.x[:6, None]),
        [sure()],
        PRIVATE,
        rng=RNG,
    )
    assert found.quantities["nearest distance by first"].value == 0
    assert found.quantities["accuracy@1 by first"].value == 1


def test_the_kernel_distance_is_the_u_statistic_and_its_error_the_jackknife() -> None:
    x = torch.randn(12, 4, generator=RNG.torch(), dtype=torch.float64)
    y = torch.randn(20, 4, generator=RNG.child(1).torch(), dtype=torch.float64) + 0.5
    labels, theirs = torch.arange(12) % 4, torch.arange(20) % 4

    def plain(a: Tensor, b: Tensor) -> float:
        def kernel(p: Tensor, q: Tensor) -> Tensor:
            return (p @ q.T / 4 + 1) ** 3

        m, n = len(a), len(b)
        own = (kernel(a, a).sum() - kernel(a, a).diagonal().sum()) / (m * (m - 1))
        other = (kernel(b, b).sum() - kernel(b, b).diagonal().sum()) / (n * (n - 1))
        return float(own + other - 2 * kernel(a, b).mean())

    found = kernel_distance(x, labels, y, theirs)
    assert found.value == pytest.approx(plain(x, y), rel=1e-9)
    without = np.array([plain(x[labels != c], y[theirs != c]) for c in range(4)])
    error = np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    assert found.high - found.value == pytest.approx(3.182446 * error, rel=1e-5)
    assert found.n == 12
    assert "12 reconstructions, 20 private images" in found.assumptions
    with pytest.raises(BadData, match="3 classes"):
        kernel_distance(x[:2], labels[:2], y, theirs)


def test_a_bootstrap_over_classes_covers_as_it_says() -> None:
    generator = RNG.numpy()
    missed = 0
    for trial in range(100):
        values = torch.from_numpy(generator.beta(2, 2, 40))
        one = mean_over_classes(values, RNG.child(trial), unit="share", images=5)
        missed += not one.low <= 0.5 <= one.high
    assert missed <= 12  # binomial (100, .05): more has a chance of .002


def test_net_accuracy_by_hand_and_its_pairing() -> None:
    attack = torch.tensor([1.0, 1.0, 0.5, 0.8, 0.9, 0.2])
    public = torch.tensor([0.2, 0.0, 0.1, 0.3, 0.2, 0.0])
    found = net_accuracy(attack, public, RNG)
    a, p = float(attack.mean()), float(public.mean())
    assert found.value == pytest.approx((a - p) / (1 - p))
    assert found.low < found.value < found.high <= 1
    nothing = net_accuracy(public, public, RNG)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    always = net_accuracy(torch.ones(6), public, RNG)
    assert always.value == always.high == 1
    assert 0 < always.low < 0.025 ** (1 / 6)  # no more certain than six successes and the baseline
    never = net_accuracy(torch.zeros(6), torch.zeros(6), RNG)
    assert never.low < never.value == 0 < never.high
    with pytest.raises(BadData, match="always right"):
        net_accuracy(attack, torch.ones(6), RNG)
    with pytest.raises(BadData, match="same classes"):
        net_accuracy(attack, public[:4], RNG)


def test_the_oracle_s_distance_is_reported_where_there_is_one() -> None:
    def oracle(images: Tensor, labels: Tensor) -> Tensor:
        return (images[:, 0, 0, 0] * 10 - labels).abs()

    shown = torch.arange(CLASSES)[:, None].repeat(1, 2)
    assert scored(shown, oracle=oracle).quantities["identity distance"].value < 1e-5
    assert scored(shown.flip(0), oracle=oracle).quantities["identity distance"].value == (
        pytest.approx(3.0, rel=1e-4)
    )


def test_the_best_public_images_are_each_class_s_surest() -> None:
    public = torch.rand(30, *SHAPE, generator=RNG.torch())
    target = door("score")
    found = best_public(target, public, range(CLASSES), rng=RNG, count=3)
    scores = door("score").scores(public)
    for label in range(CLASSES):
        assert torch.equal(found.images[label], public[scores[:, label].topk(3).indices])
    assert target.used == 30
    named = best_public(door("label"), public, range(CLASSES), rng=RNG, count=1)
    told = door("label").labels(public)
    for label in range(CLASSES):
        if (told == label).any():
            assert int(door("label").labels(named.images[label])) == label
    with pytest.raises(BadData, match="there are 30"):
        best_public(target, public, [0], rng=RNG, count=31)


def test_random_draws_are_the_prior_s() -> None:
    found = random_draws(prior(), [1, 4], rng=RNG, count=3)
    assert found.images.shape == (2, 3, *SHAPE)
    assert len(found.images.flatten(0, 1).unique(dim=0)) == 6


def test_robust_accuracy_of_a_linear_model_in_closed_form() -> None:
    model = linear(2)
    x = 0.3 + 0.4 * torch.rand(200, *SHAPE, generator=RNG.torch())
    w = (model.get_submodule("1").weight[0] - model.get_submodule("1").weight[1]).detach()  # type: ignore[index]
    with torch.no_grad():
        logits = model(x)
    y = logits.argmax(1)
    y[:20] = 1 - y[:20]  # wrong to begin with
    margin = (logits[:, 0] - logits[:, 1]).abs()
    found = robust_accuracy(model, x, y, rng=RNG, radii=(0.2, 0.02, 0.05), steps=20)
    assert list(found) == [0.0, 0.02, 0.05, 0.2]
    assert found[0.0].value == pytest.approx(0.9)
    for radius in (0.02, 0.05, 0.2):
        stands = margin[20:] > radius * w.abs().sum()
        assert found[radius].value == pytest.approx(float(stands.sum()) / 200)
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(BadPlan, match="radii lie"):
        robust_accuracy(model, x, y, rng=RNG, radii=(1.5,))


def test_judges_are_trained_kept_and_measured_on_images_held_out(tmp_path: Path) -> None:
    truth = Access(two_layers(), "label")
    x = torch.rand(600, *SHAPE, generator=RNG.torch())
    images = LabelledImages(x, truth.labels(x))
    train, held_out = images.take(torch.arange(400)), images.take(torch.arange(400, 600))
    recipe = Judges(
        families=(f"{__name__}:small",), schedule=Schedule(epochs=8, batch=50, learning_rate=0.05)
    )

    def trained() -> Judge:
        (one,) = train_judges(recipe, train, held_out, classes=CLASSES, rng=RNG, folder=tmp_path)
        return one

    one, again = trained(), trained()
    assert one.name == "small"
    assert one.accuracy.value > 0.3
    assert one.accuracy.n == 200
    assert torch.equal(one(x[:5])[0], again(x[:5])[0])
    logits, features = one(x)
    assert torch.allclose(logits, one.network.get_submodule("3")(features), atol=1e-5)
    assert judge("again", one.network, held_out).accuracy == one.accuracy
    with pytest.raises(BadPlan, match="each once"):
        Judges(families=("ir", "ir"))
    with pytest.raises(BadData, match="labels"):
        train_judges(recipe, LabelledImages(x), held_out, classes=6, rng=RNG)


def small(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16 * channels, 20), nn.ReLU(), nn.Linear(20, classes)
    )


def test_a_curve_joins_chunks_and_leaves_the_judges_time_out() -> None:
    class Slow(nn.Module):
        """Takes its time, which is no time of the search."""

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.sees = Sees()

        def forward(self, x: Tensor) -> Tensor:
            """Map (n, 1, 4, 4) to (n, classes)."""
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
            out: Tensor = self.sees(x)
            return out

    curve = Curve([sure(), Judge(name="slow", network=Slow(), accuracy=sure().accuracy)], every=2)
    wrong, right = torch.tensor([5, 5]), torch.tensor([0, 1])
    for step in range(5):
        curve(step, of(right if step >= 2 else wrong), right)
    for step in range(3):
        curve(step, of(torch.tensor([2])), torch.tensor([2]))
    points = curve.points()
    assert curve.classes == 3
    assert [point.step for point in points] == [0, 2, 4]
    assert [point.accuracy for point in points] == [pytest.approx(1 / 3), 1, 1]
    assert points[0].seconds == 0 <= points[1].seconds <= points[2].seconds < 0.02
    told = (Point(0, 0.0, 0.1), Point(50, 2.0, 0.6), Point(100, 4.0, 0.5))
    assert seconds_to(told, 0.5) == 2.0
    assert seconds_to(told, 0.7) is None
    with pytest.raises(BadPlan, match="needs judges"):
        Curve([])


def test_nothing_is_chosen_on_the_images_held_out() -> None:
    recipe = Judges(families=(f"{__name__}:small",), schedule=Schedule(epochs=1, batch=50))
    x = torch.rand(60, *SHAPE, generator=RNG.torch())
    train = LabelledImages(x, torch.arange(60) % CLASSES)
    held_out = (train, LabelledImages(1 - x, torch.zeros(60, dtype=torch.int64)))
    one, two = (
        train_judges(recipe, train, other, classes=CLASSES, rng=RNG)[0] for other in held_out
    )
    assert torch.equal(one(x)[0], two(x)[0])
    assert one.accuracy != two.accuracy


def test_no_judges_and_no_labels_are_refused() -> None:
    with pytest.raises(BadPlan, match="train one or more"):
        score(guesses(torch.arange(CLASSES)[:, None]), [], PRIVATE, rng=RNG)
    with pytest.raises(BadData, match="need labels"):
        score(guesses(torch.arange(CLASSES)[:, None]), [sure()], LabelledImages(PRIVATE.x), rng=RNG)


@pytest.mark.parametrize("attacked", [3, CLASSES])
def test_what_judges_see_of_private_images_may_be_found_once(attacked: int) -> None:
    judges = [sure(), sure("second", shift=1)]
    asked: list[int] = []
    for one in judges:
        one.network.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    made = guesses(torch.arange(attacked)[:, None].repeat(1, 2), attacked)
    without = score(made, judges, PRIVATE, rng=RNG)
    seen = [judge(PRIVATE.x)[1] for judge in judges]
    asked.clear()
    found = score(made, judges, PRIVATE, rng=RNG, seen=seen)
    assert {name: one.to_json() for name, one in found.quantities.items()} == {
        name: one.to_json() for name, one in without.quantities.items()
    }
    # one image tells a judge's last layer, then come those of the attack alone
    assert sum(asked) == len(judges) * (1 + 2 * attacked)


@pytest.mark.parametrize("judges", [1, 2])
def test_features_of_other_judges_or_images_are_refused(judges: int) -> None:
    made, known = guesses(torch.arange(CLASSES)[:, None]), [sure(), sure("second")][:judges]
    seen = [judge(PRIVATE.x)[1] for judge in known]
    for wrong in ([*seen, seen[0]], [one[:-1] for one in seen]):
        with pytest.raises(BadPlan, match="private images"):
            score(made, known, PRIVATE, rng=RNG, seen=wrong)
