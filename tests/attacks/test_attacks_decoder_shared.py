"""One forward pass and one groundwork for many decoders."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from attack_problems import Additive, Problem, blobs, partition_of
from torch import Tensor, nn

from splitveil.attacks import AttentionDecoder, Decoder, Ridge, SmallDecoder
from splitveil.attacks.base import Attack
from splitveil.attacks.groundwork import Ground, Groundwork
from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.attacks.memory import halving
from splitveil.attacks.ridge import Linear
from splitveil.attacks.shared import Fitting, shared_decoders, shared_features
from splitveil.errors import BadInput, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.partition import Cut, Traced, trace
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, BlackBox, Observation, QueryFree, WhiteBox, white_box

TINY = Decoder(epochs=1, width=8, depth=1)
CAPACITIES = (
    SmallDecoder(epochs=3, width=8, batch=32),
    Decoder(epochs=3, width=16, depth=1, batch=32),
    AttentionDecoder(epochs=3, width=16, depth=1, heads=2, batch=32),
)


class Victim(nn.Module):
    """Two convolutions and a linear layer."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.one, self.two = nn.Conv2d(2, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.out = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.two(self.one(x).relu()).relu().flatten(1))
        return out


@pytest.fixture(scope="module")
def victim() -> tuple[Traced, tuple[Cut, ...], Auxiliary]:
    with Rng(0).as_global():
        model = Victim().eval()
    x, y = blobs(90, 8, 1)
    traced = trace(model, x[:2])
    return traced, traced.menu()[:4], Auxiliary(x, y)


def holding(traced: Traced, cut: Cut, auxiliary: Auxiliary) -> WhiteBox:
    return white_box(traced.split(cut), auxiliary)


@pytest.mark.parametrize("memory", [1, 10**9])
def test_the_same_as_fitting_each_alone(
    victim: tuple[Traced, tuple[Cut, ...], Auxiliary], memory: int
) -> None:
    traced, cuts, auxiliary = victim
    recipes: list[InverseNetwork] = [TINY, replace(TINY, flips=True), SmallDecoder(epochs=1)]
    fittings = [
        Fitting(cut, attack, holding(traced, cut, auxiliary), Rng(3, (cut.id,)))
        for cut in cuts
        for attack in recipes
    ]
    hidden, labels = blobs(5, 8, 2)
    together = list(shared_decoders(fittings, traced, memory=memory))
    assert [one[0] for one in together] == fittings
    for fitting, _, shared in together:
        alone = fitting.attack.fit(fitting.knowledge, fitting.rng)
        z = traced.features(hidden, [fitting.cut])[fitting.cut.id]
        seen = Observation(z[:, None], fitting.cut.layout, labels)
        torch.testing.assert_close(shared(seen, Rng(0)), alone(seen, Rng(0)), atol=1e-6, rtol=0)


def test_one_pass_for_all_cuts_and_one_groundwork_for_all_that_agree(
    victim: tuple[Traced, tuple[Cut, ...], Auxiliary], monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, cuts, auxiliary = victim
    passes: list[int] = []
    laid: list[str] = []
    plain, lay = Traced.stream, Groundwork.lay

    def counted(self: Traced, x: Tensor, at: list[Cut]) -> Iterator[tuple[str, Tensor]]:
        passes.append(len(at))
        return plain(self, x, at)

    def named(attack: Attack, *args: object, **settings: object) -> Groundwork:
        laid.append(type(attack).__name__)
        return lay(attack, *args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Traced, "stream", counted)
    monkeypatch.setattr(Groundwork, "lay", staticmethod(named))
    fittings = []
    for cut in cuts:
        knowledge = holding(traced, cut, auxiliary)
        fittings += [Fitting(cut, one, knowledge, Rng(3)) for one in (TINY, SmallDecoder(epochs=1))]
    found = list(shared_decoders(fittings, traced))
    assert passes == [len(cuts)]
    assert len(laid) == len(cuts)
    assert found[0][1] is found[1][1]


def test_the_ridge_fitted_on_the_way_is_the_ridge(
    victim: tuple[Traced, tuple[Cut, ...], Auxiliary],
) -> None:
    traced, cuts, auxiliary = victim
    knowledge = holding(traced, cuts[1], auxiliary)
    laid = Groundwork.lay(TINY, knowledge, TINY.ground, Rng(3))
    found, alone = laid.inversions["Ridge"], Ridge().fit(knowledge, Rng(3))
    assert isinstance(found, Linear)
    assert isinstance(alone, Linear)
    assert torch.equal(found.factors[0], alone.factors[0])
    assert set(laid.inversions) == {"PatchRidge", "Ridge"}


def test_refuses_other_images_another_cut_and_another_network(
    victim: tuple[Traced, tuple[Cut, ...], Auxiliary],
) -> None:
    traced, cuts, auxiliary = victim
    other = Auxiliary(auxiliary.x.clone(), auxiliary.y)
    one = Fitting(cuts[0], TINY, holding(traced, cuts[0], auxiliary), Rng(3))
    two = Fitting(cuts[1], TINY, holding(traced, cuts[1], other), Rng(3))
    with pytest.raises(BadInput, match="same auxiliary images"):
        list(shared_decoders([one, two], traced))
    with pytest.raises(BadInput, match="sends"):
        list(shared_decoders([replace(one, cut=cuts[3])], traced))
    with Rng(9).as_global():
        stranger = trace(Victim().eval(), auxiliary.x[:2])
    with pytest.raises(BadInput, match="not that of the network"):
        list(shared_decoders([one], stranger))
    assert list(shared_decoders([], traced)) == []
    assert shared_features(traced, [], auxiliary.x) == {}


@pytest.mark.parametrize("attack", CAPACITIES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("shape", [(12, 4, 4), (16, 12), (192,)], ids=["map", "tokens", "vector"])
def test_each_capacity_learns_from_maps_tokens_and_vectors(
    attack: InverseNetwork, shape: tuple[int, ...]
) -> None:
    """The same values laid out three ways; all beat the class mean by far, without a ridge."""
    with Rng(0).as_global():
        conv = nn.Conv2d(2, 12, 3, 2, 1)

    class Head(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x).abs()
            return (maps.flatten(2).transpose(1, 2) if len(shape) == 2 else maps).flatten(1)

    (x, y), (x_test, y_test) = blobs(300, 8, 1), blobs(100, 8, 2)
    p = Problem(partition_of(Head(), shape), x, y, x_test, y_test)
    recipe = replace(attack, start="mean", epochs=8, learning_rate=5e-3)
    fitted = recipe.fit(p.knowledge(), Rng(0))
    guess = fitted(Observation(p.z_test, p.partition.cut.layout, p.y_test), Rng(0))
    assert float((guess - x_test).square().mean()) < 0.5 * float(x_test.var(0).mean())


def test_mirrored_images_are_encoded_anew_and_cost_a_query_each() -> None:
    """Under a head that keeps the pixels, a mirrored row holds the mirrored image and its z."""
    (x, y), (x_test, y_test) = blobs(40, 8, 1), blobs(5, 8, 2)
    p = Problem(partition_of(nn.Flatten(), (2, 8, 8), sigma=0.0), x, y, x_test, y_test)
    ground = Ground(samples=100, flips=True, start="mean")
    laid = Groundwork.lay(TINY, p.knowledge(), ground, Rng(0))
    assert laid.places.shape == (2, 40)
    mirrored = laid.places[1]
    assert torch.equal(laid.found.x[mirrored], x.flip(-1).flatten(1))
    assert torch.equal(laid.found.z[mirrored], x.flip(-1).flatten(1))
    whole = p.knowledge(queries=50)
    black = BlackBox(whole.auxiliary, whole.tail, whole.layout, True, True, whole.oracle)
    few = Groundwork.lay(TINY, black, ground, Rng(0))
    assert few.places.shape == (2, 25)
    assert whole.oracle.used == 50


def test_noise_is_fresh_at_every_draw_and_clean_features_stay() -> None:
    (x, y), (x_test, y_test) = blobs(40, 8, 1), blobs(5, 8, 2)
    p = Problem(partition_of(nn.Flatten(), (2, 8, 8), sigma=0.3), x, y, x_test, y_test)
    laid = Groundwork.lay(TINY, p.knowledge(), TINY.ground, Rng(0))
    assert laid.noise is not None
    assert isinstance(laid.noise.release, Additive)
    assert torch.equal(laid.noise.clean, x.flatten(1))
    rows, generator = torch.arange(40), Rng(1).torch()
    (one, guess), (two, other) = laid.draw(rows, generator), laid.draw(rows, generator)
    assert not torch.equal(one, two)
    assert not torch.equal(guess, other)
    assert float((one - x.flatten(1)).std()) == pytest.approx(0.3, rel=0.05)


def test_memory_that_gives_out_halves_the_batch() -> None:
    tried: list[int] = []

    def work(size: int) -> int:
        tried.append(size)
        if size > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return size

    assert halving(work, 13) == 3
    assert tried == [13, 6, 3]

    def never(size: int) -> int:
        raise MemoryError

    with pytest.raises(BudgetExceeded, match="not enough memory"):
        halving(never, 4)

    def other(size: int) -> int:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        halving(other, 4)


def test_training_goes_on_with_half_the_batch(
    image_problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splitveil.nets.inverter import ImageInverter

    whole, sizes = ImageInverter.forward, set[int]()

    def limited(self: ImageInverter, z: Tensor, guesses: Tensor, rows: Tensor) -> Tensor:
        if self.training:
            if len(z) > 20:
                raise MemoryError
            sizes.add(len(z))
        return whole(self, z, guesses, rows)

    monkeypatch.setattr(ImageInverter, "forward", limited)
    replace(TINY, batch=64).fit(image_problem.knowledge(), Rng(0))
    assert max(sizes) == 16


def test_bad_input(image_problem: Problem) -> None:
    whole = image_problem.knowledge()
    free = QueryFree(whole.auxiliary, whole.tail, whole.layout, True, True)
    fitted = TINY.fit(whole, Rng(0))
    for attack in CAPACITIES:
        with pytest.raises(KnowledgeMissing, match="Pairs"):
            attack.fit(free, Rng(0))
        with pytest.raises(BadPlan):
            replace(attack, width=9)
        with pytest.raises(BadPlan, match="start"):
            replace(attack, start="somewhere")
    with pytest.raises(BadInput, match="expected observed features"):
        fitted(Observation(image_problem.z_test[:, :, :-1], whole.layout, None), Rng(0))
    none = replace(whole, auxiliary=Auxiliary(whole.auxiliary.x[:0], None))
    with pytest.raises(BadInput, match="auxiliary targets"):
        TINY.fit(none, Rng(0))
    few = image_problem.knowledge(queries=1)
    black = BlackBox(few.auxiliary, few.tail, few.layout, True, True, few.oracle)
    with pytest.raises(BudgetExceeded):
        TINY.fit(black, Rng(0))
    vector = partition_of(nn.Linear(4, 6), (6,))
    x = torch.rand(30, 4)
    problem = Problem(vector, x, torch.zeros(30, dtype=torch.int64), x, torch.zeros(30).long())
    with pytest.raises(BadInput, match="mirrored"):
        replace(TINY, flips=True).fit(problem.knowledge(), Rng(0))
