"""What structures do to what crosses, against closed forms."""

import pytest
import torch
from hardening import CLASSES, images, net
from scipy.fft import dctn
from torch import Tensor

from splitveil.defences import Setting, Structure, parse_components
from splitveil.defences.pipeline import open_setting
from splitveil.defences.way import Way
from splitveil.errors import BadPlan
from splitveil.nets.carriers import ChannelGate, SparseCode
from splitveil.nets.projections import membership
from splitveil.partition.layout import Layout, Part
from splitveil.release import PooledNoise, ReleaseRecipe, ShuffledTokens
from splitveil.rng import Rng


def setting() -> Setting:
    source = net()
    x = images(128).train.x
    plain = Setting(source=source, classes=CLASSES, class_names=(), x=x)
    return open_setting(plain, Way.of(source, "3", x[:2]))


def tokens(count: int, width: int = 3) -> Setting:
    """A setting where tokens cross; nothing is encoded."""
    layout = Layout((Part("tokens", (count, width)),))
    return Setting(source=net(), classes=CLASSES, class_names=(), layout=layout, cut=CUT)


CUT = Way.of(net(), "3", images(128).train.x[:2]).partition.cut


def structure(text: str, given: Setting | None = None) -> Structure:
    (component,) = parse_components(text)
    with Rng(0).as_global():
        found = component.structure(given or setting())
    assert found is not None
    return found


def maps(n: int = 5, shape: tuple[int, ...] = (4, 3, 3)) -> Tensor:
    return torch.randn(n, *shape, generator=Rng(0).torch())


def there_and_back(found: Structure, z: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = found.cloud(found.device(z))
    return out


def test_principal_channels_leave_out_the_least_variance() -> None:
    given = setting()
    z = given.features(parse_components("pca(3)")[0]).unflatten(1, (4, 3, 3))
    values = z.movedim(1, -1).flatten(0, -2)
    for kept in (1, 2, 3):
        left = (there_and_back(structure(f"pca({kept})", given), z) - z).square().mean()
        spectrum = torch.linalg.eigvalsh(values.T.cov(correction=0))
        assert float(left) == pytest.approx(float(spectrum[: 4 - kept].sum()) / 4, rel=1e-3)


def test_low_frequencies_are_those_of_the_cosine_transform() -> None:
    z = maps()
    found = structure("dct(2)")
    wanted = dctn(z.numpy(), axes=(2, 3), norm="ortho")[:, :, :2, :2]
    torch.testing.assert_close(found.device(z), torch.from_numpy(wanted), rtol=1e-4, atol=1e-5)
    constant = torch.full((1, 4, 3, 3), 2.5)
    torch.testing.assert_close(there_and_back(found, constant), constant)
    once = there_and_back(found, z)
    torch.testing.assert_close(there_and_back(found, once), once)


def test_the_gate_keeps_as_many_channels_as_said() -> None:
    gate = ChannelGate(6, 2)
    z = maps(7, (6, 3, 3)) + 10
    kept = gate(z).abs().amax((2, 3)) > 0
    assert kept.sum(1).tolist() == [2] * 7
    gate(z).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in gate.score.parameters())
    with pytest.raises(BadPlan, match="no channel of 4"):
        structure("disco(0.1)")


def test_one_step_of_an_orthonormal_dictionary_is_a_soft_threshold() -> None:
    z = maps()
    layer = SparseCode((4, 3, 3), 4, 1, 0.3)
    with torch.no_grad():
        drive = torch.einsum("nchw,ck->nkhw", z, layer.dictionary)
        wanted = torch.nn.functional.softshrink(drive, 0.3)
        torch.testing.assert_close(layer(z), wanted, rtol=1e-4, atol=1e-5)
        # more steps do not move a code whose rivals are orthogonal
        layer.settings["steps"] = 5
        torch.testing.assert_close(layer(z), wanted, rtol=1e-4, atol=1e-5)


def test_tokens_cross_in_groups() -> None:
    z = torch.arange(17 * 3.0).reshape(1, 17, 3)
    pooled = structure("tokens(pool)", tokens(17)).device(z)
    assert pooled.shape == (1, 5, 3)
    torch.testing.assert_close(pooled[0, 0], z[0, 0])
    torch.testing.assert_close(pooled[0, 1], z[0, [1, 2, 5, 6]].mean(0))
    torch.testing.assert_close(pooled[0, 4], z[0, [11, 12, 15, 16]].mean(0))
    back = there_and_back(structure("tokens(pool)", tokens(17)), z)
    torch.testing.assert_close(back[0, 6], pooled[0, 1])
    dropped = structure("tokens(drop)", tokens(17))
    assert dropped.device(z)[0, :, 0].tolist() == z[0, [0, 1, 3, 6, 8, 9, 11, 14, 16], 0].tolist()
    filled = there_and_back(dropped, z)
    assert float(filled[0, 2].abs().sum()) == 0
    torch.testing.assert_close(filled[0, 3], z[0, 3])
    alone = structure("tokens(class)", tokens(17))
    torch.testing.assert_close(alone.device(z), z[:, :1])
    assert alone.cloud(alone.device(z)).shape == z.shape
    assert structure("tokens(pool)", tokens(16)).device(z[:, 1:]).shape == (1, 4, 3)
    odd = torch.ones(1, 10, 3)
    assert structure("tokens(pool)", tokens(10)).device(odd).shape == (1, 5, 3)


def test_groups_are_means_or_members() -> None:
    wanted = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(membership(4, [0, -1, 1, 1], mean=False), wanted)
    halved = wanted / torch.tensor([1.0, 2.0])
    torch.testing.assert_close(membership(4, [0, -1, 1, 1], mean=True), halved)


def test_shuffled_tokens_are_the_same_in_another_order() -> None:
    z = torch.randn(200, 5 * 3, generator=Rng(0).torch())
    sent = ShuffledTokens(5, 1)(z, Rng(1).torch()).unflatten(1, (5, 3))
    given = z.unflatten(1, (5, 3))
    torch.testing.assert_close(sent[:, 0], given[:, 0])
    torch.testing.assert_close(sent.sort(1).values, given.sort(1).values)
    first = (sent[:, None, 1] == given[:, 1:]).all(2).float().mean(0)
    assert first.sum() == 1
    assert float((first - 0.25).abs().max()) < 0.15


def test_pooled_noise_takes_as_many_values_as_the_pool() -> None:
    pool = torch.randn(3, 4, generator=Rng(0).torch())
    sent = PooledNoise(pool)(torch.zeros(400, 4), Rng(1).torch())
    values, counts = sent.unique(dim=0, return_counts=True)
    torch.testing.assert_close(values, pool[pool[:, 0].argsort()])
    assert int(counts.min()) > 90


def test_the_learnt_pool_is_that_of_the_kept_epoch() -> None:
    (component,) = parse_components("shredder(0.1,pool=2)")
    part = component.prepare(setting())
    assert part.release is not None
    assert part.modules is not None
    z = maps(50).flatten(1)
    assert isinstance(part.release.recipe, ReleaseRecipe)
    fitted = part.release.recipe.fit(z)
    assert isinstance(fitted, PooledNoise)
    (pool,) = part.modules.parameters()
    torch.testing.assert_close(fitted.pool, pool.detach() * z.square().mean().sqrt())
    sent, scale = part.release.send(z, Rng(0).torch())
    assert scale is None
    torch.testing.assert_close(sent, fitted(z, Rng(0).torch()))


@pytest.mark.parametrize(
    ("text", "given", "says"),
    [
        ("pca(4)", None, "none is left out"),
        ("dct(3)", None, "needs maps larger than 3"),
        ("dct(2)", tokens(16), "needs maps"),
        ("tokens(pool)", None, "needs tokens"),
        ("tokens(class)", tokens(16), "no class token"),
        ("tokens(pool)", tokens(12), "no square grid"),
        ("sparse(-1)", None, "must not be negative"),
        ("disco(1)", None, "share of channels"),
        ("shredder(0)", None, "must be positive"),
    ],
)
def test_bad_input(text: str, given: Setting | None, says: str) -> None:
    with pytest.raises(BadPlan, match=says):
        structure(text, given)


@pytest.mark.parametrize("text", ["bottleneck(2)", "dct(2)", "pca(2)", "sparse(0.1)", "vib(0.001)"])
def test_what_the_cloud_gets_lies_in_plain_order(text: str) -> None:
    """Convolutions round otherwise behind another order, and halves would not answer bit-equal."""
    assert there_and_back(structure(text), maps()).is_contiguous()
