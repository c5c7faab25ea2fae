"""What the attacker's own images are worth: how many (A6, A7), and how like the private ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from splitveil.attacks import MeanImage, SmallDecoder
from splitveil.attacks.base import Reconstructor
from splitveil.attacks.groundwork import Groundwork
from splitveil.attacks.scaling import power_law
from splitveil.errors import BadData, UnknownName
from splitveil.measures import mse_per_image
from splitveil.quantities import Quantity
from splitveil.reproduce.attacks.claims import (
    BELOW,
    CAMERA,
    FORESEEN,
    HUNGRY,
    MIDDLE,
    MORE,
    OTHER,
)
from splitveil.reproduce.attacks.material import over, owned_and_private, seen_by
from splitveil.reproduce.bench import Bench
from splitveil.reproduce.claims import Claim, Finding, Reading
from splitveil.reproduce.draws import error_draws, quantity_of
from splitveil.reproduce.experiment import Arm, ArmMissing, Evidence, Experiment, Measured, Scale
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, white_box

SAME, SHIFTED, ELSEWHERE = "same", "shifted", "other"
KINDS = (SAME, SHIFTED, ELSEWHERE)
SIZES, FITTED, FORETOLD = (32, 128, 512, 4096), (32, 64, 128, 512), 2048
PLACE = "vgg pool3"
MEAN, PATCHES, RIDGE, DECODER = "MeanImage", "PatchRidge", "Ridge", "SmallDecoder"
_STEPS, _BATCH, _SIDE = 120, 64, 32
_PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "moon", "page", "rocket")
_RESAMPLES = 400
_DRAWN = Rng(0).child("attacks", "auxiliary")


def through_another_camera(x: Tensor) -> Tensor:
    """The same scenes turned by 8 degrees, moved, darker and with less contrast."""
    angle = math.radians(8)
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle), 0.06], [math.sin(angle), math.cos(angle), -0.06]]
    )
    grid = affine_grid(turn.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return (0.1 + 0.7 * grid_sample(x, grid, align_corners=False)).clamp(0, 1)


def crops(count: int, rng: Rng) -> Tensor:
    """Grey squares of photographs, 32 to 256 values a side, scaled to 32.

    Raises:
        BadData: if scikit-image is not installed.
    """
    try:
        color, data = (import_module(f"skimage.{name}") for name in ("color", "data"))
    except ImportError as error:
        raise BadData("photographs need scikit-image: pip install scikit-image") from error
    generator = rng.numpy()
    pictures = []
    for name in _PHOTOGRAPHS:
        array = np.asarray(getattr(data, name)())
        grey = color.rgb2gray(array[..., :3]) if array.ndim == 3 else array / 255
        pictures.append(torch.from_numpy(np.asarray(grey, dtype=np.float32)))
    found = []
    for index in range(count):
        picture = pictures[index % len(pictures)]
        size = int(generator.integers(_SIDE, min(8 * _SIDE, *picture.shape)))
        top, left = (int(generator.integers(0, extent - size)) for extent in picture.shape)
        part = picture[None, None, top : top + size, left : left + size]
        found.append(interpolate(part, (_SIDE, _SIDE), mode="area"))
    return torch.cat(found).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Taught(Arm):
    """Attacks on 200 test images at one cut, from so many images of one kind, labels unknown.

    Kinds: "same", other images of the same set; "shifted", those through another camera; "other",
    crops of photographs. Decoders take 120 steps whatever the count. Arrays: squared error per
    value of every test image under the mean image, both ridges and the decoder.
    """

    network: str
    cut: str
    kind: str
    images: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("kind of images", self.kind, KINDS)

    @property
    def minutes(self) -> float:
        return round((0.05 + self.images / 20000) * (1 if self.network == "vgg" else 2), 3)

    def run(self, bench: Bench) -> Measured:
        own, test = owned_and_private(bench, self.seed)
        x = own.x[: self.images]
        if self.kind == SHIFTED:
            x = through_another_camera(x)
        if self.kind == ELSEWHERE:
            x = crops(self.images, Rng(self.seed).child("attacks", "crops"))
        traced = bench.reference(self.network).traced
        partition = traced.split(traced.cut(self.cut))
        knowledge = white_box(partition, Auxiliary(x), knows_label=False)
        rng = Rng(self.seed).child("attacks", self.network, self.cut, self.kind, self.images)
        batch = min(_BATCH, self.images // 2)
        epochs = max(1, round(_STEPS * batch / (self.images * 5 / 6)))
        decoder = SmallDecoder(batch=batch, epochs=epochs)
        laid = Groundwork.lay(decoder, knowledge, decoder.ground, rng)
        fitted: dict[str, Reconstructor] = {
            MEAN: MeanImage().fit(knowledge, rng),
            **laid.inversions,
            DECODER: decoder.learn(laid, knowledge, rng),
        }
        seen = seen_by(knowledge, test)
        errors = {
            name: mse_per_image(attack(seen, Rng(1)), test.x).numpy()
            for name, attack in fitted.items()
        }
        return Measured(arrays=errors)


def _arms(place: str, kind: str, sizes: tuple[int, ...], scale: Scale) -> tuple[Taught, ...]:
    network, cut = place.split()
    return tuple(
        Taught(network=network, cut=cut, kind=kind, images=images, seed=seed)
        for images in sizes
        for seed in range(scale.seeds)
    )


def _errors(
    evidence: Evidence, place: str, kind: str, images: int, attack: str, scale: Scale
) -> NDArray[np.float32]:
    """Errors (seeds, images).

    Raises:
        ArmMissing: if a seed is missing.
    """
    arms = _arms(place, kind, (images,), scale)
    return np.stack([evidence.take(arm).arrays[attack] for arm in arms])


def foretold(
    errors: NDArray[np.float64], sizes: tuple[int, ...], then: int, rng: Rng
) -> tuple[Quantity, Quantity]:
    """The last error over what a power law through the others foresees, and the limit over it.

    Errors are (sizes and one more, seeds, images); all are resampled together, and the law is
    fitted again to each resample.
    """
    drawn = error_draws(errors, rng, resamples=_RESAMPLES)
    laws = power_law(np.array(sizes, dtype=np.float64), drawn[:, : len(sizes)])
    last = drawn[:, -1]
    seen = last / np.array([law.at(float(then)) for law in laws])
    limit = np.array([law.limit for law in laws]) / last
    n = errors.shape[2]
    return quantity_of(seen, unit="", n=n), quantity_of(limit, unit="", n=n)


def growth(scale: Scale) -> Experiment:
    """A6 and A7."""
    arms = tuple(arm for place in MIDDLE for arm in _arms(place, SAME, (*FITTED, FORETOLD), scale))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        readings: dict[Claim, list[Reading]] = {FORESEEN: [], BELOW: []}
        missing = []
        for place in MIDDLE:
            for which, attack in enumerate((RIDGE, DECODER)):
                try:
                    errors = [
                        _errors(evidence, place, SAME, images, attack, scale)
                        for images in (*FITTED, FORETOLD)
                    ]
                except ArmMissing as error:
                    missing.append(str(error))
                    continue
                table = np.stack(errors).astype(np.float64)
                pair = foretold(table, FITTED, FORETOLD, _DRAWN.child(place, attack))
                for claim, quantity in zip(readings, pair, strict=True):
                    measured = claim.criteria[which].measured
                    readings[claim].append(
                        Reading(measured=measured, subject=place, quantity=quantity)
                    )
        note = f"incomplete, first because {missing[0]}" if missing else ""
        return tuple(
            Finding(claim=claim, quantities=tuple(found), seeds=scale.seeds, note=note)
            for claim, found in readings.items()
        )

    return Experiment(claims=(FORESEEN, BELOW), arms=arms, judge=judge)


def auxiliary(scale: Scale) -> Experiment:
    """S1 to S4."""
    arms = tuple(arm for kind in KINDS for arm in _arms(PLACE, kind, SIZES, scale))

    def judge(evidence: Evidence) -> tuple[Finding, ...]:
        few, many = SIZES[0], SIZES[-1]

        def of(kind: str, images: int, attack: str = DECODER) -> NDArray[np.float32]:
            return _errors(evidence, PLACE, kind, images, attack, scale)

        every = np.stack([of(SAME, images) for images in SIZES]).astype(np.float64)
        # the largest set stands both in the fit and as what its limit is compared with
        doubled = np.concatenate([every, every[-1:]])
        _, limit = foretold(doubled, SIZES, many, _DRAWN.child("S4"))
        answers: list[tuple[Claim, tuple[Quantity, ...]]] = [
            (MORE, (over(of(SAME, many), of(SAME, few), "S1"),)),
            (CAMERA, (over(of(SHIFTED, many), of(SAME, many), "S2"),)),
            (
                OTHER,
                (
                    over(of(ELSEWHERE, many), of(SAME, many), "S3"),
                    over(of(ELSEWHERE, many), of(SAME, many, MEAN), "S3", "mean image"),
                ),
            ),
            (HUNGRY, (limit,)),
        ]
        return tuple(
            Finding(
                claim=claim,
                quantities=(*_read(claim, found), *(_table(of) if claim is MORE else ())),
                seeds=scale.seeds,
            )
            for claim, found in answers
        )

    return Experiment(claims=(MORE, CAMERA, OTHER, HUNGRY), arms=arms, judge=judge)


def _read(claim: Claim, found: tuple[Quantity, ...]) -> tuple[Reading, ...]:
    return tuple(
        Reading(measured=criterion.measured, subject=PLACE, quantity=quantity)
        for criterion, quantity in zip(claim.criteria, found, strict=True)
    )


def _table(of: Callable[[str, int, str], NDArray[np.float32]]) -> tuple[Reading, ...]:
    """Mean errors of every attack with every set, beside the claims."""
    return tuple(
        Reading(
            measured=f"MSE, {name}, {images:,} images",
            subject=kind,
            quantity=quantity_of(
                error_draws(of(kind, images, name)[None].astype(np.float64), _DRAWN)[:, 0],
                unit="mse per value",
                n=of(kind, images, name).shape[1],
            ),
        )
        for images in SIZES
        for name in (MEAN, PATCHES, RIDGE, DECODER)
        for kind in KINDS
    )
