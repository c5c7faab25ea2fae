"""Train the bundled reference networks on Fashion-MNIST and write their weights.

Needs the Debian package dataset-fashion-mnist. Trains on official training images 0-49,999, so
that 50,000-59,999 stay unseen for the attacker, and prints top-1 accuracy on the official 10,000
test images after the weights were rounded for storage.

    python scripts/train_reference.py vgg --out src/splitveil/models/weights

CPU minutes on one core: vgg 6, resnet 10, ir 15, vit 20.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from splitveil.data.idx import read_idx
from splitveil.models import reference
from splitveil.rng import Rng
from splitveil.training import Epoch, Schedule, fit

PACKAGE = Path("/usr/share/datasets/fashion-mnist")
VICTIM_IMAGES = 50_000
SCHEDULES = {
    "vgg": Schedule(epochs=12, precision="bf16-mixed"),
    "resnet": Schedule(epochs=8, precision="bf16-mixed"),
    "ir": Schedule(epochs=5, precision="bf16-mixed"),
    "vit": Schedule(epochs=10, learning_rate=1.5e-3, weight_decay=0.02),
}


def load(part: str) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] padded from 28 to 32 with black, and labels."""
    images = torch.from_numpy(read_idx(PACKAGE / f"{part}-images-idx3-ubyte.gz").copy())
    labels = torch.from_numpy(read_idx(PACKAGE / f"{part}-labels-idx1-ubyte.gz").copy())
    return pad(images[:, None] / 255, (2, 2, 2, 2)), labels.long()


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images and shift each by up to two pixels."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    x = torch.where(mirrored, x.flip(-1), x)
    shift = torch.randint(0, 5, (len(x), 2), generator=generator)
    rows = shift[:, :1] + torch.arange(32)
    columns = shift[:, 1:] + torch.arange(32)
    padded = pad(x, (2, 2, 2, 2))
    batch = torch.arange(len(x))[:, None, None]
    return padded[batch, 0, rows[:, :, None], columns[:, None, :]][:, None]


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of images whose largest logit is at their label."""
    hits = [model(a).argmax(1).eq(b).sum() for a, b in zip(x.split(500), y.split(500), strict=True)]
    return float(sum(hits)) / len(y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(SCHEDULES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = Rng(arguments.seed, ("reference", arguments.name))
    (x, y), (x_test, y_test) = load("train"), load("t10k")
    x, y = x[:VICTIM_IMAGES], y[:VICTIM_IMAGES]
    mean, std = float(x.mean()), float(x.std())
    with rng.child("init").as_global():
        model: nn.Module = getattr(reference, arguments.name)()
    if arguments.name != "vit":
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(module: nn.Module, indices: Tensor, generator: torch.Generator) -> Tensor:
        images = (augment(x[indices], generator) - mean) / std
        return cross_entropy(module(images), y[indices])

    def report(epoch: Epoch) -> None:
        print(
            f"{arguments.name} {epoch.number}/{epoch.of} loss {epoch.loss:.4f}",
            flush=True,
        )

    began = time.process_time()
    fit(model, loss, size=len(x), schedule=SCHEDULES[arguments.name], rng=rng, on_epoch=report)
    state = {
        key: (value.half() if value.ndim >= 2 else value).contiguous()
        for key, value in model.state_dict().items()
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.name}.safetensors"
    described = {"mean": f"{mean:.6f}", "std": f"{std:.6f}", "classes": "10", "channels": "1"}
    save_file(state, path, metadata=described)
    model.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    )
    top1 = accuracy(model.eval(), (x_test - mean) / std, y_test)
    minutes = (time.process_time() - began) / 60
    print(
        json.dumps(
            {
                "name": arguments.name,
                "top1": top1,
                "bytes": path.stat().st_size,
                "cpu_minutes": round(minutes, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
