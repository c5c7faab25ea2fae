"""Ridge regression from a neighbourhood of features to the pixels under its centre."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d, unfold

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.classes import Classes
from splitveil.attacks.evidence import Evidence, gather, grant, in_shape, observed
from splitveil.attacks.grid import Grid, blocks
from splitveil.attacks.spectrum import eigenpairs
from splitveil.errors import BadInput, BadPlan
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, Pairs, QueryFree

_VALUES = 2**22
_OPERATIONS = 2e10
_PENALTIES = 40
_FOLDS = 4


@dataclass(frozen=True, eq=False)
class Local(Reconstructor):
    """x̂ = x_mean[row] + conv(z - z_mean[row]) with its output blocks laid over the image.

    `weight` is (block values, channels, k, k); `pixels` (cells, block pixels) says where each
    cell's block lies among the image's pixels; overlaps are averaged.
    """

    weight: Tensor
    pixels: Tensor
    grid: Grid
    x_mean: Tensor
    z_mean: Tensor
    classes: Classes
    layout: Layout
    shape: tuple[int, ...]
    held_out_error: float

    @property
    def neighbourhood(self) -> int:
        """Cells along one side of the neighbourhood that was chosen."""
        return self.weight.shape[-1]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z, rows = observed(observation, self.layout, self.classes, self.x_mean.device)
        return in_shape(self.predict(z, rows), self.shape)

    def predict(self, z: Tensor, rows: Tensor) -> Tensor:
        """Map z (n, f) and label rows (n,) to targets (n, d), not clamped."""
        step = max(1, _VALUES // 4 // (self.x_mean.shape[1] + self.layout.size))
        parts = [
            self.x_mean[r] + self._moved(q - self.z_mean[r])
            for q, r in zip(z.split(step), rows.split(step), strict=True)
        ]
        return torch.cat(parts)

    def _moved(self, z: Tensor) -> Tensor:
        colours = self.shape[0]
        area = self.shape[1] * self.shape[2]
        found = conv2d(self.grid(z), self.weight, padding=self.neighbourhood // 2)
        found = found.flatten(2).unflatten(1, (colours, -1)).transpose(2, 3).flatten(2)
        index = self.pixels.flatten()
        image = found.new_zeros(len(z), colours, area).index_add_(2, index, found)
        counts = torch.bincount(index, minlength=area)
        return (image / counts).flatten(1)


@dataclass(frozen=True, kw_only=True)
class PatchRidge(Attack):
    """Predict each cell's pixels from the k x k cells of features around it, alike everywhere.

    x̂ = x̄_y + conv_k(z - z̄_y), one linear map shared by all positions, on data centred per class
    and position; cells outside the map count as average. A cell stands for the block of pixels
    above it: H/h x W/w, rounded up and averaged where blocks overlap. k and the penalty are those
    with the least squared error on a quarter of the auxiliary images, then all are used. Sharing
    makes every image worth h·w examples: at shallow cuts this beats the full ridge, at deep cuts
    it loses to it, and on a 1 x 1 map the two are the same.

    Maps may have channels first or last, or be rows of tokens; coarser maps of a cut with several
    parts are repeated onto the finest grid and parts that are no maps are not used.

    Knowledge: pairs, or one query an auxiliary image, at most `samples`. Cost: with p = c k²,
    about 2e10 + p³ operations a neighbourhood, 8 p² bytes; neighbourhoods with p > `features` are
    left out.
    """

    requires: ClassVar[type[QueryFree]] = Pairs
    reference: ClassVar[str] = "receptive-field aligned linear inversion"

    neighbourhoods: tuple[int, ...] = (1, 3, 5)
    samples: int = 4000
    features: int = 2304

    def __post_init__(self) -> None:
        if not self.neighbourhoods or any(k < 1 or k % 2 == 0 for k in self.neighbourhoods):
            raise BadPlan(f"neighbourhoods must be odd and positive, got {self.neighbourhoods}")
        if self.samples < 2 or self.features < 1:
            raise BadPlan(f"samples must be at least 2 and features at least 1: {self}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> Reconstructor:
        grant(self, knowledge)
        grid, sides = self._sides(knowledge.layout, tuple(knowledge.auxiliary.x.shape[1:]))
        return _solve(gather(self, knowledge, rng, limit=self.samples), grid, sides, rng)[0]

    def learn(self, found: Evidence, rng: Rng) -> tuple[Local, Tensor]:
        """Fit to evidence already gathered, and guess each of its targets from the others.

        Guesses (n, d), not clamped, come from fits that left out the quarter of the targets the
        guessed one is in. Raises as `fit`.
        """
        grid, sides = self._sides(found.layout, found.shape)
        fitted, weights, folds = _solve(found, grid, sides, rng)
        guess = torch.empty_like(found.x)
        for weight, fold in zip(weights, folds, strict=True):
            guess[fold] = replace(fitted, weight=weight).predict(found.z[fold], found.rows[fold])
        return fitted, guess

    def _sides(self, layout: Layout, shape: tuple[int, ...]) -> tuple[Grid, list[int]]:
        grid = Grid.of(layout, shape)
        widest = max(2 * max(grid.height, grid.width) - 1, min(self.neighbourhoods))
        sides = [
            k for k in self.neighbourhoods if grid.channels * k * k <= self.features and k <= widest
        ]
        if not sides:
            raise BadInput(
                f"{grid.channels} channels make every neighbourhood larger than "
                f"{self.features} features: raise features or use the full ridge"
            )
        return grid, sides


@dataclass(frozen=True, eq=False)
class _Moments:
    """Second moments of neighbourhoods and blocks over all positions of some images."""

    gram: Tensor
    cross: Tensor
    total: float
    rows: int

    def __add__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            self.gram + other.gram,
            self.cross + other.cross,
            self.total + other.total,
            self.rows + other.rows,
        )

    def __sub__(self, other: "_Moments") -> "_Moments":
        return _Moments(
            self.gram - other.gram,
            self.cross - other.cross,
            self.total - other.total,
            self.rows - other.rows,
        )


def _solve(
    found: Evidence, grid: Grid, sides: list[int], rng: Rng
) -> tuple[Local, list[Tensor], tuple[Tensor, ...]]:
    x_mean = found.classes.means(found.x, found.rows)
    z_mean = found.classes.means(found.z, found.rows)
    colours, height, width = found.shape
    down, across = blocks(height, grid.height), blocks(width, grid.width)
    pixels = (down[:, None, :, None] * width + across[None, :, None, :]).flatten(2).flatten(0, 1)
    pixels = pixels.to(found.x.device)
    order = torch.randperm(len(found.x), generator=rng.child("held out").torch())
    folds = order.to(found.x.device).tensor_split(min(_FOLDS, len(order)))

    def moments(indices: Tensor, side: int) -> _Moments:
        size = grid.channels * side * side
        cells = grid.height * grid.width
        gram = torch.zeros(size, size, dtype=torch.float64, device=found.x.device)
        cross = gram.new_zeros(size, colours * pixels.shape[1])
        total = 0.0
        for part in indices.split(max(1, _VALUES // (size * cells))):
            rows = found.rows[part]
            z = unfold(grid(found.z[part] - z_mean[rows]), side, padding=side // 2)
            z = z.transpose(1, 2).flatten(0, 1)
            x = (found.x[part] - x_mean[rows]).unflatten(1, (colours, -1))[:, :, pixels]
            x = x.transpose(1, 2).flatten(2).flatten(0, 1)
            gram += z.T @ z
            cross += z.T @ x
            total += float(x.double().square().sum())
        return _Moments(gram, cross, total, len(indices) * cells)

    best: tuple[float, float, int, list[_Moments]] | None = None
    for side in sides:
        share = -(-_images(grid, side) // len(folds))
        parts = [moments(fold[:share], side) for fold in folds]
        error, ratio = _choose(sum(parts[2:], parts[1]), parts[0])
        if best is None or error < best[0]:
            best = (error, ratio, side, parts)
    assert best is not None  # noqa: S101 - there is a side at least
    error, ratio, side, parts = best
    both = sum(parts[1:], parts[0])
    size = (grid.channels, side, side)
    weights = [_weight(both - part, ratio, size) for part in parts]
    fitted = Local(
        _weight(both, ratio, size),
        pixels,
        grid,
        x_mean,
        z_mean,
        found.classes,
        found.layout,
        found.shape,
        error,
    )
    return fitted, weights, folds


def _weight(moments: _Moments, ratio: float, size: tuple[int, int, int]) -> Tensor:
    """The ridge solution as a kernel (block values, channels, k, k); `ratio` as in `_choose`."""
    loading = max(ratio * float(moments.gram.diagonal().sum()), 1e-200)
    eye = torch.eye(len(moments.gram), dtype=torch.float64, device=moments.gram.device)
    weight = torch.linalg.solve(moments.gram + loading * eye, moments.cross)
    return weight.float().T.unflatten(1, size).contiguous()


def _images(grid: Grid, side: int) -> int:
    """Images that cost about the budgeted operations, but enough to fit all weights."""
    size, cells = grid.channels * side * side, grid.height * grid.width
    return int(max(_OPERATIONS / (cells * size**2), 8 * size / cells)) + 1


def _choose(seen: _Moments, held: _Moments) -> tuple[float, float]:
    """The least held-out squared error per value along the penalty path, and its penalty.

    With the Gram matrix V diag(s) Vᵀ, weights are V diag(1 / (s + λ)) Vᵀ C, so that the held-out
    error is a quadratic form in 1 / (s + λ), evaluated for the whole grid at once. The penalty is
    returned as a share of the Gram matrix's trace.
    """
    values, vectors = eigenpairs(seen.gram)
    values = values.clamp(min=0)
    top = max(float(seen.gram.diagonal().sum()), 1e-200)
    ratios = torch.logspace(-10, 1, _PENALTIES, dtype=torch.float64, device=values.device)
    inverse = 1 / (values + top * ratios[:, None])
    turned = vectors.T @ seen.cross
    linear = (turned * (vectors.T @ held.cross)).sum(1)
    square = (vectors.T @ held.gram @ vectors) * (turned @ turned.T)
    errors = held.total - 2 * inverse @ linear + ((inverse @ square) * inverse).sum(1)
    least = int(errors.argmin())
    return float(errors[least]) / (held.rows * seen.cross.shape[1]), float(ratios[least])
