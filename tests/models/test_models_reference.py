import hashlib
from importlib.resources import files

import pytest
import torch

from splitveil.data import load_data
from splitveil.models import check_accuracy, load_model
from splitveil.models.load import REFERENCES

WEIGHTS = files("splitveil.models").joinpath("weights")
PRESENT = list(REFERENCES)


def test_the_weights_are_small_together() -> None:
    sizes = [len(WEIGHTS.joinpath(f"{name}.safetensors").read_bytes()) for name in PRESENT]
    assert sum(sizes) <= 3_300_000


@pytest.mark.parametrize("name", PRESENT)
def test_reference_networks_know_the_bundled_test_images(name: str) -> None:
    data, loaded = load_data("demo"), load_model(name)
    assert data.test.y is not None
    accuracy = check_accuracy(loaded.network, data.test.x, data.test.y)
    assert accuracy.value >= 0.85
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert accuracy.n == 1000
    assert (loaded.channels, loaded.size, loaded.classes) == (1, 32, 10)
    assert loaded.reference
    assert not loaded.network.training


def test_vgg_is_the_default() -> None:
    assert load_model().digest == load_model("vgg").digest
    assert load_model(None).name == "vgg"


def test_weights_are_stored_in_half_and_used_in_single_precision() -> None:
    network = load_model("vgg").network
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_pixels_are_normalised_inside() -> None:
    loaded, x = load_model("vgg"), load_data("demo").test.x[:4]
    expected = loaded.network.network((x - loaded.mean[0]) / loaded.std[0])
    assert torch.allclose(loaded.network(x), expected, atol=1e-5)


def test_the_digest_sees_every_value_and_the_architecture() -> None:
    loaded = load_model("vgg")
    assert len(loaded.digest) == 64
    assert int(loaded.digest, 16) != int(hashlib.sha256(b"").hexdigest(), 16)
    digests = {
        loaded.digest,
        load_model("vgg", mean=(0.2,)).digest,
        load_model("vgg", classes=list("1023456789")).digest,
        load_model("resnet").digest,
    }
    assert len(digests) == 4


def test_reference_networks_are_traceable_whole() -> None:
    loaded, x = load_model("vgg"), torch.rand(2, 1, 32, 32)
    traced = torch.fx.symbolic_trace(loaded.network)
    assert torch.equal(traced(x), loaded.network(x))
