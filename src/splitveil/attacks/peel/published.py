"""The published penalty method, as its released code runs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from splitveil.attacks.base import Attack, Reconstructor
from splitveil.attacks.evidence import grant
from splitveil.attacks.memory import halving
from splitveil.attacks.peel.blocks import Stage, find_stages, require_blocks
from splitveil.attacks.peel.graph import HeadGraph, read_head, size_of
from splitveil.attacks.peel.linear import require_gradient
from splitveil.attacks.peel.observed import read_observation, sent, tail_has_blocks
from splitveil.errors import BadInput, BadPlan, KnowledgeMissing
from splitveil.partition.flow import Origin, batch_size, device_of, execute
from splitveil.partition.functional import operation
from splitveil.partition.layout import Layout
from splitveil.rng import Rng
from splitveil.shapes import Targets
from splitveil.threat import Observation, QueryFree, WhiteBox

_START, _PENALTY, _SMOOTH = 1e-3, 1e2, 1e-5


@dataclass(frozen=True, kw_only=True)
class PublishedPeel(Attack):
    """The published penalty method for residual networks, last block first.

    For a block y = S x + W2 relu(W1 x), Adam minimises over x, p >= 0 and n >= 0

        |y - S x - W2 p|^2 + 100 |W1 x - p + n|^2 + 100 <p, n>^2

    from 1e-3 N(0, 1), for `steps` steps, and keeps the last; p and n are clamped after each step.
    Blocks of another form lose p and n: |y - block(x)|^2 alone. Layers before the first block
    minimise |f(x) - t|^2 / |t|^2 + 1e-5 (TV_2(x) + sum x^6) in
    `stem_steps`. Each solution is the next
    target: where the released code takes the true value of the next block's output instead, this
    attack does not, since it is not observed. Images are batched, each with losses of its own.

    For comparison: `Peel` solves the same equations better and faster. Knowledge: white-box. Cost:
    `steps` forward and backward passes of every block.
    """

    requires: ClassVar[type[QueryFree]] = WhiteBox
    reference: ClassVar[str] = "Arif, Murugesan, Das, Gittens and Chen 2025 (PEEL)"

    steps: int = 1000
    stem_steps: int = 500
    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        if min(self.steps, self.stem_steps) < 1 or not self.learning_rate > 0:
            raise BadPlan(f"steps and learning rate must be positive: {self}")

    def fit(self, knowledge: QueryFree, rng: Rng) -> "PublishedPeeler":
        """Read the chain of blocks off the head; nothing is learned.

        Raises:
            KnowledgeMissing: if the head is not granted.
            BadInput: if the network has no residual block, cannot be followed, or passes no
                gradient.
        """
        grant(self, knowledge)
        if not isinstance(knowledge, WhiteBox):
            raise KnowledgeMissing(f"{type(self).__name__} needs the head")
        shape = tuple(knowledge.auxiliary.x.shape[1:])
        head = read_head(knowledge.head, shape)
        stages = find_stages(head)
        if not tail_has_blocks(knowledge.tail):
            require_blocks(stages)
        if len(head.crossing) > 1:
            raise BadInput(
                "the published method starts from one tensor, and several cross this cut: choose "
                "a cut after a block, or use Peel"
            )
        require_gradient(head, head.steps(head.source, head.crossing), head.crossing)
        return PublishedPeeler(self, head, stages, knowledge.layout, shape)


@dataclass(frozen=True, eq=False)
class PublishedPeeler(Reconstructor):
    """`PublishedPeel` for one head."""

    recipe: PublishedPeel
    head: HeadGraph
    stages: tuple[Stage, ...]
    layout: Layout
    shape: tuple[int, ...]

    def __call__(self, observation: Observation, rng: Rng) -> Targets:
        z = read_observation(observation, self.layout).float()
        if not len(z):
            return torch.zeros(0, *self.shape)

        def by(size: int) -> Tensor:
            return torch.cat([self._peel(part, rng) for part in z.split(size)])

        x = torch.nan_to_num(halving(by, len(z)).detach(), nan=0.5)
        return x.clamp(0, 1) if len(self.shape) == 3 else x

    def _peel(self, z: Tensor, rng: Rng) -> Tensor:
        (y,) = sent(self.head, self.layout, z)
        for stage in reversed(self.stages):
            y = self.invert(stage, y, rng.child(stage.name))
        return y

    def invert(self, stage: Stage, y: Tensor, rng: Rng) -> Tensor:
        """One stage's inputs from its outputs y (n, ...)."""
        generator = rng.torch()
        n = len(y)

        def draw(shape: Sequence[int]) -> Tensor:
            row = _START * torch.randn(shape, generator=generator)
            return row.to(y.device).expand(n, *shape).clone().requires_grad_()

        x = draw(self.head.shapes[stage.source])
        knee = self._knee(stage)
        steps = self.recipe.steps
        if not stage.is_block and stage is self.stages[0]:
            return self._adam([x], lambda: self._stem_loss(stage, x, y), (), self.recipe.stem_steps)
        if knee is None:
            return self._adam([x], lambda: _squares(y - self._value(stage, x)), (), steps)
        shape = self.head.shapes[knee]
        p, n_ = draw(shape), draw(shape)
        return self._adam(
            [x, p, n_], lambda: self._block_loss(stage, knee, x, y, p, n_), (p, n_), steps
        )

    def _adam(
        self,
        unknowns: list[Tensor],
        loss: Callable[[], Tensor],
        kept_positive: Sequence[Tensor],
        steps: int,
    ) -> Tensor:
        optimiser = torch.optim.Adam(unknowns, lr=self.recipe.learning_rate)
        with torch.enable_grad():
            for _ in range(steps):
                optimiser.zero_grad(set_to_none=True)
                loss().sum().backward()
                optimiser.step()
                with torch.no_grad():
                    for value in kept_positive:
                        value.clamp_(min=0)
        return unknowns[0].detach()

    def _stem_loss(self, stage: Stage, x: Tensor, t: Tensor) -> Tensor:
        fit = _squares(self._value(stage, x) - t) / _squares(t).clamp(min=1e-12)
        prior = x.flatten(1).pow(6).sum(1)
        if x.dim() == 4:
            prior = prior + _squares(x[..., 1:, :] - x[..., :-1, :])
            prior = prior + _squares(x[..., 1:] - x[..., :-1])
        return fit + _SMOOTH * prior

    def _block_loss(
        self, stage: Stage, knee: fx.Node, x: Tensor, y: Tensor, p: Tensor, n: Tensor
    ) -> Tensor:
        values = self._run(stage, {stage.source: x}, replaced={knee: p})
        before = next(i for i in knee.all_input_nodes if self.head.kinds[i] is Origin.DATA)
        split = values[before] - p + n
        both = (p * n).flatten(1).sum(1)
        fit = _squares(y - values[stage.ends[0].value])
        return fit + _PENALTY * _squares(split) + _PENALTY * both.square()

    def _knee(self, stage: Stage) -> fx.Node | None:
        """The one ReLU inside a block of the published form."""
        if not stage.is_block or stage.ends[0].post is not None:
            return None
        bends = [node for node in stage.steps if self._bends(node)]
        return bends[0] if len(bends) == 1 and self._is_relu(bends[0]) else None

    def _bends(self, node: fx.Node) -> bool:
        if self.head.kinds[node] is not Origin.DATA:
            return False
        if node.op == "call_module":
            part = self.head.single.get_submodule(str(node.target))
            return isinstance(part, (nn.ReLU, nn.PReLU, nn.LeakyReLU, nn.MaxPool2d))
        return operation(node) in ("relu", "prelu", "leaky_relu", "max_pool2d")

    def _is_relu(self, node: fx.Node) -> bool:
        if node.op != "call_module":
            return operation(node) == "relu"
        return isinstance(self.head.single.get_submodule(str(node.target)), nn.ReLU)

    def _value(self, stage: Stage, x: Tensor) -> Tensor:
        out: Tensor = self._run(stage, {stage.source: x}, replaced={})[stage.ends[0].value]
        return out

    def _run(
        self, stage: Stage, values: dict[fx.Node, Any], *, replaced: dict[fx.Node, Tensor]
    ) -> dict[fx.Node, Any]:
        x = values[stage.source]
        for node in self.head.steps(stage.source, (stage.ends[0].value,)):
            if node in replaced:
                values[node] = replaced[node]
            elif node.target in (batch_size, device_of):
                values[node] = size_of(node, x)
            else:
                values[node] = execute(node, values, self.head.single)
        return values


def _squares(value: Tensor) -> Tensor:
    return value.flatten(1).square().sum(1)
