"""Train the honest networks of a shipped vetting panel and write their statistics.

Needs the Debian package dataset-fashion-mnist. Trains 39 small networks of one family on official
training images 0-49,999, measures each at the bundled test images, and writes numbers only. Weights
go to a folder of their own, and a run that was stopped goes on there.

    python scripts/vetting_panel.py plain --epochs 4 --weights FOLDER --out \
        src/splitveil/vetting/panels
    python scripts/vetting_panel.py residual --epochs 4 --weights THIRD --out ...
    python scripts/vetting_panel.py tokens --epochs 2 --weights FOURTH --out ...
    python scripts/vetting_panel.py embedding --epochs 3 --weights FIFTH --out ...

CPU minutes on one core: plain of four epochs 21, residual 28, tokens 25, embedding 34; 3 more to
measure each.
"""

import argparse
import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from splitveil.models import PixelModel
from splitveil.rng import Rng
from splitveil.vetting import Recipe, images_digest, null_from, small_network, train_shadow
from splitveil.vetting.against_shadows import measured
from splitveil.vetting.material import training_images
from splitveil.vetting.subject import images_of

HOW = (
    "{epochs} in batches of 128 on the official Fashion-MNIST training images 0-49,999, padded to "
    "32x32, by cross-entropy; learning rate, weight decay, smoothing, mirroring and width drawn"
)


def train(family: str, epochs: int, count: int, folder: Path) -> list[Path]:
    """Train what the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{family}-{number:02d}.safetensors" for number in range(count)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if not missing:
        return paths
    images = training_images("fashion-mnist", rng=Rng(0))
    for number in missing:
        stream = Rng(0, ("vetting panel", "null", family)).child("shadow", number)
        recipe = Recipe.drawn(epochs, stream)
        shadow = train_shadow(
            lambda drawn: small_network(family, 1, 10, drawn.width),
            images,
            recipe,
            stream,
            number=number,
        )
        state = {k: v.contiguous() for k, v in shadow.network.state_dict().items()}
        fresh = paths[number].with_suffix(".part")
        save_file(state, fresh, metadata={"width": str(recipe.width)})
        os.replace(fresh, paths[number])
        print(f"{paths[number].name}: {shadow.cpu_seconds:.1f} CPU s, {recipe}", flush=True)
    return paths


def load(family: str, path: Path) -> PixelModel:
    """A network of the panel, in eval mode."""
    with safe_open(path, "pt") as stored:
        width = float(stored.metadata()["width"])
    network = PixelModel(small_network(family, 1, 10, width))
    network.load_state_dict(load_file(path))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--count", type=int, default=39)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = train(options.family, options.epochs, options.count, options.weights)
    longer = options.epochs > 1
    images = images_of(None)
    rows = []
    for path in paths:
        found = measured(load(options.family, path), images)
        rows.append((found.statistics, found.accuracy.value))
        print(f"{path.name}: accuracy {found.accuracy.value:.3f}", flush=True)
    null = null_from(
        rows,
        images=images_digest(images),
        family=options.family,
        how=HOW.format(epochs=f"{options.epochs} epochs" if longer else "1 epoch"),
        command=f"python scripts/vetting_panel.py {options.family}"
        + (f" --epochs {options.epochs}" if longer else ""),
        seed=0,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"{options.family}-{options.epochs}" if longer else options.family
    place = options.out / f"{name}.json"
    place.write_text(json.dumps(null.to_json(), indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"networks": len(null), "accuracy": null.accuracy}))


if __name__ == "__main__":
    main()
