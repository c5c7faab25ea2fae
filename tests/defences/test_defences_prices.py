"""What each component at a cut charges, against closed forms and second ways."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hardening import CLASSES, images, net
from torch import Tensor

from splitveil.defences import Batch, MaxEntropy, Part, Setting, parse_components
from splitveil.defences.pipeline import open_setting
from splitveil.defences.rebuilder import Rebuilder
from splitveil.defences.vib import rate
from splitveil.defences.way import Way
from splitveil.errors import BadInput
from splitveil.estimators.dependence import (
    correlation,
    distances,
    gaussian_kernel,
    u_centred,
)
from splitveil.estimators.trained_dependence import (
    differentiable_distances,
    trained_correlation,
    trained_kernel,
)
from splitveil.nets.carriers import Narrow, Widen, start_at_principal
from splitveil.nets.inverter import ImageInverter
from splitveil.rng import Rng


def setting(cut: str = "3") -> Setting:
    source = net()
    x = images(128).train.x
    plain = Setting(source=source, classes=CLASSES, class_names=(), x=x)
    return open_setting(plain, Way.of(source, cut, x[:2]))


def part(text: str, given: Setting | None = None) -> Part:
    (component,) = parse_components(text)
    with Rng(0).as_global():
        return component.prepare(given or setting())


def batch(z: Tensor, x: Tensor | None = None, y: Tensor | None = None) -> Batch:
    n = len(z)
    x = images(512).train.x[:n] if x is None else x
    y = torch.arange(n) % CLASSES if y is None else y
    return Batch(x=x, y=y, logits=torch.zeros(n, CLASSES), progress=0.0, z=z, sent=z)


def price(found: Part, given: Batch) -> float:
    assert found.term is not None
    return float(found.term(given).detach())


def draw(n: int, f: int, seed: int = 0) -> Tensor:
    return torch.randn(n, f, generator=Rng(seed).torch())


def test_dependence_with_gradient_is_the_one_without() -> None:
    x, z = draw(40, 5), draw(40, 5) ** 2 + draw(40, 5, 1)
    for ours, theirs in ((differentiable_distances, distances), (trained_kernel, gaussian_kernel)):
        torch.testing.assert_close(ours(x), theirs(x))
        found = float(trained_correlation(ours(x), ours(z)))
        assert found == pytest.approx(correlation(u_centred(theirs(x)), u_centred(theirs(z))))
    small = draw(5, 3, 2).double().requires_grad_()
    other = differentiable_distances(draw(5, 2, 3))
    assert torch.autograd.gradcheck(
        lambda v: trained_correlation(differentiable_distances(v), other), (small,)
    )


def test_equal_rows_have_finite_slopes() -> None:
    x = draw(6, 3)
    x[3] = x[1]
    x.requires_grad_()
    for ours in (differentiable_distances, trained_kernel):
        trained_correlation(ours(x), ours(draw(6, 2))).backward()
        assert x.grad is not None
        assert bool(x.grad.isfinite().all())
    constant = torch.zeros(6, 3, requires_grad=True)
    found = trained_correlation(differentiable_distances(constant), differentiable_distances(x))
    found.backward()
    assert float(found.detach()) == 0
    assert constant.grad is not None
    assert bool(constant.grad.isfinite().all())


def test_nopeek_charges_copies_and_spares_noise() -> None:
    found = part("nopeek(2)")
    x = images(512).train.x[:128]
    assert price(found, batch(3 * x.flatten(1) + 1, x)) == pytest.approx(2, abs=1e-5)
    assert price(found, batch(draw(128, 2000), x)) < 0.05
    assert price(found, batch(draw(3, 5), x[:3])) == 0


def test_hsic_charges_images_and_rewards_labels() -> None:
    x = images(512).train.x[:64]
    y = torch.arange(64) % CLASSES
    labels = torch.eye(CLASSES)[y] + 0.01 * draw(64, CLASSES)
    copies = x.flatten(1)
    wx = part("hsic(1)")
    assert price(wx, batch(copies, x)) == pytest.approx(1, abs=1e-5)
    both, prize = part("hsic(1,wy=1)"), price(part("hsic(1)"), batch(labels, x))
    assert price(both, batch(labels, x, y)) < prize - 0.5
    assert price(wx, batch(5 * copies, x)) == pytest.approx(price(wx, batch(copies, x)))
    one_class = price(both, batch(copies, x, torch.zeros(64, dtype=torch.int64)))
    assert one_class == pytest.approx(1, abs=1e-5)


def test_the_rate_is_the_divergence_from_a_standard_normal() -> None:
    shape, scale = (3, 2, 2), torch.tensor([0.5, 1.0, 2.0])
    z = draw(7, 12)
    mean = z.unflatten(1, shape) * scale[:, None, None]
    normal = torch.distributions.Normal
    wide = scale[:, None, None].expand(3, 2, 2)
    divergence = torch.distributions.kl_divergence(normal(mean, wide), normal(0.0, 1.0))
    wanted = float(divergence.flatten(1).sum(1).mean())
    assert float(rate(z, scale.log(), shape)) == pytest.approx(wanted, rel=1e-5)
    tokens = (4, 3)
    by_token = z.unflatten(1, tokens) * scale
    divergence = torch.distributions.kl_divergence(
        normal(by_token, scale.expand(4, 3)), normal(0.0, 1.0)
    )
    found = float(rate(z, scale.log(), tokens))
    assert found == pytest.approx(float(divergence.flatten(1).sum(1).mean()), rel=1e-5)


def test_a_bottleneck_starts_as_the_best_linear_one() -> None:
    shape, kept = (6, 4, 4), 2
    basis = torch.linalg.qr(draw(6, kept)).Q
    codes = torch.randn(50, kept, 4, 4, generator=Rng(1).torch())
    z = torch.einsum("ck,nkhw->nchw", basis, codes) + 0.3
    device, cloud = Narrow(shape, kept), Widen(shape, kept)
    start_at_principal(device, cloud, z)
    torch.testing.assert_close(cloud(device(z)), z, rtol=1e-3, atol=1e-4)
    noisy = z + 0.1 * torch.randn(z.shape, generator=Rng(2).torch())
    start_at_principal(device, cloud, noisy)
    left = float((cloud(device(noisy)) - noisy).square().mean().detach())
    assert left == pytest.approx(0.01 * (6 - kept) / 6, rel=0.1)


def test_slopes_are_priced_in_units_of_noise_or_rms() -> None:
    x = torch.rand(2000, 1, 2, 2, generator=Rng(0).torch()).requires_grad_()
    matrix = draw(4, 6, 1)
    z = x.flatten(1) @ matrix
    # mean over an image's 4 values of what the 6 features' slopes squared sum to
    squared = float(matrix.square().sum()) / 4
    found = part("lipschitz(2)")
    given = batch(z, x)
    for noise, scale in ((None, float(z.detach().square().mean())), (0.5, 0.25)):
        held = None if noise is None else torch.tensor(noise)
        priced = price(found, replace(given, noise=held, generator=Rng(2).torch()))
        assert priced == pytest.approx(2 * math.log1p(squared / scale), rel=0.02)
    assert found.validation is not None
    assert float(found.validation(given)) == 0


def test_an_adversary_is_charged_by_its_share() -> None:
    found = part("adversary(2,cap=0.25)")
    (adversary,) = found.adversaries
    data = images(128).train.x
    mean = data.mean(0)
    floor = (data - mean).square().mean()
    given = batch(draw(32, 36), data[:32])
    with torch.no_grad():
        share = 1 - (adversary.network(given.sent) - given.x).square().mean() / floor
    assert price(found, given) == pytest.approx(2 * max(0.0, float(share) - 0.25), abs=1e-6)
    assert float(adversary.loss(given).detach()) == pytest.approx(1 - float(share), rel=1e-5)
    for scale in (1e-3, 1e3):
        torch.testing.assert_close(
            adversary.network(scale * given.features), adversary.network(given.features)
        )


def test_an_adversary_of_bins_starts_ignorant_and_is_charged_in_shares_of_ln_k() -> None:
    component = MaxEntropy(1.0, bins=4)
    assert component.ranges(torch.tensor([0.0, 0.24, 0.25, 0.99, 1.0])).tolist() == [0, 0, 1, 3, 3]
    found = part("maxent(1)")
    (adversary,) = found.adversaries
    given = batch(draw(16, 36))
    # it starts as the prior, which knows nothing of the image
    assert price(found, given) == pytest.approx(0, abs=1e-5)
    network = adversary.network
    assert isinstance(network, Rebuilder)
    assert isinstance(network.network, ImageInverter)
    with torch.no_grad():
        bias = network.network.out.bias
        assert bias is not None
        bias += torch.linspace(-3, 3, len(bias))
    answers = network(given.sent).unflatten(1, (1, 4)).softmax(2)
    prior = network.start.unflatten(0, (1, 4)).exp()
    divergence = (answers * (answers / prior).log()).sum(2).mean() / math.log(4)
    assert price(found, given) == pytest.approx(float(divergence.detach()), rel=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "nopeek(1)",
        "hsic(1,wy=0.5)",
        "adversary(1)",
        "maxent(1)",
        "noise(0.1)",
        "dropout(rate=0.3)",
        "quantise(bits=4)",
        "topk(keep=0.5)",
        "laplace(sigma=0.3)",
    ],
)
def test_every_price_and_release_has_a_finite_slope(text: str) -> None:
    found = part(text)
    z = setting().features(parse_components(text)[0])[:32].requires_grad_()
    if found.release is not None:
        sent, scale = found.release.send(z, Rng(0).torch())
        assert sent.shape == z.shape
        assert found.release.gaussian is (scale is not None)
        total = (sent * draw(32, z.shape[1])).sum()
    else:
        assert found.term is not None
        for adversary in found.adversaries:
            for parameter in adversary.network.parameters():
                with torch.no_grad():
                    parameter.add_(0.05)
        total = found.term(batch(z)).add((0 * z).sum())
    total.backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())
    assert bool(z.grad.any()) or text.startswith("adversary")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nopeek(0)", "weight must be positive"),
        ("hsic(-1)", "wx must be positive"),
        ("vib(0)", "beta must be positive"),
        ("vib(1,channels=9)", "only 4 channels"),
        ("adversary(1,cap=1)", "cap in"),
        ("adversary(1,width=9)", "multiple of 8"),
        ("maxent(1,bins=1)", "at least 2"),
        ("ressfl(1)", "channels"),
        ("ressfl(1,channels=2)", "SSIM needs images"),
        ("noise(0.1,clip=0)", "share of images"),
        ("dropout(rate=2)", "rate"),
        ("noise", "expected sigma"),
        ("noise(sigma=x)", "needs a number"),
        ("freeze(stage2,span=up)", "up"),
        ("hopeek(1)", "did you mean nopeek"),
        ("noise(sgma=1)", "did you mean sigma"),
        ("(noise)", "cannot read"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        ready(text)


def ready(text: str) -> None:
    for component in parse_components(text):
        component.structure(setting())
        component.prepare(setting())


def test_written_forms_join_and_read_back() -> None:
    text = "noise(sigma=.05)+nopeek(0.1) + freeze:stage2+vib(1e-3,channels=8)+dropout(rate=0.3)"
    found = parse_components(text)
    assert [str(component) for component in found] == [
        "noise(0.05)",
        "nopeek(0.1)",
        "freeze(stage2)",
        "vib(0.001,channels=8)",
        "dropout(rate=0.3)",
    ]
    assert parse_components("+".join(map(str, found))) == found
    assert all(a != b for a, b in pairwise(found))
