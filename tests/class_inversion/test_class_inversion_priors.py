"""Priors: what their losses are, that they are kept, gone on with, and trained again."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from splitveil.class_inversion import (
    Access,
    KPlusOne,
    Prior,
    PriorRecipe,
    PseudoLabelled,
    Rules,
    Wasserstein,
    load_prior,
    train_prior,
)
from splitveil.class_inversion.priors import two_players
from splitveil.class_inversion.priors.recipe import Table
from splitveil.errors import BadData, BadModel, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.nets.class_critic import ClassCritic
from splitveil.nets.conditional_norm import ConditionalNorm2d
from splitveil.nets.generator import Generator
from splitveil.rng import Rng

RNG = Rng(2)
SHAPE = (1, 8, 8)
PUBLIC = torch.rand(50, *SHAPE, generator=RNG.torch())


def rules(steps: int = 3, batch: int = 8, critic_steps: int = 2) -> Rules:
    return Rules(steps=steps, batch=batch, critic_steps=critic_steps)


def recipes(steps: int = 3) -> list[PriorRecipe]:
    return [
        Wasserstein(latent=5, width=8, rules=rules(steps)),
        KPlusOne(latent=5, width=8, rules=rules(steps)),
        PseudoLabelled(latent=5, width=8, top=4, rules=rules(steps)),
    ]


def model(seed: int = 0) -> nn.Module:
    with Rng(seed).as_global():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


def table(recipe: PriorRecipe) -> Table:
    with RNG.as_global():
        generator, critic = recipe.networks(SHAPE, 7)
    return Table(
        public=PUBLIC,
        target=Access(model(), "white"),
        generator=generator,
        critic=critic,
        latent=recipe.latent,
        batch=recipe.rules.batch,
    )


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_a_trained_prior_draws_images_and_repeats_bit_for_bit(recipe: PriorRecipe) -> None:
    state = torch.random.get_rng_state()
    one, two = (train_prior(recipe, PUBLIC, Access(model(), "white"), rng=RNG) for _ in range(2))
    one.verify(RNG.torch())
    assert one.digest == two.digest
    assert one.shape == SHAPE
    assert one.classes == (7 if recipe.conditional else None)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not any(p.requires_grad for p in one.generator.parameters())


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.name)
def test_a_prior_is_kept_and_trained_again_only_where_it_distils(
    recipe: PriorRecipe, tmp_path: Path
) -> None:
    def trained(seed: int) -> tuple[Prior, int]:
        access = Access(model(seed), "white")
        return train_prior(recipe, PUBLIC, access, rng=RNG, folder=tmp_path), access.used

    first, asked = trained(0)
    again, counted = trained(0)
    assert (first.digest, asked) == (again.digest, counted)
    assert first.queries == again.queries == asked
    assert len(list(tmp_path.iterdir())) == 1
    other, _ = trained(1)
    assert (other.digest != first.digest) == recipe.distils
    assert len(list(tmp_path.iterdir())) == 1 + recipe.distils
    asked_of = {"wasserstein": 0, "k-plus-one": 50, "pseudo-labelled": 50 + 3 * 8}
    assert asked == asked_of[recipe.name]


@pytest.mark.parametrize("recipe", recipes(7), ids=lambda recipe: recipe.name)
def test_a_killed_training_goes_on_and_ends_in_the_same_bits(
    recipe: PriorRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_players, "_STORED_EVERY", 3)
    whole = train_prior(recipe, PUBLIC, Access(model(), "white"), rng=RNG)

    def killed(step: int, of: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    def train(on_step: Callable[[int, int], None]) -> Prior:
        access = Access(model(), "white")
        return train_prior(recipe, PUBLIC, access, rng=RNG, folder=tmp_path, on_step=on_step)

    with pytest.raises(KeyboardInterrupt):
        train(killed)
    told: list[int] = []
    found = train(lambda step, of: told.append(step))
    assert told == [4, 5, 6, 7]
    assert found.digest == whole.digest
    assert found.queries == whole.queries
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_the_critic_of_a_wasserstein_prior_pays_for_slope() -> None:
    recipe = Wasserstein(latent=5, width=8, penalty=10.0, rules=rules())
    seat = table(recipe)
    for parameter in seat.critic.parameters():
        parameter.data.zero_()
    # a critic that says 0 everywhere has slope 0: 10 (0 - 1)²
    assert float(recipe.losses(seat)[1](RNG.torch()).detach()) == pytest.approx(10)
    assert float(recipe.losses(seat)[0](RNG.torch()).detach()) == pytest.approx(0)


def test_the_k_plus_one_critic_by_identities() -> None:
    recipe = KPlusOne(latent=5, width=8, entropy=0.5, rules=rules())
    seat = table(recipe)
    assert isinstance(seat.critic, ClassCritic)
    for parameter in seat.critic.parameters():
        parameter.data.zero_()
    generator, critic = recipe.losses(seat)
    # all logits 0, so l = ln 7: uniform cross-entropy, and -ln of being real and of being fake
    expected = math.log(7) + (math.log(1 + 1 / 7) + math.log(1 + 7)) / 2
    assert float(critic(RNG.torch()).detach()) == pytest.approx(expected, rel=1e-5)
    # features all 0; the entropy of eight uniform answers is summed
    assert float(generator(RNG.torch()).detach()) == pytest.approx(0.5 * 8 * math.log(7), rel=1e-5)


def test_pseudo_labels_are_each_class_s_surest_public_images() -> None:
    recipe = PseudoLabelled(latent=5, width=8, top=3, margin=0.0, rules=rules(batch=400))
    seat = table(recipe)
    scores = Access(model(), "white").scores(PUBLIC)
    best = {(label, int(i)) for label in range(7) for i in scores[:, label].topk(3).indices}
    shown: list[tuple[Tensor, Tensor]] = []

    class Noting(nn.Module):
        def forward(self, x: Tensor, labels: Tensor) -> Tensor:
            shown.append((x, labels))
            return x.mean((1, 2, 3))

    seat = Table(**{**vars(seat), "critic": Noting()})
    recipe.losses(seat)[1](RNG.torch())
    x, labels = shown[0]
    rows = (x[:, None] == PUBLIC[None]).flatten(2).all(2).float().argmax(1)
    assert {(int(a), int(b)) for a, b in zip(labels, rows, strict=True)} == best


def test_the_generator_of_a_pseudo_labelled_prior_is_told_by_the_model() -> None:
    recipe = PseudoLabelled(latent=5, width=8, top=3, margin=2.0, rules=rules())
    seat = table(recipe)
    used = seat.target.used
    generator = recipe.losses(seat)[0]
    assert seat.target.used - used == 50
    generator(RNG.torch())
    assert seat.target.used - used == 50 + 8


def test_the_conditional_norm_is_batch_norm_with_each_class_s_scale_and_shift() -> None:
    norm = ConditionalNorm2d(3, 4)
    with torch.no_grad():
        norm.scale.weight.copy_(torch.arange(12.0).view(4, 3))
        norm.shift.weight.copy_(-torch.arange(12.0).view(4, 3))
    x = torch.randn(6, 3, 2, 2, generator=RNG.torch())
    labels = torch.tensor([0, 1, 2, 3, 1, 0])
    plain = nn.BatchNorm2d(3, affine=False)(x)
    scale = torch.arange(12.0).view(4, 3)[labels][:, :, None, None]
    assert torch.allclose(norm(x, labels), scale * plain - scale, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 16, 32)])
def test_generators_draw_any_even_size(shape: tuple[int, int, int]) -> None:
    z = torch.randn(2, 5, generator=RNG.torch())
    assert Generator(5, shape, width=8)(z).shape == (2, *shape)
    labelled = Generator(5, shape, width=8, classes=3)(z, torch.tensor([0, 2]))
    assert labelled.shape == (2, *shape)
    with pytest.raises(BadPlan, match="must be even"):
        Generator(5, (1, 9, 9), width=8)


def test_access_and_budget_hold_while_a_prior_is_trained() -> None:
    wasserstein, k_plus_one, labelled = recipes()
    train_prior(wasserstein, PUBLIC, Access(model(), "label"), rng=RNG)
    with pytest.raises(KnowledgeMissing, match="score"):
        train_prior(k_plus_one, PUBLIC, Access(model(), "label"), rng=RNG)
    with pytest.raises(KnowledgeMissing, match="white"):
        train_prior(labelled, PUBLIC, Access(model(), "score"), rng=RNG)
    with pytest.raises(BudgetExceeded):
        train_prior(labelled, PUBLIC, Access(model(), "white", budget=60), rng=RNG)
    with pytest.raises(BadData, match=r"images in \[0, 1\]"):
        train_prior(wasserstein, PUBLIC * 255, Access(model(), "label"), rng=RNG)


class Plugged(nn.Module):
    latent = 6

    def __init__(self, size: int = 8, shift: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.size, self.shift = size, shift

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :1].sigmoid()[:, :, None, None].expand(-1, 1, self.size, self.size) - self.shift


def in_range() -> nn.Module:
    return Plugged()


def too_large() -> nn.Module:
    return Plugged(size=16)


def out_of_range() -> nn.Module:
    return Plugged(shift=1.0)


def no_network() -> int:
    return 3


def test_a_generator_brought_along_is_a_prior() -> None:
    found = load_prior(f"{__name__}:in_range", shape=SHAPE, classes=7)
    assert (found.latent, found.classes, found.queries) == (6, None, 0)
    assert found(found.draw(4, RNG.torch()), torch.zeros(4, dtype=torch.int64)).shape == (4, *SHAPE)
    assert "executed the Python code" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("too_large", "give a generator of that size"),
        ("out_of_range", r"expected \[0, 1\]: wrap it"),
        ("no_network", "gave a int"),
    ],
)
def test_a_generator_that_does_not_fit_is_refused(name: str, said: str) -> None:
    with pytest.raises(BadModel, match=said):
        load_prior(f"{__name__}:{name}", shape=SHAPE, classes=7)
