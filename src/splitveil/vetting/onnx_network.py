"""A network in an ONNX file, run by ONNX Runtime; loading it runs no code of its maker."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splitveil.errors import BadModel, BadPlan, UnknownName
from splitveil.naming import one_line


class OnnxNetwork(nn.Module):
    """Images in [0, 1] to one of an ONNX graph's results; passes no gradient.

    Args:
        path: the file; its graph has one input of images (n, c, h, w).
        mean: subtracted from the pixels first, one value or one a channel.
        std: what they are divided by then.
        output: name of the class scores where the graph has several results.
        tensor: name of a tensor inside the graph to give instead, flat.

    Raises:
        BadPlan: if ONNX Runtime is not installed.
        BadModel: if the file is missing or cannot be run.
        UnknownName: if there is no such result or tensor.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        path: Path,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        output: str | None = None,
        tensor: str | None = None,
    ) -> None:
        nn.Module.__init__(self)
        if not all(value > 0 for value in std):
            raise BadModel(f"standard deviations must be positive, got {list(std)}")
        if not path.is_file():
            raise BadModel(f"{path} does not exist: check the path")
        self.register_buffer("mean", torch.tensor(tuple(mean)).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std)).reshape(1, -1, 1, 1))
        self.session = _session(path, tensor)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()
        names = [result.name for result in self.session.get_outputs()]
        wanted = tensor or output or (names[0] if len(names) == 1 else None)
        if wanted is None:
            raise BadModel(f"{path} gives {', '.join(names)}: choose the class scores with output=")
        if wanted not in names:
            raise UnknownName(f"result of {path.name}", wanted, names)
        self.wanted, self.flat = wanted, tensor is not None
        first = self.session.get_inputs()[0]
        self.given = first.name
        fixed = first.shape[0] if first.shape else None
        self.batch = fixed if isinstance(fixed, int) else None

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, c, h, w) to scores (n, k), or to features (n, f)."""
        pixels = ((x - self.mean) / self.std).detach().float().numpy()
        step = self.batch or len(pixels)
        try:
            parts = [
                torch.from_numpy(
                    self.session.run([self.wanted], {self.given: pixels[i : i + step]})[0]
                )
                for i in range(0, len(pixels), step)
            ]
        except Exception as failure:
            raise BadModel(
                f"ONNX Runtime fails on images of shape {tuple(x.shape[1:])} "
                f"({one_line(failure)}): give the size= and channels= that the model takes"
            ) from failure
        found = torch.cat(parts)
        return found.flatten(1).float() if self.flat else found


def _session(path: Path, tensor: str | None) -> Any:
    try:
        import onnx
        import onnxruntime
    except ImportError as missing:
        raise BadPlan("ONNX files need the extra: pip install 'splitveil[onnx]'") from missing
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        source: str | bytes = str(path)
        if tensor is not None:
            graph = onnx.load(str(path))
            known = {name for node in graph.graph.node for name in node.output}
            if tensor not in known:
                raise UnknownName(f"tensor in {path.name}", tensor, known)
            if tensor not in {result.name for result in graph.graph.output}:
                graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
            source = graph.SerializeToString()
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except UnknownName:
        raise
    except Exception as failure:
        raise BadModel(f"cannot read {path} ({one_line(failure)}): export it again") from failure
