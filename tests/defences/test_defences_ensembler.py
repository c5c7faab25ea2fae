"""Several bodies, a secret choice, and one noise tensor."""

from pathlib import Path

import pytest
import torch
from hardening import CLASSES, images
from test_defences_expert import net, run, stored
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from splitveil.defences import Component, Ensembler, FixedNoise, parse_components, unselected
from splitveil.defences.base import Batch, Setting
from splitveil.defences.begin import begun
from splitveil.defences.pipeline import open_setting
from splitveil.defences.way import Way
from splitveil.errors import BadModel, BadPlan
from splitveil.models import load_model
from splitveil.models.grafts import apply_grafts
from splitveil.models.reshaped import put_bodies
from splitveil.models.weights import read_weights
from splitveil.release import PooledNoise
from splitveil.rng import Rng
from splitveil.testing.conformance.defences import DefenceConformance

COUNT, CHOSEN = 3, 2


@pytest.fixture(scope="module")
def shadows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks trained by themselves, each with a noise tensor of its own."""
    folder = tmp_path_factory.mktemp("shadows")
    for seed in range(COUNT):
        found = run("fixed-noise(0.3)", net(seed=seed + 10), epochs=1, rng=Rng(seed))
        stored(found, folder / str(seed))
    return folder


class TestFixedNoise(DefenceConformance):
    @pytest.fixture
    def component(self) -> Component:
        return FixedNoise(0.3)


class TestEnsembler(DefenceConformance):
    cut = "3"

    def network(self) -> nn.Module:
        return net(3, size=12)

    @pytest.fixture
    def component(self, tmp_path_factory: pytest.TempPathFactory) -> Component:
        folder = tmp_path_factory.mktemp("bigger")
        for seed in range(COUNT):
            model = net(3, size=12, seed=seed + 10)
            found = self._trained(model, self._images(), FixedNoise(0.3), None, lambda state: None)
            stored(found, folder / str(seed))
        return Ensembler(str(folder), CHOSEN)


def test_the_answer_is_the_mean_of_chosen_shadows_bodies(shadows: Path) -> None:
    found = run(f"ensembler({shadows},{CHOSEN})+fixed-noise(0.3)", net())
    network, x = found.network, images(128).probe.x
    ensemble = network.get_submodule("ensemble")
    selection = ensemble.get_buffer("selection")
    assert selection.count_nonzero() == CHOSEN
    assert float(selection.sum()) == pytest.approx(1)
    with torch.no_grad():
        z = nn.Sequential(*list(network.children())[:4])(x)
        wanted = torch.zeros(len(x), CLASSES)
        for place in range(COUNT):
            twin = net()
            twin.load_state_dict(read_weights(shadows / str(place) / "weights.safetensors"))
            body = nn.Sequential(*list(twin.children())[4:]).eval()
            wanted += selection[place] * body(z)
        torch.testing.assert_close(network(x), wanted)
    again = net()
    apply_grafts(again, found.grafts)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x), network(x))


def test_an_attacker_without_the_choice_has_a_tail_of_all_bodies(shadows: Path) -> None:
    found = run(f"ensembler({shadows},1)", net()).partition
    assert found is not None
    x = images(128).probe.x
    blind = unselected(found)
    z = found.features(x).detach()
    answers = []
    for place in range(COUNT):
        tail = unselected(found).tail
        (selection,) = (b for name, b in tail.named_buffers() if name.endswith("selection"))
        selection.zero_()[place] = 1
        with torch.no_grad():
            answers.append(tail(z))
    torch.testing.assert_close(blind.predict(z), torch.stack(answers).mean(0))
    assert not torch.allclose(blind.predict(z), found.predict(z))
    assert torch.equal(blind.features(x), found.features(x))
    plain = run("onehot", net(), epochs=1).partition
    assert plain is not None
    with pytest.raises(BadPlan, match="no ensemble"):
        unselected(plain)


def test_the_price_is_the_greatest_cosine_to_a_chosen_shadow(shadows: Path) -> None:
    data = images(128).train
    plain = Setting(source=net(), classes=CLASSES, class_names=(), x=data.x[:8], rng=Rng(0))
    (component,) = parse_components(f"ensembler({shadows},{CHOSEN},weight=3)")
    network, (change,) = begun([component], plain, "3")
    assert change == {"at": "3", "bodies": COUNT}
    given = Setting(source=network, classes=CLASSES, class_names=(), x=data.x[:8], rng=Rng(0))
    given = open_setting(given, Way.of(network, "3", data.x[:2]))
    part = component.prepare(given)
    z = torch.randn(8, 36, generator=Rng(0).torch())
    batch = Batch(
        x=data.x[:8], y=torch.zeros(8).long(), logits=torch.zeros(8, 4), progress=0.0, z=z, sent=z
    )
    wanted: list[Tensor] = []
    selection = network.get_submodule("ensemble").get_buffer("selection")
    for place in selection.nonzero()[:, 0].tolist():
        twin = net()
        twin.load_state_dict(read_weights(shadows / str(place) / "weights.safetensors"))
        with torch.no_grad():
            own = nn.Sequential(*list(twin.children())[:4])(data.x[:8]).flatten(1)
        wanted.append(cosine_similarity(z, own, dim=1).mean())
    assert part.term is not None
    torch.testing.assert_close(part.term(batch), 3 * torch.stack(wanted).max())


def test_the_choice_follows_the_seed(shadows: Path) -> None:
    data = images(128).train
    (component,) = parse_components(f"ensembler({shadows},1)")
    chosen = set()
    for seed in range(6):
        setting = Setting(
            source=net(), classes=CLASSES, class_names=(), x=data.x[:8], rng=Rng(seed)
        )
        network, _ = begun([component], setting, "3")
        selection = network.get_submodule("ensemble").get_buffer("selection")
        chosen.add(int(selection.argmax()))
    assert len(chosen) > 1


def test_every_send_gets_the_same_tensor_at_the_stated_size() -> None:
    partition = run("fixed-noise(0.5)", net(), epochs=1).partition
    assert partition is not None
    release = partition.release
    assert isinstance(release, PooledNoise)
    x = images(128).probe.x
    z = partition.features(x).detach()
    one, two = release(z, Rng(1).torch()) - z, release(z, Rng(2).torch()) - z
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(one[0], one[5], rtol=1e-3, atol=1e-4)
    ratio = float(one.square().mean().sqrt() / z.square().mean().sqrt())
    assert ratio == pytest.approx(0.5, rel=0.5)
    other = run("fixed-noise(0.5)", net(), epochs=1, rng=Rng(1)).partition
    assert other is not None
    assert isinstance(other.release, PooledNoise)
    assert not torch.allclose(release.pool, other.release.pool, rtol=0.1)


def test_bodies_go_where_a_plain_sequence_goes_on() -> None:
    network = net()
    twin = net()
    put_bodies(network, "3", 2)
    x = images(128).probe.x
    torch.testing.assert_close(network(x), twin(x))
    for path, says in (
        ("3", "no module of a plain"),
        ("5", "no module"),
        ("nowhere.0", "no module"),
    ):
        with pytest.raises(BadModel, match=says):
            put_bodies(network, path, 2)
    with pytest.raises(BadModel, match="nothing follows"):
        put_bodies(net(), "5", 2)


def test_bad_input(shadows: Path, tmp_path: Path) -> None:
    with pytest.raises(BadPlan, match="holds 3 hardened networks and more than 3"):
        run(f"ensembler({shadows},3)", net())
    with pytest.raises(BadPlan, match="holds 0 hardened networks"):
        run(f"ensembler({tmp_path},1)", net())
    with pytest.raises(BadPlan, match="of the same shape"):
        run(f"ensembler({shadows},1)", net(channels=3))
    with pytest.raises(BadPlan, match="join no structure"):
        run(f"bottleneck(2)+ensembler({shadows},1)", net())
    with pytest.raises(BadPlan, match="acts on what crosses"):
        run(f"ensembler({shadows},1)", net(), cut=None)
    for seed in range(2):
        stored(run("bottleneck(2)", net(), epochs=1, rng=Rng(seed)), tmp_path / str(seed))
    with pytest.raises(BadPlan, match="a structure of its own"):
        run(f"ensembler({tmp_path},1)", net())
    with pytest.raises(BadPlan, match="chosen must be positive"):
        parse_components(f"ensembler({shadows},0)")
    with pytest.raises(BadPlan, match="sigma must be positive"):
        parse_components("fixed-noise(0)")


def test_a_transformer_has_no_sequence_behind_its_blocks(tmp_path: Path) -> None:
    loaded = load_model("vit")
    from safetensors.torch import save_file

    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        save_file(loaded.network.network.state_dict(), tmp_path / str(seed) / "weights.safetensors")
    x = torch.rand(4, 1, 32, 32, generator=Rng(0).torch())
    setting = Setting(source=loaded.network, classes=10, class_names=(), x=x, rng=Rng(0))
    with pytest.raises(BadPlan, match="not a step of the network's outermost sequence"):
        begun([Ensembler(str(tmp_path), 1)], setting, "blocks.0")
