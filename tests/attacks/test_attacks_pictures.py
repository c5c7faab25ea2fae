"""Attacks without a decoder on real victims at three depths, with pictures to look at.

    pytest -m slow tests/attacks/test_attacks_pictures.py

`SPLITVEIL_PICTURES=FOLDER` keeps the pictures. No picture or weight is part of the repository.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from pictured_nets import (
    cartoons,
    draw,
    face_network,
    faces,
    identity_network,
    imagenet,
    other_faces,
    photographs,
)
from torch import Tensor, nn

from splitveil.attacks import DeepImagePrior, Likelihood
from splitveil.attacks.base import Attack
from splitveil.attacks.peel import Peel
from splitveil.errors import BadModel
from splitveil.measures import efficientnet_lite0
from splitveil.partition import trace
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box

pytestmark = pytest.mark.slow


def _search(weight: float, steps: int) -> Likelihood:
    return Likelihood(prior="variation", weight=weight, restarts=1, steps=steps, tuning=0)


def _attacked(
    network: nn.Module,
    depths: Sequence[str],
    x: Tensor,
    auxiliary: Tensor,
    attacks: Mapping[str, tuple[Attack, int]],
) -> dict[str, dict[str, Tensor]]:
    """What each attack makes, at each depth, of the first so many images."""
    traced = trace(network, x[:2])
    found: dict[str, dict[str, Tensor]] = {}
    for depth in depths:
        partition = traced.split(traced.cut(depth))
        knowledge = white_box(partition, Auxiliary(auxiliary))
        z = partition.transmit(x, Rng(0)).detach()[:, None]
        found[depth] = {}
        for name, (attack, count) in attacks.items():
            seen = Observation(z[:count], partition.cut.layout)
            made = attack.fit(knowledge, Rng(0))(seen, Rng(1)).clamp(0, 1)
            found[depth][name] = made
    return found


def _error(made: Tensor, x: Tensor) -> float:
    return float((made - x[: len(made)]).square().mean())


def _rows(x: Tensor, found: Mapping[str, Mapping[str, Tensor]], shown: int) -> dict[str, Tensor]:
    """The originals, then each depth's and attack's reconstructions with their mean error."""
    rows = {"original": x[:shown]}
    for depth, made in found.items():
        for name, images in made.items():
            error = f"MSE {_error(images, x):.1e}, {len(images)} images"
            rows[f"{depth}\n{name}\n{error}"] = images[:shown]
    return rows


def test_efficientnet_on_photographs(tmp_path: Path) -> None:
    """20 photographs of ImageNet's size: shallow cuts show them to the eye and to the network."""
    try:
        network = efficientnet_lite0().get_submodule("network")
    except BadModel as missing:
        pytest.skip(str(missing))
    x, _ = imagenet()
    depths = ("_blocks.0", "_blocks.2", "_blocks.4")
    attacks: dict[str, tuple[Attack, int]] = {
        "total variation": (_search(1.0, 50), 20),
        "deep image prior": (DeepImagePrior(steps=80), 2),
    }
    found = _attacked(network, depths, x, photographs(8, 224), attacks)
    # behind the first block there are 1.33 outputs a pixel value, behind the others fewer than one
    exact = {"PEEL": (Peel(starts=1, outer=10, inner=20), 1)}
    found[depths[0]] |= _attacked(network, depths[:1], x, x[:2], exact)[depths[0]]
    draw(_rows(x, found, 8), tmp_path / "efficientnet.png")
    grey = float((x - 0.5).square().mean())
    errors = [_error(found[depth]["total variation"], x) for depth in depths]
    assert errors == sorted(errors)
    assert errors[-1] < 0.5 * grey
    assert _error(found[depths[0]]["PEEL"], x) < 1e-3
    with torch.no_grad():
        named = network(x).argmax(1)
        same = [
            int((network(found[depth]["total variation"]).argmax(1) == named).sum())
            for depth in depths
        ]
    assert same[0] >= 15


def test_face_network_on_chips(tmp_path: Path) -> None:
    """dlib's residual network: ReLU after each sum, and a stem that keeps 2.5 outputs a value."""
    network = face_network()
    x = faces()
    with torch.no_grad():
        own = network(x)
        mirrored = network(x.flip(3))
    # the port is right: a face is nearer its mirror image than any other, below dlib's 0.6
    distances = torch.cdist(own, mirrored)
    assert float(distances.diagonal()[0]) < 0.6
    assert torch.equal(distances.argmin(1), torch.arange(len(x)))
    depths = ("relu", "conv32_2", "conv64_1")
    attacks: dict[str, tuple[Attack, int]] = {
        "total variation": (_search(1.0, 100), 4),
        "deep image prior": (DeepImagePrior(steps=100), 2),
        "PEEL": (Peel(starts=1, outer=10, inner=20), 1),
    }
    found = _attacked(network, depths, x, other_faces(16), attacks)
    draw(_rows(x, found, 4), tmp_path / "face-network.png")
    with torch.no_grad():
        moved = {
            depth: [float((network(made)[0] - own[0]).norm()) for made in by.values()]
            for depth, by in found.items()
        }
    assert _error(found[depths[0]]["PEEL"], x) < 1e-4
    assert min(moved[depths[0]]) < 0.3
    errors = [_error(found[depth]["total variation"], x) for depth in depths]
    assert errors[0] < errors[-1]


def test_identity_network_on_cartoon_faces(tmp_path: Path) -> None:
    """An IR network trained to tell cartoon persons apart; its first stage hides nothing."""
    x, y = cartoons()
    order = torch.randperm(len(x), generator=Rng(0).torch())
    training, test = order[:-64], order[-64:]
    network = identity_network(x[training], y[training], epochs=6)
    with torch.no_grad():
        named = float((network(x[test]).argmax(1) == y[test]).float().mean())
    assert named > 0.5
    private = x[test[:4]]
    depths = ("prelu", "stage1.unit2", "stage3.unit2")
    attacks: dict[str, tuple[Attack, int]] = {
        "total variation": (_search(0.3, 300), 4),
        "deep image prior": (DeepImagePrior(steps=300), 4),
        "PEEL": (Peel(starts=1), 4),
    }
    found = _attacked(network, depths, private, x[training[:64]], attacks)
    draw(_rows(private, found, 4), tmp_path / "cartoon-faces.png")
    assert _error(found["prelu"]["PEEL"], private) < 1e-8
    assert _error(found["stage1.unit2"]["PEEL"], private) < 1e-4
    errors = [_error(found[depth]["total variation"], private) for depth in depths]
    assert errors[0] < errors[-1]
    spread = float(private.var(0).mean())
    assert errors[0] < 0.2 * spread
