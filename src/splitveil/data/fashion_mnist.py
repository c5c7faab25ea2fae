"""Fashion-MNIST: the bundled subset, and the full set where the Debian package is installed."""

from importlib.resources import files
from pathlib import Path

import numpy as np

from splitveil.data.idx import read_idx
from splitveil.data.pixels import RawImages
from splitveil.errors import BadData

PACKAGE = Path("/usr/share/datasets/fashion-mnist")
HELD_OUT_FROM = 50_000
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
LICENCE = "MIT, Copyright 2017 Zalando SE"
VALIDATION = 2000


def read_bundled() -> dict[str, RawImages]:
    """The bundled 2,000 auxiliary, 500 validation and 1,000 test images, by split."""
    with files("splitveil.data").joinpath("bundled/fashion_mnist.npz").open("rb") as stream:
        stored = np.load(stream, allow_pickle=False)
        return {
            split: RawImages(
                stored[f"{split}_images"][..., None],
                stored[f"{split}_labels"].astype(np.int64),
                stored[f"{split}_index"].astype(np.int64),
            )
            for split in ("auxiliary", "validation", "test")
        }


def read_installed(folder: Path = PACKAGE) -> dict[str, RawImages]:
    """The full set: held-out training images 50,000-59,999, then 2,000 and 8,000 test images.

    Raises:
        BadData: if the Debian package is not installed.
    """
    _require(folder)
    whole = {}
    for part in ("train", "t10k"):
        images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")[..., None]
        labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz").astype(np.int64)
        whole[part] = RawImages(images, labels, np.arange(len(images)))
    return {
        "auxiliary": whole["train"].take(slice(HELD_OUT_FROM, None)),
        "validation": whole["t10k"].take(slice(0, VALIDATION)),
        "test": whole["t10k"].take(slice(VALIDATION, None)),
    }


def read_training(folder: Path = PACKAGE) -> RawImages:
    """The official training images 0-49,999, on which the reference networks were trained.

    Raises:
        BadData: if the Debian package is not installed.
    """
    _require(folder)
    images = read_idx(folder / "train-images-idx3-ubyte.gz")[:HELD_OUT_FROM, ..., None]
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")[:HELD_OUT_FROM].astype(np.int64)
    return RawImages(images, labels, np.arange(HELD_OUT_FROM))


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise BadData(
            f"'fashion-mnist' needs the files of the Debian package in {folder}: run 'apt-get "
            "install dataset-fashion-mnist', or give the folder that holds the IDX files"
        )
