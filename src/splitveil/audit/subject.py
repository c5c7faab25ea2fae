"""What is audited: a traced model and three splits of images, loaded once a process."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from splitveil.audit.plan import AuditPlan
from splitveil.data import LabelledImages, Splits, SplitSizes, load_data
from splitveil.errors import BadModel, BadPlan, StorageFailed
from splitveil.models import LoadedModel, PixelModel, load_model
from splitveil.models.weights import model_digest
from splitveil.partition import Cut, CutKind, Traced, trace
from splitveil.rng import Rng
from splitveil.storage import storing


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and its images, on one device."""

    model: LoadedModel
    traced: Traced
    auxiliary: LabelledImages
    validation: LabelledImages
    test: LabelledImages

    @property
    def labelled(self) -> bool:
        """Whether private images carry labels."""
        return self.test.y is not None and self.validation.y is not None

    def chosen(self, wanted: tuple[str, ...]) -> tuple[Cut, ...]:
        """The cuts to audit, in order of depth; the output, which is audited anyway, left out.

        Raises:
            UnknownName: if a wanted cut does not exist.
        """
        if not wanted:
            return self.traced.menu()
        found = {cut.id: cut for cut in (self.traced.cut(name) for name in wanted)}
        places = [cut for cut in found.values() if cut.kind is not CutKind.OUTPUT]
        return tuple(sorted(places, key=lambda cut: cut.depth))


def load_settings_model(plan: AuditPlan, data_classes: tuple[str, ...] = ()) -> LoadedModel:
    """The model a plan names; its class order applies once the data's class names are known."""
    given = plan.model
    if given.name and given.name.startswith("object:"):
        raise BadPlan(
            f"the audited model was a Python object ({given.name[7:]}): pass it to splitveil.audit"
        )
    output = int(given.output) if given.output and given.output.isdigit() else given.output
    return load_model(
        given.name,
        weights=given.weights,
        mean=given.mean or None,
        std=given.std or None,
        output=output,
        classes=(given.classes or None) if data_classes else None,
        data_classes=data_classes or None,
    )


def load_model_and_data(
    plan: AuditPlan, given: LoadedModel | None = None
) -> tuple[LoadedModel, Splits]:
    """Both as a plan names them, the data in the size and channels that the model takes.

    A model that is `given` is used in place of the plan's.

    Raises:
        BadInput: one line with what is wrong and what to do.
    """
    model = given or load_settings_model(plan)
    data = plan.data
    splits = load_data(
        data.source,
        auxiliary=data.auxiliary,
        size=data.size or model.size,
        channels=data.channels or model.channels,
        fit=data.fit,
        pixel_range=(data.pixel_range[0], data.pixel_range[1]) if data.pixel_range else None,
        limits=_limits(plan),
        rng=Rng(plan.seed).child("data"),
    )
    if plan.model.classes and given is None:
        model = load_settings_model(plan, splits.class_names)
    return model, splits


def _limits(plan: AuditPlan) -> SplitSizes | None:
    """The most images of each split, the same for every budget: they share their records."""
    if plan.data.limit is None:
        return None if plan.is_demo else SplitSizes()
    names = ("test", "validation", "auxiliary")
    return SplitSizes(**SplitSizes().share(plan.data.limit, names, "data.limit"))


def make_subject(model: LoadedModel, splits: Splits, device: str) -> Subject:
    """Trace the model on one device beside its images.

    Raises:
        UnsupportedCut: if the model cannot be traced.
        BadPlan: if there is no such device.
    """
    place = device_of(device)
    parts = {
        name: _moved(getattr(splits, name), place) for name in ("auxiliary", "validation", "test")
    }
    network = model.network.to(place)
    return Subject(model, trace(network, parts["auxiliary"].x[:2]), **parts)


def device_of(name: str) -> torch.device:
    """The device of that name.

    Raises:
        BadPlan: if it cannot be used here.
    """
    try:
        place = torch.device(name)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise BadPlan(f"device '{name}' cannot be used here: try cpu") from error
    return place


def _moved(images: LabelledImages, place: torch.device) -> LabelledImages:
    if place.type == "cpu":
        return images
    y = None if images.y is None else images.y.to(place)
    return LabelledImages(images.x.to(place), y, images.ids)


def wrap(network: nn.Module) -> LoadedModel:
    """A model given as a Python object, mapping images in [0, 1] to logits."""
    model = network if isinstance(network, PixelModel) else PixelModel(network)
    model.eval()
    return LoadedModel(
        name=f"object:{type(network).__name__}",
        network=model,
        digest=model_digest(model),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        mean=(0.0,),
        std=(1.0,),
        channels=None,
        size=None,
        classes=None,
        reference=False,
        notes=("Given as a Python object: repeat the audit from Python.",),
    )


def share_images(splits: Splits, path: Path) -> None:
    """Write the splits once for all workers, readable by their owner only.

    Raises:
        StorageFailed: if they cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for name in ("auxiliary", "validation", "test"):
        part: LabelledImages = getattr(splits, name)
        tensors[f"{name}.x"] = part.x.contiguous()
        tensors[f"{name}.ids"] = part.ids.contiguous()
        if part.y is not None:
            tensors[f"{name}.y"] = part.y.contiguous()
    with storing(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        try:
            save_file(tensors, path)
        except SafetensorError as error:
            path.unlink(missing_ok=True)
            raise StorageFailed(
                f"cannot store {path}: {error}; free space there or choose another folder"
            ) from error
        path.chmod(0o600)


def shared_images(path: Path) -> dict[str, LabelledImages]:
    """The splits that `share_images` wrote, mapped into memory rather than copied."""
    with safe_open(path, "pt") as stored:
        found = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    return {
        name: LabelledImages(found[f"{name}.x"], found.get(f"{name}.y"), found[f"{name}.ids"])
        for name in ("auxiliary", "validation", "test")
    }


@dataclass(frozen=True)
class SubjectFromPlan:
    """Loads in a worker what the parent has loaded already, and refuses anything else."""

    plan: AuditPlan
    images: str
    class_names: tuple[str, ...]
    digest: str

    def __call__(self) -> Subject:
        """Load and trace.

        Raises:
            BadModel: if the model is not the one the parent loaded.
        """
        names = self.class_names if self.plan.model.classes else ()
        model = load_settings_model(self.plan, names)
        if model.digest != self.digest:
            raise BadModel(
                f"model '{model.name}' has other weights each time it is made: save them once and "
                "give the file as weights, or use jobs=0"
            )
        place = device_of(self.plan.device)
        parts = {k: _moved(v, place) for k, v in shared_images(Path(self.images)).items()}
        traced = trace(model.network.to(place), parts["auxiliary"].x[:2])
        return Subject(model, traced, **parts)
