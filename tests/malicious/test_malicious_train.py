"""Pairs trained together: what theory says they reach, what they promise, what they refuse."""

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor, nn

from splitveil.data import LabelledImages
from splitveil.errors import AuditError, BadData, BadInput, BadModel, BadPlan, UnknownName
from splitveil.estimators import Whitening
from splitveil.malicious import (
    Malicious,
    MultiAttribute,
    MultiClass,
    Resemblance,
    SecretDecoder,
    autoencoder,
    fit_afterwards,
    linear_code,
    train_honest,
    train_malicious,
)
from splitveil.measures import mse_per_image, risk
from splitveil.nets.small_pair import SmallDecoder, small_classifier
from splitveil.partition import trace
from splitveil.release import Sigmoid, Softmax
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box
from splitveil.training import Schedule

SIDE = 8
QUICK = Schedule(epochs=6, batch=32, learning_rate=4e-3, weight_decay=0.0)
ERROR_ONLY = Resemblance(huber=5.0, similarity=0.0)
CLASSES = MultiClass(3)


def bars(n: int, seed: int) -> LabelledImages:
    """Bars of three directions at any place, of any brightness: much besides the class."""
    generator = Rng(seed).torch()
    y = torch.randint(0, 3, (n,), generator=generator)
    place = torch.randint(0, SIDE, (n, 1, 1), generator=generator)
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    along = torch.stack(
        [
            row.expand(n, -1, -1),
            column.expand(n, -1, -1),
            (row + column) % SIDE + 0 * y[:, None, None],
        ]
    )
    chosen = along[y, torch.arange(n)]
    shade = 0.4 + 0.6 * torch.rand(n, 1, 1, generator=generator)
    return LabelledImages(((chosen - place).abs() <= 1)[:, None] * shade[:, None], y)


def networks(outputs: int = 3, width: int = 8) -> tuple[nn.Module, nn.Module]:
    with Rng(5).as_global():
        return small_classifier(1, outputs, width=width), SmallDecoder(
            outputs, (1, SIDE, SIDE), width=width
        )


def trained(make: Callable[..., Malicious], **settings: object) -> Malicious:
    classifier, decoder = networks()
    return make(
        classifier,
        decoder,
        bars(600, 1),
        **{
            "task": CLASSES,
            "validation": bars(100, 2),
            "rng": Rng(0),
            "schedule": QUICK,
            "augmentation": None,
            **settings,
        },
    )


@cache
def vicious() -> Malicious:
    return trained(train_malicious)


@cache
def control() -> Malicious:
    return trained(train_malicious, weight=0.0)


def error(pair: Malicious, x: Tensor) -> float:
    return float(mse_per_image(pair.rebuild(pair.codes(x)), x).mean())


# what theory says


def normal(n: int, seed: int) -> LabelledImages:
    """Normal images with two wide directions of sixteen; the label is the sign of a narrow one."""
    generator = Rng(seed).torch()
    basis = torch.linalg.qr(torch.randn(16, 16, generator=Rng(9).torch()))[0]
    scale = torch.full((16,), 0.02)
    scale[:2] = torch.tensor([0.12, 0.10])
    z = torch.randn(n, 16, generator=generator)
    x = 0.5 + (z * scale) @ basis.T
    return LabelledImages(x.clamp(0, 1).reshape(n, 1, 4, 4), (z[:, 2] > 0).long())


class Lines(nn.Module):
    """A linear map of normalised images to two outputs, or `back`."""

    def __init__(self, *, back: bool) -> None:
        nn.Module.__init__(self)
        self.back = back
        self.linear = nn.Linear(2, 16) if back else nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.back:
            out: Tensor = 0.5 + 0.1 * self.linear(x).unflatten(1, (1, 4, 4))
            return out
        out = self.linear((x.flatten(1) - 0.5) * 10)
        return out


def test_where_all_is_linear_and_normal_the_best_code_is_the_principal_one() -> None:
    images, test = normal(2000, 1), normal(1000, 2)
    with Rng(0).as_global():
        ends = Lines(back=False), Lines(back=True)
    schedule = Schedule(epochs=15, batch=50, learning_rate=5e-2, weight_decay=0.0)
    setting = {"task": MultiClass(2), "validation": normal(500, 3), "rng": Rng(0)}
    setting |= {"resemblance": ERROR_ONLY, "schedule": schedule, "augmentation": None}
    code = autoencoder(*ends, images, **setting)  # type: ignore[arg-type]
    floor = error(linear_code(images.x, 2), test.x)
    assert code.accuracy is None
    assert error(code, test.x) == pytest.approx(floor, rel=0.005)
    # outputs that must also tell a narrow direction's sign cannot keep both wide ones
    pairs = [
        train_malicious(*ends, images, weight=weight, **setting)  # type: ignore[arg-type]
        for weight in (300, 30, 0)
    ]
    errors = [error(code, test.x), *(error(pair, test.x) for pair in pairs)]
    assert errors == sorted(errors)
    right = [pair.accuracy.value for pair in pairs if pair.accuracy is not None]
    assert right[0] < 0.7 < 0.9 < right[1] <= right[2] + 0.02


@pytest.mark.parametrize("n", [40, 400])
def test_the_linear_code_leaves_the_variances_of_the_other_directions(n: int) -> None:
    x = bars(n, 3).x
    pair = linear_code(x, 5)
    widths = torch.linalg.eigvalsh(torch.cov(x.flatten(1).double().T, correction=0))
    assert error(pair, x) == pytest.approx(float(widths[:-5].sum()) / x[0].numel(), rel=1e-5)
    assert pair.code == 5
    assert error(linear_code(x, 39), x) <= error(pair, x)


def test_a_malicious_network_answers_well_and_gives_the_image_away() -> None:
    test = bars(400, 4)
    assert vicious().accuracy is not None
    assert vicious().accuracy.value >= 0.97  # type: ignore[union-attr]
    assert control().accuracy.value >= 0.97  # type: ignore[union-attr]
    assert 1.3 * error(vicious(), test.x) < error(control(), test.x)


def test_any_attack_is_scored_by_its_risk() -> None:
    test = bars(200, 4)
    whitening = Whitening.fit(bars(600, 1).x)
    found = [
        risk(pair.rebuild(pair.codes(test.x)), test.x, whitening, Rng(0), code=pair.code)
        for pair in (vicious(), control())
    ]
    assert found[0].log_ratio.low > found[1].log_ratio.high
    assert found[0].code is not None
    assert found[1].code is not None
    assert found[0].code.used.value > found[1].code.used.value


# promises


def test_weight_zero_is_the_control_with_a_decoder_fitted_afterwards() -> None:
    classifier, decoder = networks()
    setting = {"task": CLASSES, "validation": bars(100, 2), "schedule": QUICK, "augmentation": None}
    honest = train_honest(classifier, bars(600, 1), rng=Rng(0).child("honest"), **setting)  # type: ignore[arg-type]
    after = fit_afterwards(
        honest.model,
        decoder,
        bars(600, 1),
        rng=Rng(0).child("decoder"),
        **setting,  # type: ignore[arg-type]
    )
    x = bars(20, 4).x
    assert torch.equal(after.codes(x), control().codes(x))
    assert torch.equal(after.rebuild(after.codes(x)), control().rebuild(control().codes(x)))
    for before, now in zip(
        honest.model.state_dict().values(), after.model.state_dict().values(), strict=True
    ):
        assert torch.equal(before, now)


def test_the_same_seed_gives_the_same_bits_and_leaves_what_was_given() -> None:
    schedule = Schedule(epochs=2, batch=32)
    classifier, decoder = networks()
    before = [v.clone() for m in (classifier, decoder) for v in m.state_dict().values()]
    train = partial(
        train_malicious,
        classifier,
        decoder,
        bars(100, 1),
        task=CLASSES,
        validation=bars(30, 2),
        schedule=schedule,
    )
    torch.manual_seed(1)  # noqa: TID251 - to show that it plays no part
    first = train(rng=Rng(0))
    torch.manual_seed(2)  # noqa: TID251
    second, other = train(rng=Rng(0)), train(rng=Rng(1))
    x = bars(20, 4).x
    assert torch.equal(first.rebuild(first.codes(x)), second.rebuild(second.codes(x)))
    assert not torch.equal(first.codes(x), other.codes(x))
    after = [v for m in (classifier, decoder) for v in m.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_epoch_kept_is_the_best_on_validation() -> None:
    best = min(vicious().history, key=lambda one: one.score)
    held = bars(100, 2)
    assert best.mse == pytest.approx(error(vicious(), held.x), rel=1e-4)
    assert best.accuracy == vicious().accuracy.value  # type: ignore[union-attr]
    assert [one.number for one in vicious().history] == list(range(1, 7))
    assert 3 * (2.5 * best.mse + 1 - best.similarity) + 1 - best.accuracy == pytest.approx(  # type: ignore[operator]
        best.score, rel=1e-4
    )


@pytest.mark.parametrize("release", ["softmax", "relu2", "pool"])
def test_other_releases_are_learnt_and_read(release: str) -> None:
    pair = _brief(release)
    x = bars(10, 4).x
    traced = trace(pair.model, x[:2])
    cut = traced.output if release == "softmax" else traced.cut(release)
    assert cut is not None
    partition = traced.split(cut, Softmax() if release == "softmax" else None)
    assert pair.code == cut.layout.size
    torch.testing.assert_close(partition.transmit(x, Rng(0)), pair.codes(x), rtol=1e-4, atol=1e-5)
    knowledge = white_box(partition, Auxiliary(bars(40, 5).x))
    fitted = SecretDecoder(pair).fit(knowledge, Rng(0))
    seen = Observation(partition.transmit(x, Rng(0))[:, None].detach(), cut.layout)
    made = fitted(seen, Rng(0))
    assert made.shape == x.shape
    assert not made.requires_grad
    torch.testing.assert_close(made, pair.rebuild(pair.codes(x)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        pair.reconstructor(pair.observe(x), Rng(0)), pair.rebuild(pair.codes(x))
    )


def _brief(release: str) -> Malicious:
    sizes = {"softmax": 3, "relu2": 64, "pool": 256}
    classifier, _ = networks()
    with Rng(5).as_global():
        decoder = SmallDecoder(sizes[release], (1, SIDE, SIDE), width=8)
    return train_malicious(
        classifier,
        decoder,
        bars(64, 1),
        task=CLASSES,
        validation=bars(30, 2),
        rng=Rng(0),
        release=release,
        schedule=Schedule(epochs=1, batch=32),
    )


def test_attributes_are_learnt_and_their_probabilities_released() -> None:
    def labelled(n: int, seed: int) -> LabelledImages:
        images = bars(n, seed)
        assert images.y is not None
        bright = images.x.amax((1, 2, 3)) > 0.7
        return LabelledImages(images.x, torch.stack([images.y == 0, bright], 1).long())

    classifier, decoder = networks(2)
    pair = train_malicious(
        classifier,
        decoder,
        labelled(400, 1),
        task=MultiAttribute(("level", "bright")),
        validation=labelled(100, 2),
        rng=Rng(0),
        release="sigmoid",
        weight=0.3,
        schedule=QUICK,
        augmentation=None,
    )
    assert pair.accuracy is not None
    assert pair.accuracy.value > 0.9
    codes = pair.codes(bars(10, 3).x)
    assert codes.shape == (10, 2)
    torch.testing.assert_close(codes, pair.outputs(bars(10, 3).x).sigmoid())
    # the same release in an audit: its log odds are the scores again
    traced = trace(pair.model, bars(2, 3).x)
    assert traced.output is not None
    sent = traced.split(traced.output, Sigmoid()).transmit(bars(10, 3).x, Rng(0))
    torch.testing.assert_close(sent, codes)
    torch.testing.assert_close(sent.logit(), pair.outputs(bars(10, 3).x), rtol=1e-3, atol=1e-3)


def test_one_attribute_is_a_code_of_one_number() -> None:
    images = bars(60, 1)
    assert images.y is not None
    one = LabelledImages(images.x, (images.y == 0).long()[:, None])
    classifier, decoder = networks(1)
    pair = train_malicious(
        classifier,
        decoder,
        one,
        task=MultiAttribute(("level",)),
        validation=one,
        rng=Rng(0),
        schedule=Schedule(epochs=1, batch=32),
    )
    assert pair.codes(images.x).shape == (60, 1)


# what is refused


def changed(
    images: LabelledImages, x: Tensor | None = None, y: Tensor | None = None
) -> LabelledImages:
    return LabelledImages(images.x if x is None else x, images.y if y is None else y)


class Broken(nn.Module):
    """Gives NaN for every image."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale / torch.zeros(len(x), 3) * 0


GOOD = bars(60, 1)
assert GOOD.y is not None
REFUSED: tuple[tuple[str, dict[str, object], type[AuditError], str], ...] = (
    ("constant", {"images": changed(GOOD, torch.zeros_like(GOOD.x))}, BadData, "all equal"),
    ("unlabelled", {"images": LabelledImages(GOOD.x)}, BadData, "have none"),
    ("few", {"images": GOOD.take(torch.arange(2))}, BadData, "2 images for 3 classes"),
    ("range", {"images": changed(GOOD, y=GOOD.y + 1)}, BadData, "from 1 to 3"),
    ("pixels", {"images": changed(GOOD, GOOD.x * 2)}, BadData, "outside"),
    ("nan image", {"images": changed(GOOD, GOOD.x * float("nan"))}, BadData, "NaN"),
    ("no validation", {"validation": GOOD.take(torch.arange(0))}, BadData, "there are none"),
    ("other size", {"validation": changed(GOOD, GOOD.x[:, :, 1:])}, BadData, "both alike"),
    ("outputs", {"task": MultiClass(4)}, BadModel, r"4 outputs"),
    ("attributes", {"task": MultiAttribute(("a", "b", "c"))}, BadData, r"3 attributes"),
    ("nan", {"classifier": Broken()}, BadModel, "NaN or infinite before"),
    ("frozen", {"classifier": nn.Flatten()}, BadModel, "no parameters"),
    ("decoder", {"decoder": SmallDecoder(5, (1, 8, 8))}, BadModel, "codes of 3 values"),
    ("picture", {"decoder": SmallDecoder(3, (1, 9, 8))}, BadModel, r"\(1, 9, 8\)"),
    ("weight", {"weight": -1.0}, BadPlan, "must not be negative"),
    ("release", {"release": "relu9"}, UnknownName, "relu9"),
    ("wild", {"schedule": Schedule(epochs=2, learning_rate=1e30, clip=1e30)}, BadPlan, "learning"),
)


@pytest.mark.parametrize(
    ("change", "error_type", "words"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_bad_input_is_one_line(
    change: dict[str, object], error_type: type[AuditError], words: str
) -> None:
    classifier, decoder = networks()
    setting: dict[str, object] = {
        "classifier": classifier,
        "decoder": decoder,
        "images": GOOD,
        "task": CLASSES,
        "validation": bars(30, 2),
        "rng": Rng(0),
        "schedule": Schedule(epochs=1),
        **change,
    }
    with pytest.raises(error_type, match=words) as caught:
        train_malicious(**setting)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_secret_decoder_is_refused_elsewhere() -> None:
    traced = trace(vicious().model, GOOD.x[:2])
    partition = traced.split(traced.cut("relu2"))
    with pytest.raises(BadInput, match="3 values"):
        SecretDecoder(vicious()).fit(white_box(partition, Auxiliary(GOOD.x)), Rng(0))
    seen = Observation(torch.zeros(2, 1, 7), partition.cut.layout)
    with pytest.raises(BadInput, match="7"):
        vicious().reconstructor(seen, Rng(0))


def test_a_linear_code_of_too_many_numbers_is_refused() -> None:
    with pytest.raises(BadPlan, match="1 to 59 directions"):
        linear_code(GOOD.x, 61)
    with pytest.raises(BadData, match="all equal"):
        linear_code(torch.zeros(4, 1, 2, 2), 1)
