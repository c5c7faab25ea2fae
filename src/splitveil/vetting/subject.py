"""From names and files to a network, its images, and the honest networks to set beside it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splitveil import __version__
from splitveil.audit.plan import AuditPlan, DataSettings, ModelSettings
from splitveil.audit.subject import load_model_and_data
from splitveil.data import LabelledImages, Splits, SplitSizes, load_data
from splitveil.errors import BadData, BadPlan
from splitveil.models import check_accuracy, class_order_hint
from splitveil.naming import is_reference
from splitveil.rng import Rng
from splitveil.storage import storing, write_whole
from splitveil.vetting.against_shadows import MOST_IMAGES, shadow_maker, shadow_null, vet
from splitveil.vetting.material import training_images
from splitveil.vetting.null import Null, shipped_null
from splitveil.vetting.onnx_network import OnnxNetwork
from splitveil.vetting.panel_nets import build_panel

_DEMO = ("demo", None)
_ALIKE = {"ir": "embedding", "resnet": "residual", "vgg": "plain", "vit": "tokens"}
_SHADOWS = 39
_PANEL_IMAGES = 25_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A network to be vetted, and the labelled images to do it with.

    `features` is what crosses at the cut where only ONNX Runtime knows it; `demo` says that the
    images are the bundled ones.
    """

    name: str
    digest: str
    network: nn.Module
    splits: Splits
    images: LabelledImages
    seed: int
    reference: bool
    demo: bool
    cut: str | None
    features: Tensor | None
    source: str | None
    notes: tuple[str, ...]

    @property
    def classes(self) -> int:
        """Of the data."""
        return len(self.splits.class_names) or int(_labels(self.images).max()) + 1


def load_subject(
    model: str | None,
    *,
    data: str | None = None,
    cut: str | None = None,
    weights: str | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    output: str | None = None,
    classes: Sequence[str] = (),
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
) -> Subject:
    """Load a PyTorch model or an ONNX file, and up to 1,000 test images of the data.

    Raises:
        BadInput: one line with what is wrong and what to do.
    """
    if model is not None and model.endswith(".onnx"):
        splits = load_data(
            data,
            size=size,
            channels=channels,
            limits=None if data in _DEMO else SplitSizes(),
            rng=Rng(seed).child("data"),
        )
        return _onnx(Path(model), splits, data, cut, mean, std, output, seed)
    loaded, splits = load_model_and_data(
        AuditPlan(
            model=ModelSettings(
                name=model,
                weights=weights,
                mean=tuple(mean),
                std=tuple(std),
                output=output,
                classes=tuple(classes),
            ),
            data=DataSettings(source=data, size=size, channels=channels),
            seed=seed,
        )
    )
    images = _tested(splits, seed)
    notes = [*loaded.notes, *_working(loaded.network, images, splits.class_names)]
    return Subject(
        name=loaded.name,
        digest=loaded.digest,
        network=loaded.network,
        splits=splits,
        images=images,
        seed=seed,
        reference=loaded.reference,
        demo=data in _DEMO,
        cut=cut,
        features=None,
        source=data,
        notes=tuple(notes),
    )


def _onnx(
    path: Path,
    splits: Splits,
    source: str | None,
    cut: str | None,
    mean: Sequence[float],
    std: Sequence[float],
    output: str | None,
    seed: int,
) -> Subject:
    given: dict[str, Any] = {"mean": tuple(mean) or (0.0,), "std": tuple(std) or (1.0,)}
    network = OnnxNetwork(path, output=output, **given)
    images = _tested(splits, seed)
    features = None
    if cut is not None:
        inside = OnnxNetwork(path, tensor=cut, **given)
        features = torch.cat([inside(x) for x in images.x.split(250)])
    note = "An ONNX file passes no gradient and shows no layer: T1, T1b and T4 are not available."
    return Subject(
        name=path.name,
        digest=network.digest,
        network=network,
        splits=splits,
        images=images,
        seed=seed,
        reference=False,
        demo=source in _DEMO,
        cut=cut,
        features=features,
        source=source,
        notes=(note, *_working(network, images, splits.class_names)),
    )


def images_of(
    source: str | None, *, size: int | None = None, channels: int | None = None, seed: int = 0
) -> LabelledImages:
    """Up to 1,000 labelled test images of a source, the same for the same seed.

    Raises:
        BadData: if there are no labels, or the source cannot be read.
    """
    limits = None if source in _DEMO else SplitSizes()
    rng = Rng(seed).child("data")
    return _tested(load_data(source, size=size, channels=channels, limits=limits, rng=rng), seed)


def _tested(splits: Splits, seed: int) -> LabelledImages:
    images = splits.test
    _labels(images)
    if len(images) <= MOST_IMAGES:
        return images
    order = torch.randperm(len(images), generator=Rng(seed).child("vetted images").torch())
    return images.take(order[:MOST_IMAGES].sort().values)


def _labels(images: LabelledImages) -> Tensor:
    if images.y is None:
        raise BadData(
            "vetting compares images of one class: these have no labels; give one subfolder a "
            "class, or an .npz with x and y"
        )
    return images.y


def _working(network: nn.Module, images: LabelledImages, names: Sequence[str]) -> list[str]:
    """Refuse a network near chance; a sentence where another class order would fit better."""
    labels = _labels(images)
    with torch.no_grad():
        outputs = network(images.x[:2])
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or outputs.shape[1] < 2:
        return []
    check_accuracy(network, images.x, labels, class_names=names)
    hint = class_order_hint(network, images.x, labels, class_names=names)
    return [] if hint is None else [hint]


def null_for(
    subject: Subject,
    *,
    null: Path | None = None,
    shadows: int | None = None,
    build: str | None = None,
    epochs: int = 10,
    shadow_data: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Null:
    """The honest networks: those of a file, the shipped ones, or as many as asked for, trained now.

    Shipped ones serve the bundled networks at the bundled images' outputs alone.

    Raises:
        BadData: if a file holds no null, or images to train on lack labels.
        BadPlan: if shadows cannot have the cut asked for, or training diverges.
        BadModel: if a factory of shadows fails.
    """
    if null is not None:
        return _read_null(null)
    asked = shadows is not None or build is not None or shadow_data is not None
    if subject.reference and subject.demo and subject.cut is None and not asked:
        found = shipped_null(subject.name)
        if found is not None:
            return found
    chosen = build or _build_of(subject)
    if subject.cut is not None and chosen not in (*_ALIKE, subject.name):
        raise BadPlan(
            f"honest networks of build '{chosen}' have no cut '{subject.cut}' to compare: choose "
            "with --build a network that has"
        )
    shape = subject.images.x.shape
    training = training_images(
        shadow_data or subject.source,
        rng=Rng(subject.seed).child("data"),
        size=shape[2] if shape[2] == shape[3] else None,
        channels=shape[1],
    )
    count = _SHADOWS if shadows is None else shadows
    say(f"Training {count} honest networks ({chosen}), {epochs} epochs on {len(training)} images.")
    return shadow_null(
        shadow_maker(chosen, channels=shape[1], classes=subject.classes),
        training,
        subject.images,
        family=chosen,
        count=count,
        epochs=epochs,
        cut=subject.cut,
        seed=subject.seed,
        say=lambda shadow, found: say(
            f"{shadow.number + 1}/{count}: accuracy {found.accuracy.value:.3f}, T3 "
            f"{found.statistics['linear_probe'].value:.3f}, {shadow.cpu_seconds:.1f} CPU s"
        ),
    )


def _build_of(subject: Subject) -> str:
    if is_reference(subject.name) and not subject.name.startswith(("timm:", "torchvision:")):
        return subject.name
    if subject.name in _ALIKE:
        return _ALIKE[subject.name] if subject.cut is None else subject.name
    return "plain"


def _read_null(path: Path) -> Null:
    file = path / "null.json" if path.is_dir() else path
    try:
        return Null.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise BadData(f"cannot read the honest networks of {file}: {error}") from error


def vet_subject(
    subject: Subject, null: Null, folder: Path, *, level: float = 0.05
) -> dict[str, Any]:
    """Vet, and write vet.json and null.json into a folder; the record comes back.

    Raises:
        BadInput: as `vet`.
        StorageFailed: if the folder cannot be written.
    """
    vetting, notes = vet(
        subject.network,
        subject.images,
        null,
        cut=subject.cut,
        features=subject.features,
        level=level,
    )
    record = {
        "splitveil": __version__,
        "model": {"name": subject.name, "digest": subject.digest},
        "data": {
            "name": subject.splits.name,
            "digest": subject.splits.digest,
            "images": len(subject.images),
            "classes": subject.classes,
        },
        "cut": subject.cut or "",
        **vetting.to_json(),
        "notes": list(dict.fromkeys((*subject.notes, *notes))),
    }
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("vet.json", record), ("null.json", null.to_json())):
        write_whole(folder / name, (json.dumps(content, indent=1) + "\n").encode())
    return record


def build_panel_from(
    folder: Path,
    source: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """`build_panel` on at most 25,000 images of a source.

    Raises:
        BadInput: as `build_panel`.
    """
    training = training_images(
        source, size=size, channels=channels, limit=_PANEL_IMAGES, rng=Rng(seed).child("data")
    )
    validation = load_data(
        "demo" if source == "fashion-mnist" else source,
        size=size,
        channels=channels,
        rng=Rng(seed).child("data"),
    ).validation
    build_panel(folder, training, validation, rng=Rng(seed, ("vetting panel",)), say=say)
