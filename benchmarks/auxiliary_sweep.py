"""What the attacker's own images are worth: how many, and how like the private ones.

    python benchmarks/auxiliary_sweep.py [--images 32 128 512 4096] [--cut pool3] [--steps 120]

About 3 CPU minutes as it stands (declared; `--images 32 128` takes one). At one cut of a reference
network, attacks the same 300 test images of Fashion-MNIST (the installed package) with auxiliary
images that are

- same: other images of the same data set;
- shifted: those through another camera, turned 8 degrees, darker, with less contrast;
- other: grey crops of the photographs in scikit-image, of 1 to 8 times the size.

Labels are not known, as other images have none that fit. Attacks: mean image, `PatchRidge`,
`Ridge`, and `SmallDecoder` on top of both, the same number of training steps at every size. Every
result is a line of `--out` and is not done again after a kill. Prints a table of squared errors per
value, and for each kind of images how far from saturation the decoder is (`scaling_fit`).
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import color, data
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from splitveil.attacks import MeanImage, SmallDecoder
from splitveil.attacks.groundwork import Groundwork
from splitveil.attacks.scaling import scaling_fit
from splitveil.data import load_data
from splitveil.measures import log_ratio, mse_per_image
from splitveil.models import load_model
from splitveil.partition import Partition, trace
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Observation, white_box

TESTED = 300
BATCH = 64
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "moon", "page", "rocket")
KINDS = ("same", "shifted", "other")


def shifted(x: Tensor) -> Tensor:
    """The same scenes through another camera."""
    angle = math.radians(8)
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0.06], [math.sin(angle), math.cos(angle), -0.06]]
    )
    grid = affine_grid(turn.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return (0.1 + 0.7 * grid_sample(x, grid, align_corners=False)).clamp(0, 1)


def crops(count: int, side: int, rng: Rng) -> Tensor:
    """Grey squares of photographs, of 1 to 8 times the side, scaled to it."""
    generator = rng.numpy()
    pictures = []
    for name in PHOTOGRAPHS:
        array = np.asarray(getattr(data, name)())
        grey = color.rgb2gray(array[..., :3]) if array.ndim == 3 else array / 255
        pictures.append(torch.from_numpy(np.asarray(grey, dtype=np.float32)))
    found = []
    for index in range(count):
        picture = pictures[index % len(pictures)]
        size = int(generator.integers(side, min(8 * side, *picture.shape)))
        top, left = (int(generator.integers(0, extent - size)) for extent in picture.shape)
        part = picture[None, None, top : top + size, left : left + size]
        found.append(interpolate(part, (side, side), mode="area"))
    return torch.cat(found).clamp(0, 1)


def one(
    partition: Partition, auxiliary: Tensor, x: Tensor, z: Tensor, steps: int
) -> dict[str, list[float]]:
    """Squared error per value of every attack with these auxiliary images, image by image."""
    n = len(auxiliary)
    batch = min(BATCH, n // 2)
    knowledge = white_box(partition, Auxiliary(auxiliary), knows_label=False)
    decoder = SmallDecoder(batch=batch, epochs=max(1, round(steps * batch / (n * 5 / 6))))
    laid = Groundwork.lay(decoder, knowledge, decoder.ground, Rng(0))
    fitted: dict[str, Any] = {
        "MeanImage": MeanImage().fit(knowledge, Rng(0)),
        **laid.inversions,
        "SmallDecoder": decoder.learn(laid, knowledge, Rng(0)),
    }
    seen = Observation(z[:, None], partition.cut.layout)
    made = {name: attack(seen, Rng(1)) for name, attack in fitted.items()}
    return {name: mse_per_image(guess, x).tolist() for name, guess in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, nargs="+", default=[32, 128, 512, 4096])
    parser.add_argument("--network", default="vgg")
    parser.add_argument("--cut", default="pool3")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument(
        "--out", type=Path, default=Path(tempfile.gettempdir()) / "auxiliary_sweep.jsonl"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = load_data("fashion-mnist", size=32, channels=1, classes=None, rng=Rng(0))
    x = splits.test.x[:TESTED]
    traced = trace(load_model(options.network).network, x[:2])
    partition = traced.split(traced.cut(options.cut))
    with torch.no_grad():
        z = partition.transmit(x, Rng(1))
    sources = {
        "same": splits.auxiliary.x,
        "shifted": shifted(splits.auxiliary.x),
        "other": crops(max(options.images), 32, Rng(2)),
    }
    done: dict[tuple[Any, ...], dict[str, Any]] = {}
    if options.out.exists():
        for line in options.out.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            done[tuple(row["key"])] = row
    for count in options.images:
        for kind in KINDS:
            key = (options.network, options.cut, options.steps, kind, count)
            if key in done:
                continue
            began = time.process_time()
            errors = one(partition, sources[kind][:count], x, z, options.steps)
            spent = round(time.process_time() - began, 1)
            done[key] = {"key": key, "errors": errors, "cpu_s": spent}
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[key]) + "\n")
            print(kind, count, f"{spent} CPU s", flush=True)
    prefix = (options.network, options.cut, options.steps)
    print("| images | attack | " + " | ".join(KINDS) + " |\n|---|---|---|---|---|")
    for count in options.images:
        for name in done[(*prefix, "same", count)]["errors"]:
            cells = [f"{np.mean(done[(*prefix, k, count)]['errors'][name]):.4f}" for k in KINDS]
            print(f"| {count} | {name} | " + " | ".join(cells) + " |")
    if len(options.images) >= 3:
        for kind in KINDS:
            every = [done[(*prefix, kind, n)]["errors"]["SmallDecoder"] for n in options.images]
            means = [float(np.mean(errors)) for errors in every]
            print(kind, scaling_fit([float(n) for n in options.images], means, Rng(3)), sep=": ")

    def ratio(kind: str, count: int, other: str, of: int, name: str = "SmallDecoder") -> str:
        """The decoder's error over another, paired by image."""
        top = torch.tensor(done[(*prefix, kind, count)]["errors"]["SmallDecoder"]).double()
        below = torch.tensor(done[(*prefix, other, of)]["errors"][name]).double()
        found = log_ratio(top, below, Rng(4))
        value, low, high = (math.exp(each) for each in (found.value, found.low, found.high))
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    few, many = min(options.images), max(options.images)
    print("S1, most over fewest, same:", ratio("same", many, "same", few))
    print("S2, shifted over same:", ratio("shifted", many, "same", many))
    print("S3, other over same:", ratio("other", many, "same", many))
    print("S3, other over the mean image:", ratio("other", many, "same", many, "MeanImage"))


if __name__ == "__main__":
    main()
