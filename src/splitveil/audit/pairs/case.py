"""What an audit of pairs starts from: the attacker's pairs, private ones, and what crosses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splitveil.audit.pairs.reading import (
    Examples,
    digest_of,
    read_arrays,
    read_features,
    read_inputs,
    read_labels,
    same_count,
)
from splitveil.data import find_duplicates
from splitveil.data.division import MINIMUM, divide
from splitveil.errors import BadData
from splitveil.partition.layout import Layout, Part
from splitveil.partition.types import Cut, CutKind
from splitveil.records import digest
from splitveil.rng import Rng
from splitveil.threat import Auxiliary, Pairs, only_pairs

_VALIDATION = 3  # one target in three chooses the attack, the others score it


@dataclass(frozen=True, eq=False)
class Case:
    """The attacker's pairs, private ones that choose an attack, and private ones that score it.

    `conversions` are sentences on what was done to the arrays, `duplicates` plain data on inputs
    that resemble each other in two splits, `digests` one SHA-256 a file.
    """

    auxiliary: Examples
    validation: Examples
    test: Examples
    cut: Cut
    conversions: tuple[str, ...]
    duplicates: dict[str, Any]
    digests: tuple[str, str]

    @property
    def labelled(self) -> bool:
        """Whether both files carry labels."""
        return self.auxiliary.y is not None and self.test.y is not None

    def knowledge(self, *, knows_label: bool) -> Pairs:
        """What the attacker has: its pairs, and no part of any network."""
        own = self.auxiliary
        return only_pairs(
            Auxiliary(own.x, own.y if knows_label else None),
            own.z,
            self.cut.layout,
            knows_label=knows_label,
        )

    def to(self, place: torch.device) -> "Case":
        """The same on another device."""
        parts = (self.auxiliary.to(place), self.validation.to(place), self.test.to(place))
        return Case(*parts, self.cut, self.conversions, self.duplicates, self.digests)


def given_cut(shape: tuple[int, ...]) -> Cut:
    """The one cut of an audit of pairs: where it lies in which network is not known."""
    return Cut(
        id=digest(["given", list(shape)]),
        name="given",
        kind=CutKind.OTHER,
        depth=1.0,
        layout=Layout((Part("z", shape),)),
    )


@dataclass(frozen=True, eq=False)
class PairFiles:
    """The attacker's pairs and the private ones, checked against each other.

    `shape` is that of one z, `notes` say what was done to the arrays, `digests` are one SHA-256 a
    file.
    """

    own: Examples
    private: Examples
    shape: tuple[int, ...]
    notes: tuple[str, ...]
    digests: tuple[str, str]


def read_pair_files(files: Sequence[str], pixel_range: tuple[float, float] | None) -> PairFiles:
    """Read two files of pairs and check them against each other, as `read_case`."""
    own, private = (Path(name).expanduser() for name in files)
    stored = {path: read_arrays(path, ("z",)) for path in (own, private)}
    for path, arrays in stored.items():
        if "x" not in arrays:
            raise BadData(
                f"{path} holds no inputs x, so nothing can be scored: where they were sealed on "
                "purpose, their owner scores answers with `splitveil challenge score`"
            )
    if own.resolve() == private.resolve():
        raise BadData(f"{own} was given twice: the attacker's pairs must not be the private ones")
    examples, shapes = {}, {}
    notes: dict[str, None] = {}
    for path, arrays in stored.items():
        examples[path], shapes[path], said = _examples(path, arrays, pixel_range)
        notes.update(dict.fromkeys(said))
    _matching(own, private, examples, shapes)
    if (examples[own].y is None) != (examples[private].y is None):
        notes["Labels are in one of the two files only and were not used."] = None
        examples = {path: Examples(e.x, e.z, None) for path, e in examples.items()}
    _usable(own, private, examples[own], examples[private])
    return PairFiles(
        examples[own],
        examples[private],
        shapes[own],
        tuple(notes),
        (digest_of(stored[own]), digest_of(stored[private])),
    )


def read_case(files: Sequence[str], *, pixel_range: tuple[float, float] | None, seed: int) -> Case:
    """Read two files of pairs, check them against each other and divide the private ones.

    Args:
        files: of the attacker's pairs and of the private ones, .npz or .safetensors with arrays z
            (n, ...), x, images (n, c, h, w), (n, h, w, c) or (n, h, w) or vectors (n, d), and
            perhaps y, labels from 0.
        pixel_range: stored values that mean black and white, where that is not 0 to 255 in bytes
            or 0 to 1 in floating point.
        seed: draws which private pairs choose an attack (a third) and which score it.

    Raises:
        BadData: one line with what is wrong and what to do.
        UnknownName: if an array is missing.
    """
    read = read_pair_files(files, pixel_range)
    validation, test = divided(read.private, seed)
    return Case(
        read.own,
        validation,
        test,
        given_cut(read.shape),
        read.notes,
        _near(read.own, validation, test),
        read.digests,
    )


def _examples(
    path: Path, arrays: dict[str, Any], pixel_range: tuple[float, float] | None
) -> tuple[Examples, tuple[int, ...], list[str]]:
    same_count(arrays, str(path))
    z, shape, about_z = read_features(arrays["z"], str(path))
    x, about_x = read_inputs(arrays["x"], pixel_range, str(path))
    y = read_labels(arrays.get("y"), len(z), str(path))
    return Examples(x, z, y), shape, [note for note in (about_z, about_x) if note]


def _matching(
    own: Path,
    private: Path,
    examples: dict[Path, Examples],
    shapes: dict[Path, tuple[int, ...]],
) -> None:
    if shapes[own] != shapes[private]:
        raise BadData(
            f"z of one pair has shape {shapes[own]} in {own} and {shapes[private]} in {private}: "
            "both must be sent at the same cut"
        )
    first, second = (tuple(examples[path].x.shape[1:]) for path in (own, private))
    if first != second:
        raise BadData(
            f"x of one pair has shape {first} in {own} and {second} in {private}: give both the "
            "same size and channels"
        )


def _usable(own: Path, private: Path, auxiliary: Examples, target: Examples) -> None:
    least = MINIMUM["validation"] + MINIMUM["test"]
    for path, part, count in (
        (own, auxiliary, MINIMUM["auxiliary"]),
        (private, target, least),
    ):
        if len(part) < count:
            raise BadData(
                f"{path} holds {len(part)} pairs, too few: at least {count} are needed, and "
                "hundreds for a telling audit"
            )
        for name, values in (("z", part.z), ("x", part.x)):
            if bool((values == values[:1]).all()):
                raise BadData(
                    f"{path}: {name} is the same in every pair: check how it was exported"
                )
    copies = shared_rows(auxiliary.x, target.x)
    if copies:
        raise BadData(
            f"{len(copies)} inputs of {private} are in {own} too, bit for bit (such as number "
            f"{copies[0]}): remove them from one, an attacker who owns the input proves nothing"
        )


def shared_rows(first: Tensor, second: Tensor) -> list[int]:
    """Positions in `second` of rows that `first` holds too, bit for bit."""
    known = {row.tobytes() for row in first.flatten(1).numpy()}
    return [i for i, row in enumerate(second.flatten(1).numpy()) if row.tobytes() in known]


def divided(target: Examples, seed: int) -> tuple[Examples, Examples]:
    """Private pairs that choose an attack, and those that score it: a third and the rest."""
    few = max(MINIMUM["validation"], len(target) // _VALIDATION)
    counts = {"test": len(target) - few, "validation": few}
    labels = None if target.y is None else target.y.numpy()
    rows = divide(labels, counts, len(target), Rng(seed).child("pairs", "division"))
    validation, test = (
        target.take(torch.from_numpy(rows[name]).long()) for name in ("validation", "test")
    )
    return validation, test


def _near(auxiliary: Examples, validation: Examples, test: Examples) -> dict[str, Any]:
    """What resembles what in two splits: images by their pixels, vectors bit for bit."""
    splits = {"auxiliary": auxiliary.x, "validation": validation.x, "test": test.x}
    if auxiliary.is_image:
        return find_duplicates(splits).to_json()
    count = len(shared_rows(validation.x, test.x))
    return {"method": "equal bit for bit", "counts": {"validation-test": count}}
