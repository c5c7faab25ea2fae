"""How much each layer's weights matter to a loss, by the diagonal of Fisher information."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from splitveil.errors import BadData, BadModel, BadPlan
from splitveil.estimators.bootstrap import bca, resampled_means
from splitveil.estimators.squared_gradients import OutputLoss, Rows, squared_gradients
from splitveil.nets.running_order import running_order
from splitveil.quantities import Kind, Quantity
from splitveil.rng import Rng
from splitveil.shapes import Images, Labels, PerImage

Score: TypeAlias = Literal["fisher", "invariant"]
Reduce: TypeAlias = Literal["mean", "sum"]
_RESAMPLES = 2000


def surprise(output: Tensor, labels: Labels) -> PerImage:
    """-ln p(label) of logits (n, k), one number an image: the loss of classification."""
    return cross_entropy(output, labels, reduction="none")


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """How Fisher information is estimated.

    `rows`: "image" squares each image's own gradient, which is what the formula says; "batch"
    squares that of a batch's mean loss, as published code does: over batches of B drawn anew it is
    1 / B of the former plus (1 - 1 / B) times the mean gradient's square. `labels`: "given" takes
    the labels as they are (the empirical Fisher), "drawn" draws each from the network's softmax
    (the Fisher proper, for classification only).

    Raises:
        BadPlan: if the batch is not positive.
    """

    rows: Rows = "image"
    labels: Literal["given", "drawn"] = "given"
    batch: int = 32

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise BadPlan(f"a batch holds one image or more, got {self.batch}")


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerImportance:
    """Layers in running order, and their squared gradients, a row for each independent unit.

    A row is an image, a batch, or a group of images where groups were given. `plain` is Σ_j g_j²
    over a layer's weights, `scaled` Σ_j θ_j² g_j²; float64.
    """

    layers: tuple[str, ...]
    parameters: Int64[Tensor, " layers"]
    plain: Float[Tensor, "rows layers"]
    scaled: Float[Tensor, "rows layers"]
    assumptions: tuple[str, ...] = ()

    def scores(self, score: Score = "fisher", reduce: Reduce = "mean") -> Float[Tensor, " layers"]:
        """F_l, or I_l = Σ_j θ_j² F_j, of every layer; `reduce` over the weights is for F_l alone.

        F_l changes when a ReLU network is rescaled layer against layer, although it then answers
        the same; I_l does not.
        """
        return self._rows(score, reduce).mean(0)

    def shares(self, score: Score = "fisher", reduce: Reduce = "mean") -> Float[Tensor, " layers"]:
        """Scores divided by their sum.

        Raises:
            BadData: if all are zero.
        """
        found = self.scores(score, reduce)
        if not float(found.sum()) > 0:
            raise BadData("no weight of any layer has a gradient: give images the loss depends on")
        return found / found.sum()

    def centroid(self, rng: Rng, *, score: Score = "fisher", reduce: Reduce = "mean") -> Quantity:
        """Σ_l l s_l / (L - 1): 0 where all importance is in the first layer, 1 in the last.

        BCa bootstrap over rows, 95 %. Unit: share of depth. Kind: measured.

        It misleads with F_l: depth enters through the scale of weights, which a network may shift
        between layers at will. See that I_l says the same.

        Raises:
            BadData: if there are fewer than two layers or rows, or no gradient.
        """
        rows = self._rows(score, reduce).numpy()
        if len(rows) < 2 or len(self.layers) < 2:
            raise BadData(
                f"a centroid with its interval needs two layers and two rows, got "
                f"{len(self.layers)} and {len(rows)}"
            )
        self.shares(score, reduce)
        depth = np.linspace(0, 1, len(self.layers))
        rows = rows[np.lexsort(rows.T)]
        drawn = np.stack(resampled_means(tuple(rows.T.copy()), rng, _RESAMPLES), 1)
        without = (rows.sum(0) - rows) / (len(rows) - 1)
        found = bca(
            float(_centre(rows.mean(0)[None], depth)[0]),
            _centre(drawn, depth),
            _centre(without, depth),
            level=0.95,
        )
        return Quantity(
            value=found.value,
            low=found.low,
            high=found.high,
            unit="share of depth",
            kind=Kind.MEASURED,
            n=len(rows),
            assumptions=(f"score {score}", "one network", *self.assumptions),
        )

    def _rows(self, score: Score, reduce: Reduce) -> Tensor:
        if score == "invariant":
            return self.scaled
        return self.plain / self.parameters if reduce == "mean" else self.plain


def _centre(scores: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
    total = scores.sum(1)
    safe = np.where(total > 0, total, 1)
    found: NDArray[np.float64] = np.where(total > 0, scores @ depth / safe, 0.5)
    return found


_PLAIN = Estimator()
_ZERO = Rng(0)


def layer_importance(
    network: nn.Module,
    x: Images,
    y: Labels,
    *,
    loss: OutputLoss = surprise,
    estimator: Estimator = _PLAIN,
    groups: Labels | None = None,
    layers: Sequence[str] | None = None,
    rng: Rng = _ZERO,
) -> LayerImportance:
    """Diagonal Fisher information of the weights of convolutions and linear layers.

    F_l = 1 / |θ_l| Σ_j E (d loss(x, y) / d θ_j)², the network in eval. With -ln p(y | x) on private
    images it is how much a layer matters to the task; with an attack's identity loss on its
    reconstructions and the classes attacked, how much it matters to inversion. Whether a weight is
    frozen plays no part.

    It misleads where it is taken for the effect of freezing a layer: it is a local quantity of a
    network trained already, and not invariant (see `LayerImportance.scores`).

    Args:
        network: images to what `loss` takes.
        x: images (n, c, h, w).
        y: labels (n,).
        loss: what the network gives, and labels, to one number an image.
        estimator: rows, labels and batch.
        groups: (n,) which images are not independent, such as those of one class; each group
            becomes one row, its mean, and counts the same.
        layers: which, by module name; all with weights, in running order, by default.
        rng: stream of drawn labels.

    References:
        Kirkpatrick et al. 2017 (the diagonal); Kunstner et al. 2019 (given labels are another
        matter than drawn ones); Ho et al. 2024 (TL-DMI), for inversion.

    Raises:
        BadData: if there are no images, or not one label and group each.
        BadPlan: if rows are batches and groups are given.
        BadModel: if no layer has weights, or the network refuses gradients by image.
    """
    if not len(x) or len(x) != len(y) or (groups is not None and len(groups) != len(x)):
        raise BadData(f"{len(x)} images and {len(y)} labels: give one label and group an image")
    if groups is not None and estimator.rows == "batch":
        raise BadPlan("groups are of images: take rows by image")
    if layers is None:
        layers = [leaf.name for leaf in running_order(network, x[:1]) if leaf.weighted]
        held = dict(network.named_modules())
        layers = [
            name for name in layers if isinstance(getattr(held[name], "weight", None), Tensor)
        ]
    if not layers:
        raise BadModel("no convolution or linear layer with weights was run: name the layers")
    labels = _drawn(network, x, rng) if estimator.labels == "drawn" else y
    found = squared_gradients(
        network, x, labels, loss, layers, rows=estimator.rows, batch=estimator.batch
    )
    kind = (
        "groups" if groups is not None else {"image": "images", "batch": "batches"}[estimator.rows]
    )
    said = (
        "labels drawn from the network" if estimator.labels == "drawn" else "labels as given",
        f"rows are {kind}",
    )
    return LayerImportance(
        layers=found.layers,
        parameters=found.parameters,
        plain=_grouped(found.plain, groups),
        scaled=_grouped(found.scaled, groups),
        assumptions=said,
    )


@torch.no_grad()
def _drawn(network: nn.Module, x: Images, rng: Rng) -> Labels:
    """Labels from the network's own softmax."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        chances = torch.cat([network(part).double().softmax(1) for part in x.split(256)])
    finally:
        for module, mode in modes:
            module.training = mode
    return torch.multinomial(chances.cpu(), 1, generator=rng.torch())[:, 0].to(x.device)


def _grouped(rows: Tensor, groups: Tensor | None) -> Tensor:
    if groups is None:
        return rows
    names, place = groups.cpu().unique(return_inverse=True)
    sums = torch.zeros(len(names), rows.shape[1], dtype=rows.dtype).index_add_(0, place, rows)
    return sums / place.bincount()[:, None]


@dataclass(eq=False, kw_only=True)
class ImportanceAlong:
    """Layer importance at steps of an attack: give it as the hook `on_step(t, images, labels)`.

    `loss` takes the network's output and the classes attacked, such as the attack's identity loss
    of logits. Steps that are not in `steps` cost nothing; several chunks of classes at one step are
    put together. Rows are classes.
    """

    network: nn.Module
    loss: OutputLoss
    steps: tuple[int, ...]
    batch: int = 32
    _images: dict[int, list[tuple[Tensor, Tensor]]] = field(default_factory=dict, repr=False)

    def __call__(self, step: int, images: Tensor, labels: Tensor) -> None:
        """Keep the images of a step that was asked for."""
        if step in self.steps:
            kept = images.detach().cpu().clone(), labels.detach().cpu().clone()
            self._images.setdefault(step, []).append(kept)

    def found(self) -> dict[int, LayerImportance]:
        """Importance by step, of the steps that were reached."""
        result = {}
        for step, parts in sorted(self._images.items()):
            x = torch.cat([images for images, _ in parts])
            y = torch.cat([labels for _, labels in parts])
            result[step] = layer_importance(
                self.network,
                x,
                y,
                loss=self.loss,
                estimator=Estimator(batch=self.batch),
                groups=y,
            )
        return result
