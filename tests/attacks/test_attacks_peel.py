"""PEEL as an attack: conformance, exactness, where it stops, and what it refuses."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import pytest
import torch
from peel_nets import bottleneck, conv, halves, images, ir_unit, plain, seeded, stem
from torch import Tensor, nn

from splitveil.attacks.base import Attack
from splitveil.attacks.peel import Peel, PublishedPeel, course
from splitveil.errors import BadInput, BadPlan, KnowledgeMissing
from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind, Partition
from splitveil.release import Identity
from splitveil.rng import Rng
from splitveil.testing.conformance.attacks import (
    AttackCase,
    AttackConformance,
    _black_box,
    small_case,
)
from splitveil.threat import Observation

NAMES = {"Peel": Peel, "PublishedPeel": PublishedPeel}
QUICK = Peel(starts=1, restarts=0)


def small_residual_case() -> AttackCase:
    """The suite's images through a stem and one identity block."""
    case = small_case()
    layers = seeded(lambda: [conv(1, 6), nn.BatchNorm2d(6), nn.ReLU(), plain(6, 6), nn.Flatten()])
    layout = Layout((Part("maps", (6, 8, 8)),))
    cut = Cut("residual", "residual", CutKind.BLOCK, 0.5, layout)
    return replace(case, partition=Partition(cut, layers, Identity(), nn.Identity()))


class TestPeel(AttackConformance):
    names = NAMES

    @pytest.fixture
    def case(self) -> AttackCase:
        return small_residual_case()

    @pytest.fixture(params=[Peel(), PublishedPeel(steps=6, stem_steps=6)], ids=repr)
    def attack(self, request: pytest.FixtureRequest) -> Attack:
        attack: Attack = request.param
        return attack


def test_an_identity_chain_is_undone_exactly() -> None:
    net = seeded(lambda: [*stem(12), *(plain(12, 12) for _ in range(3))])
    x = images(4)
    _, knowledge, seen = halves(net, "5", x)
    peeler = Peel().fit(knowledge, Rng(0))
    assert (peeler.count.outputs, peeler.count.unknowns) == (12 * 64, 3 * 64)
    assert not peeler.count.limited
    found = peeler.peel(seen, Rng(1), diagnosed=2)
    assert float((found.x - x).square().mean()) < 1e-10
    assert found.report.stopped is None
    assert [stage.solved for stage in found.report.stages] == [4] * 4
    assert all(stage.amplification is not None for stage in found.report.stages)
    assert "chained to the image" in str(found.report)


CASES: dict[str, tuple[Callable[[], Sequence[nn.Module]], str]] = {
    "ReLU after the sums": (lambda: [*stem(8), bottleneck(8), bottleneck(8)], "4"),
    "BatchNorm first, PReLU inside": (lambda: [*stem(8), ir_unit(8, 8), ir_unit(8, 8)], "4"),
    "PReLU after the sum": (lambda: [*stem(8), plain(8, 8, post=nn.PReLU(8))], "3"),
    "through a stride": (lambda: [*stem(12), plain(12, 48, 2)], "3"),
    "rows put in another order": (
        lambda: [*stem(8), plain(8, 8), nn.BatchNorm2d(8), nn.PixelShuffle(2), nn.Flatten()],
        "6",
    ),
}


@pytest.mark.parametrize("name", CASES, ids=str)
def test_other_forms_of_blocks(name: str) -> None:
    make, cut = CASES[name]
    x = images(2)
    _, knowledge, seen = halves(seeded(make), cut, x)
    found = Peel(starts=1).fit(knowledge, Rng(0)).peel(seen, Rng(1))
    error = (found.x - x).square().flatten(1).mean(1)
    solved = found.report.misfit < 1e-5
    assert bool(solved.any()), f"nothing solved:\n{found.report}"
    assert float(error[solved].max()) < 1e-6, "a fit where there are enough equations is the image"


def test_cut_inside_a_block_and_in_the_stem() -> None:
    net = seeded(lambda: [*stem(8), plain(8, 8), plain(8, 8), nn.AdaptiveAvgPool2d(1)])
    x = images(2)
    inside = "4.one.1"
    for cut in ("0", "2", inside):
        _, knowledge, seen = halves(net, cut, x)
        found = QUICK.fit(knowledge, Rng(0)).peel(seen, Rng(1))
        assert float((found.x - x).square().mean()) < 1e-8, f"cut {cut}:\n{found.report}"


def test_too_few_outputs_are_said_before_and_after() -> None:
    net = seeded(lambda: [*stem(8), plain(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten()])
    x = images(1)
    _, knowledge, seen = halves(net, "5", x)
    peeler = Peel(starts=1, restarts=0, outer=6).fit(knowledge, Rng(0))
    assert peeler.count.limited
    assert "prior-limited" in str(peeler.count)
    found = peeler.peel(seen, Rng(1))
    assert found.report.stopped is not None
    assert float(found.report.misfit.max()) < 0.1, "it fits"
    assert float((found.x - x).square().mean()) > 1e-3, "and is wrong, as announced"


def test_noise_is_amplified_as_predicted() -> None:
    net = seeded(lambda: [*stem(16), plain(16, 16)])
    x = 0.2 + 0.6 * images(2)
    sigma = 1e-4
    _, knowledge, seen = halves(net, "3", x)
    noise = torch.randn(seen.z.shape, generator=torch.Generator().manual_seed(4))
    seen = replace(seen, z=seen.z + sigma * noise)
    found = QUICK.fit(knowledge, Rng(0)).peel(seen, Rng(1), diagnosed=2)
    predicted = found.report.stages[-1].amplification
    assert predicted is not None
    mse = float((found.x - x).square().mean())
    assert 0.1 * predicted < mse / sigma**2 < 10 * predicted


def test_an_image_does_not_depend_on_its_companions_nor_on_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = seeded(lambda: [*stem(12), plain(12, 12)])
    x = images(5)
    _, knowledge, seen = halves(net, "3", x)
    whole = QUICK.fit(knowledge, Rng(0))(seen, Rng(1))
    one = QUICK.fit(knowledge, Rng(0))(replace(seen, z=seen.z[2:3]), Rng(1))
    torch.testing.assert_close(one[0], whole[2], atol=1e-5, rtol=0)

    finish, sizes = course.Course.finish, []

    def scarce(self: course.Course) -> Tensor:
        sizes.append(len(self.misfit))
        if len(self.misfit) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return finish(self)

    monkeypatch.setattr(course.Course, "finish", scarce)
    halved = replace(QUICK, chunk=4).fit(knowledge, Rng(0)).peel(seen, Rng(1))
    assert sizes == [4, 2, 2, 1], "halve and go on"
    torch.testing.assert_close(halved.x, whole, atol=1e-5, rtol=0)
    assert len(halved.report.misfit) == 5


class _Sign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(x - 0.5) + 0.5 * (x > 0.3)


def test_refusals_name_the_remedy() -> None:
    x = images(2)
    net = seeded(lambda: [*stem(), plain(6, 6)])
    _, knowledge, seen = halves(net, "3", x)
    with pytest.raises(BadInput, match=r"expected observed features of shape \(n, sends, 384\)"):
        Peel().fit(knowledge, Rng(0))(Observation(seen.z[:, :, 1:], seen.layout), Rng(1))
    with pytest.raises(BadInput, match="not finite"):
        Peel().fit(knowledge, Rng(0))(replace(seen, z=seen.z / 0), Rng(1))
    _, no_skip, _ = halves(seeded(lambda: [*stem(), conv(6, 6), nn.ReLU()]), "4", x)
    for attack in (Peel(), PublishedPeel()):
        with pytest.raises(BadInput, match="expected a residual network"):
            attack.fit(no_skip, Rng(0))
        with pytest.raises(KnowledgeMissing, match="WhiteBox"):
            attack.fit(_black_box(knowledge), Rng(0))
    flat = seeded(lambda: [_Sign(), *stem(), plain(6, 6)])
    _, rounded, _ = halves(flat, "4", x)
    with pytest.raises(BadInput, match="passes no gradient"):
        Peel().fit(rounded, Rng(0))
    _, inside, _ = halves(net, "3.one.1", x)
    with pytest.raises(BadInput, match="several cross this cut"):
        PublishedPeel().fit(inside, Rng(0))
    with pytest.raises(BadPlan, match="positive"):
        Peel(outer=0)
    with pytest.raises(BadPlan, match="positive"):
        PublishedPeel(steps=0)


def test_the_published_method_does_as_its_formula_says() -> None:
    """On a block it can solve the loss falls and its three unknowns agree."""
    net = seeded(lambda: [*stem(), plain(6, 6)])
    x = 0.5 + 0.5 * images(2)
    _, knowledge, seen = halves(net, "3", x)
    peeler = PublishedPeel(steps=400).fit(knowledge, Rng(0))
    stage = peeler.stages[-1]
    (y,) = seen.layout.unpack(seen.z[:, 0])
    with torch.no_grad():
        truth = net[:3](x)
    found = peeler.invert(stage, y, Rng(1))
    assert float((found - truth).square().mean() / truth.square().mean()) < 0.05
    short = PublishedPeel(steps=30).fit(knowledge, Rng(0))
    both, alone = (short.invert(short.stages[-1], rows, Rng(1)) for rows in (y, y[1:]))
    torch.testing.assert_close(alone[0], both[1], atol=1e-4, rtol=0)
    knee = peeler._knee(stage)
    assert knee is not None
    middle = net[3].one[0](truth).detach()  # type: ignore[index,operator]
    p, n = middle.clamp(min=0), (-middle).clamp(min=0)
    loss = peeler._block_loss(stage, knee, truth, y, p, n).detach()
    assert float(loss.max()) < 1e-6, "zero at the truth"
    shifted = peeler._block_loss(stage, knee, truth, y, p, n + 1)
    expected = 100 * n[0].numel() + 100 * p.flatten(1).sum(1).square()
    torch.testing.assert_close(shifted.detach(), expected.detach(), rtol=1e-3, atol=1e-2)


def test_every_setting_is_documented_by_its_repr() -> None:
    for attack in (Peel(), PublishedPeel()):
        assert all(f"{name}=" in repr(attack) for name in chain(vars(attack)))
