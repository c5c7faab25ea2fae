"""An ONNX file is vetted without its layers and gradients."""

from pathlib import Path

import onnx
import pytest
import torch
from vetting_toys import CLASSES, Tiny, pictures

from splitveil.errors import BadModel, UnknownName
from splitveil.rng import Rng
from splitveil.vetting import OnnxNetwork, look, measure


def write(path: Path, network: Tiny, *, batch: int | str = "n") -> Path:
    make = onnx.helper
    weight, bias = (p.detach().numpy() for p in network.classifier.parameters())
    graph = make.make_graph(
        [
            make.make_node("Flatten", ["pixels"], ["flat"]),
            make.make_node("Gemm", ["flat", "w", "b"], ["scores"], transB=1),
            make.make_node("Softmax", ["scores"], ["shares"]),
        ],
        "tiny",
        [make.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [batch, 1, 16, 16])],
        [
            make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, CLASSES])
            for name in ("scores", "shares")
        ],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("batch", ["n", 1])
def test_it_answers_as_the_network_it_was_made_of(tmp_path: Path, batch: int | str) -> None:
    network, images = Tiny(), pictures(60)
    path = write(tmp_path / "tiny.onnx", network, batch=batch)
    stored = OnnxNetwork(path, mean=(0.2,), std=(0.5,), output="scores")
    assert torch.allclose(stored(images.x), network((images.x - 0.2) / 0.5), atol=1e-4)
    answers, notes = look(stored, images)
    assert len(notes) == 2
    assert set(measure(answers, Rng(0))) == {
        "effective_rank",
        "kernel_probe",
        "linear_probe",
        "spread",
    }
    inside = OnnxNetwork(path, tensor="flat")
    assert torch.equal(inside(images.x), images.x.flatten(1))
    seen, _ = look(stored, images, features=inside(images.x))
    assert seen.sent.shape == (60, 256)


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "tiny.onnx", Tiny())
    with pytest.raises(BadModel, match="scores, shares"):
        OnnxNetwork(path)
    with pytest.raises(UnknownName, match="score"):
        OnnxNetwork(path, output="score")
    with pytest.raises(UnknownName, match="tensor"):
        OnnxNetwork(path, tensor="fla")
    with pytest.raises(BadModel, match="does not exist"):
        OnnxNetwork(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(BadModel, match="cannot read"):
        OnnxNetwork(tmp_path / "bad.onnx")
    with pytest.raises(BadModel, match="size="):
        OnnxNetwork(path, output="scores")(torch.rand(2, 1, 8, 8, generator=Rng(0).torch()))
