"""Head and tail that somebody else hardened, made ready to be attacked beside the rest."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from splitveil.audit.compare.arm import Bench, Trained
from splitveil.data import LabelledImages
from splitveil.errors import BadModel, BadPlan
from splitveil.measures.utility import share_of
from splitveil.models import PixelModel, load_model
from splitveil.models.weights import model_digest
from splitveil.naming import is_reference, one_line, resolve
from splitveil.partition import Cut, Partition, Traced, trace
from splitveil.quantities import Quantity
from splitveil.release import Identity, Release, ReleaseRecipe
from splitveil.release.stored import Stored, release_bytes
from splitveil.rng import Rng
from splitveil.shapes import Images

_BATCH = 250
_TRIED = 8
_CALIBRATION = 2000


class Joined(nn.Module):
    """tail(head(x)): two halves as one network, which is cut again where they met."""

    def __init__(self, head: nn.Module, tail: nn.Module) -> None:
        nn.Module.__init__(self)
        self.head, self.tail = head, tail

    # Any, not Tensor: under torch.fx it is a proxy
    def forward(self, x: Any) -> Any:
        """What the tail answers to images in [0, 1]."""
        return self.tail(self.head(x))


def read_ready(bench: Bench, source: str, place: str) -> Trained:
    """A folder that `splitveil harden` wrote, or the halves that a factory gives.

    Args:
        bench: the images it is tried on, and the network whose classes it must answer.
        source: the folder, or `package.module:factory`, which is executed and returns (head, tail)
            or (head, tail, release): head maps images (n, c, h, w) in [0, 1] to a tensor, tail
            that tensor to logits.
        place: the cut of a folder that was hardened without one.

    Raises:
        BadModel: if halves do not meet, answer other classes or images, or change between calls.
        BadPlan: if the folder is none of `splitveil harden`.
    """
    x = bench.images.validation.x[:_TRIED]
    statements: tuple[dict[str, Any], ...] = ()
    if is_reference(source):
        network, cut, release = _made(source, x, bench)
    else:
        network, cut, release, statements = _hardened(Path(source), x, place)
    classes = _answers(bench.model.network, x).shape[1]
    answer = _answers(network, x)
    if answer.dim() != 2 or answer.shape[1] != classes:
        shape = tuple(answer.shape[1:])
        raise BadModel(f"{source} answers {shape} an image, {bench.model.name} {classes} classes")
    if not answer.isfinite().all():
        raise BadModel(f"{source} answers NaN or infinite values to validation images")
    partition = trace(network, x[:2]).split(cut, release)
    content = model_digest(network).encode()
    if not isinstance(release, Identity):
        content += release_bytes(release)
    return Trained(
        text=source,
        place=cut.name,
        partition=partition,
        network=network,
        accuracy=_accuracy(partition, bench.images.validation, Rng(bench.seed).child("ready")),
        content=content,
        statements=statements,
    )


def _made(source: str, x: Images, bench: Bench) -> tuple[PixelModel, Cut, Release]:
    """What a factory gives, joined and cut where its halves meet."""
    factory = resolve(source, what="pair of halves", error=BadModel)
    try:
        with Rng(0, ("model factory", source)).as_global():
            given = factory()
    except Exception as failure:
        raise BadModel(f"{source} failed: {one_line(failure)}") from failure
    halves = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    modules = all(isinstance(half, nn.Module) for half in halves[:2])
    rest = all(isinstance(other, (Release, ReleaseRecipe)) for other in halves[2:])
    if len(halves) not in (2, 3) or not modules or not rest:
        names = ", ".join(type(one).__name__ for one in halves)
        raise BadModel(
            f"{source} gave ({names}): return (head, tail), two torch.nn.Modules, or (head, tail, "
            "release)"
        )
    network = PixelModel(Joined(halves[0].cpu(), halves[1].cpu())).eval()
    z = _met(source, network.network, x)
    cut = _where(trace(network, x[:2]), x[:2], z[:2], source)
    return network, cut, _release(halves[2:], network, bench)


@torch.no_grad()
def _met(source: str, joined: Any, x: Images) -> Tensor:
    """What the head sends, the tail having taken it."""
    try:
        z, again = joined.head(x), joined.head(x)
    except Exception as failure:
        raise BadModel(
            f"the head of {source} fails on images {tuple(x.shape[1:])}: {one_line(failure)}"
        ) from failure
    if not isinstance(z, Tensor) or z.dim() < 2 or len(z) != len(x):
        raise BadModel(f"the head of {source} must send one tensor (n, ...) for n images")
    try:
        answer, other = joined.tail(z), joined.tail(z)
    except Exception as failure:
        raise BadModel(
            f"the tail of {source} cannot take {tuple(z.shape[1:])} an image, which its head "
            f"sends: {one_line(failure)}"
        ) from failure
    if not (torch.equal(z, again) and torch.equal(answer, other)):
        raise BadModel(
            f"{source} answers the same images otherwise each time: take the randomness out, and "
            "return (head, tail, release) where it is what is sent"
        )
    return z


def _where(traced: Traced, x: Images, z: Tensor, source: str) -> Cut:
    """The cut at which the joined network sends what the head did."""
    sent = z.flatten(1)
    for cut in dict.fromkeys((*traced.menu(), *traced.prefixes())):
        if cut.layout.size == sent.shape[1] and torch.equal(
            traced.features(x, [cut])[cut.id], sent
        ):
            return cut
    raise BadModel(
        f"{source} cannot be cut again between head and tail: what the head sends is none of the "
        "values on the way to the answer"
    )


def _release(given: tuple[Any, ...], network: PixelModel, bench: Bench) -> Release:
    if not given:
        return Identity()
    (found,) = given
    if isinstance(found, Release):
        return found
    with torch.no_grad():
        z = network.network.head(bench.images.train.x[:_CALIBRATION]).flatten(1)  # type: ignore[operator]
    fitted: Release = found.fit(z)
    return fitted


def _hardened(
    folder: Path, x: Images, place: str
) -> tuple[PixelModel, Cut, Release, tuple[dict[str, Any], ...]]:
    """What `splitveil harden` wrote: weights, structures in them, cut, release, what it stated."""
    try:
        trace_ = json.loads((folder / "trace.json").read_text(encoding="utf-8"))
        name, where = trace_["model"]["name"], trace_["cut"] or place
        statements = tuple(_statement(one) for one in trace_.get("statements", ()))
    except OSError as error:
        raise BadPlan(
            f"{folder} is no folder of `splitveil harden`, nor package.module:factory: trace.json "
            "is missing"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise BadPlan(f"{folder / 'trace.json'} cannot be read: harden again") from error
    network = load_model(name, weights=folder / "weights.safetensors").network
    file = folder / "release.safetensors"
    cut = trace(network, x[:2]).cut(where)
    if not file.is_file():
        return network, cut, Identity(), statements
    return network, cut, Stored(file=str(file)).fit(x.flatten(1)), statements


def _statement(found: Any) -> dict[str, Any]:
    """One that can be read again: a number nobody can read is not passed on."""
    Quantity.from_json(found["quantity"])
    return {name: found[name] for name in ("component", "text", "quantity")}


def _answers(network: nn.Module, x: Images) -> Tensor:
    with torch.no_grad():
        try:
            answer: Tensor = network(x)
        except RuntimeError as failure:
            raise BadModel(
                f"the network fails on images {tuple(x.shape[1:])}: {one_line(failure)}"
            ) from failure
    return answer


@torch.no_grad()
def _accuracy(partition: Partition, images: LabelledImages, rng: Rng) -> Quantity:
    """On labelled images, sent once through the release."""
    assert images.y is not None  # noqa: S101 - TrainingImages has labels
    generator = rng.torch()

    def hits() -> Iterator[Tensor]:
        for x, y in zip(images.x.split(_BATCH), images.y.split(_BATCH), strict=True):  # type: ignore[union-attr]
            yield (
                partition.predict(partition.release(partition.features(x), generator)).argmax(1)
                == y
            )

    return share_of(torch.cat(list(hits())))
