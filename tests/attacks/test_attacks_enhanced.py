"""The enhanced decoders: shapes, independence of rows, and that each learns."""

from dataclasses import replace

import pytest
import torch
from attack_problems import Problem, partition_of
from torch import nn

from splitveil.attacks import EnhancedDecoder, EnhancedRepresentation, InverseResidual
from splitveil.attacks.inverse_network import InverseNetwork
from splitveil.errors import BadInput, BadPlan
from splitveil.nets.ends import Ends
from splitveil.nets.representation import REPRESENTATIONS, Spectrum
from splitveil.nets.staged_inverter import StagedInverter
from splitveil.rng import Rng
from splitveil.threat import Observation

ENHANCED: tuple[InverseNetwork, ...] = (
    EnhancedDecoder(width=8),
    *(EnhancedRepresentation(width=8, representation=name) for name in ("dropout", "spectrum")),
    *(InverseResidual(width=8, depth=d, representation="expansion") for d in (1, 2)),
    InverseResidual(width=8, depth=1, representation="bottleneck"),
)
ENDS = (
    Ends((6, 2, 2), (3, 16, 16), 2, 3),
    Ends((4, 8, 8), (1, 8, 8), 1, 2),
    Ends((4, 32, 32), (1, 16, 16), 1, 2),
    Ends((5, 3, 3), (2, 13, 11), 2, 2),
    Ends((40,), (1, 18, 18), 2, 4),
    Ends((24, 1, 1), (3, 9, 9), 1, 2),
)


@pytest.mark.parametrize("attack", ENHANCED, ids=repr)
@pytest.mark.parametrize("ends", ENDS, ids=str)
def test_starts_as_no_correction_and_treats_each_row_by_itself(
    attack: InverseNetwork, ends: Ends
) -> None:
    with Rng(0).as_global():
        net = attack.network(ends).eval()
    g = torch.Generator().manual_seed(1)
    z = torch.randn(3, *ends.features, generator=g)
    guesses = torch.randn(3, ends.guesses * ends.target[0], *ends.target[1:], generator=g)
    rows = torch.tensor([0, 1, 1])
    assert torch.equal(net(z, guesses, rows), torch.zeros(3, *ends.target))
    assert isinstance(net, StagedInverter)
    with Rng(2).as_global():
        nn.init.normal_(net.out[1].weight)  # type: ignore[arg-type]
    together = net(z, guesses, rows)
    apart = torch.cat([net(z[i : i + 1], guesses[i : i + 1], rows[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(apart, together, atol=1e-4, rtol=1e-4)
    net(z, guesses, rows).square().sum().backward()
    unused = [name for name, p in net.named_parameters() if p.grad is None]
    assert unused == []


@pytest.mark.parametrize("name", sorted(REPRESENTATIONS))
@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_representations_keep_the_grid_and_declare_their_channels(
    name: str, size: tuple[int, int]
) -> None:
    with Rng(0).as_global():
        module = REPRESENTATIONS[name](6, size[0] * size[1]).eval()
    assert module(torch.randn(2, 6, *size)).shape == (2, module.channels, *size)


def test_the_spectrum_is_that_of_a_plane_wave() -> None:
    """All power of a cosine lies at its frequency and the mirrored one."""
    wave = torch.cos(2 * torch.pi * 2 * torch.arange(8) / 8).expand(1, 1, 8, 8)
    seen = Spectrum(1, 64)(wave)[0, 1]
    assert seen.flatten().topk(2).indices.tolist() in ([2, 6], [6, 2])
    assert float(seen.mean()) == pytest.approx(0, abs=1e-5)
    assert float(seen.square().mean()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("attack", [ENHANCED[0], ENHANCED[1], ENHANCED[3]], ids=repr)
def test_each_learns(image_problem: Problem, attack: InverseNetwork) -> None:
    recipe = replace(attack, start="mean", epochs=8, batch=32, learning_rate=5e-3)
    fitted = recipe.fit(image_problem.knowledge(), Rng(0))
    layout = image_problem.partition.cut.layout
    guess = fitted(Observation(image_problem.z_test, layout, image_problem.y_test), Rng(0))
    error = float((guess - image_problem.x_test).square().mean())
    assert error < 0.5 * float(image_problem.x_test.var(0).mean())


def test_bad_input() -> None:
    x, y = torch.rand(30, 4), torch.zeros(30, dtype=torch.int64)
    problem = Problem(partition_of(nn.Linear(4, 6), (6,)), x, y, x, y)
    for attack in (ENHANCED[0], ENHANCED[1], ENHANCED[3]):
        with pytest.raises(BadInput, match="rebuilds images"):
            attack.fit(problem.knowledge(), Rng(0))
        with pytest.raises(BadPlan, match="width"):
            replace(attack, width=0)  # type: ignore[call-arg]
    for kind in (EnhancedRepresentation, InverseResidual):
        with pytest.raises(BadPlan, match="representation"):
            kind(representation="hologram")
    with pytest.raises(BadPlan, match="representation"):
        EnhancedRepresentation(representation="plain")
