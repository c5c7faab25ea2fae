"""The chain of a residual network: stem, residual blocks, and what comes after them.

A network is cut where all that flows passes through one value. Between two such places lies either
one operation or a parallel stretch; a stretch that ends in the sum of a skip and a branch is a
residual block

    y = post(S x + g B(x)),      g = 1 in the network itself,

where S is the identity or a projection and B the branch. Nothing is read off class names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import prod

import torch
from torch import Tensor, fx, nn

from splitveil.attacks.peel.graph import HeadGraph
from splitveil.attacks.peel.linear import evaluate
from splitveil.errors import BadInput
from splitveil.partition.flow import Origin
from splitveil.partition.functional import operation


class Skip(StrEnum):
    """How the input reaches a block's sum beside the branch."""

    IDENTITY = "identity"
    PROJECTION = "projection"
    NONE = "none"


class Post(StrEnum):
    """The entrywise activation that comes last."""

    NONE = "none"
    RELU = "relu"
    LEAKY = "leaky"


@dataclass(frozen=True, eq=False)
class End:
    """Where a stage ends: `before` the last activation, the activation, a max-pool, the `value`.

    `post` is the node of the activation and `pool` that of the max-pool, where there are such.
    """

    before: fx.Node
    value: fx.Node
    post: fx.Node | None = None
    pool: fx.Node | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """One link of the chain, from the value of `source` to its `ends` (one but for the last stage).

    `branch` is the node that the gain scales, None outside residual blocks. `unknowns` and
    `outputs` count values per image; `nonnegative` says that the input is known to be >= 0.
    """

    name: str
    source: fx.Node
    ends: tuple[End, ...]
    steps: tuple[fx.Node, ...]
    skip: Skip
    branch: fx.Node | None
    unknowns: int
    outputs: int
    nonnegative: bool = False

    @property
    def is_block(self) -> bool:
        """Whether it is a residual block."""
        return self.branch is not None


def find_stages(head: HeadGraph) -> tuple[Stage, ...]:
    """The chain from the image to what is sent, first stage first.

    Layers between blocks form one stage each: the stem, transitions, what follows the last block.

    Raises:
        BadInput: if the chain cannot be followed.
    """
    places = _places(head)
    stages: list[Stage] = []
    start, run = places[0], places[0]
    index = 1
    while index < len(places):
        here, there = places[index - 1], places[index]
        branch, skip = _block(head, here, there)
        if branch is None:
            run = there
            index += 1
            continue
        if run is not start:
            stages.append(_stage(head, start, run))
        end = there
        if index + 1 < len(places) and _activation(head, places[index + 1], there):
            index += 1
            end = places[index]
        stages.append(replace(_stage(head, here, end), branch=branch, skip=skip))
        start = run = end
        index += 1
    if run is not start:
        stages.append(_stage(head, start, run))
    if len(head.crossing) > 1:
        last = places[-1]
        if set(head.crossing) != {last}:
            stages.append(_open_stage(head, last))
    return _marked(head, stages)


def _marked(head: HeadGraph, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Stages with names that do not repeat and what is known of their inputs."""
    found: list[Stage] = []
    for stage in stages:
        known = bool(found) and _is_relu(head, found[-1].ends[0].post)
        found.append(replace(stage, nonnegative=known))
    return tuple(found)


def _places(head: HeadGraph) -> list[fx.Node]:
    """The source and every value through which all that is sent is computed, in order."""
    data = [n for n in head.graph.nodes if n.op != "output" and head.kinds[n] is Origin.DATA]
    order = {node: index for index, node in enumerate(data)}
    reach = {
        node: max((order[user] for user in node.users if user in order), default=order[node])
        for node in data
    }
    for node in head.crossing:
        if len(head.crossing) > 1:
            reach[node] = len(data)
    found, furthest = [], -1
    for index, node in enumerate(data):
        if furthest <= index:
            found.append(node)
        furthest = max(furthest, reach[node])
        if len(head.crossing) == 1 and node is head.crossing[0]:
            break
    return found


def _parents(head: HeadGraph, node: fx.Node) -> list[fx.Node]:
    return [n for n in node.all_input_nodes if head.kinds[n] is Origin.DATA]


def _block(head: HeadGraph, here: fx.Node, there: fx.Node) -> tuple[fx.Node | None, Skip]:
    """The branch's last node and the kind of skip, if what lies between is a residual block."""
    parents = _parents(head, there)
    if operation(there) != "add" or len(parents) != 2:
        return None, Skip.NONE
    paths = {p: [] if p is here else list(head.steps(here, (p,))) for p in parents}
    paths = {p: [n for n in path if head.kinds[n] is Origin.DATA] for p, path in paths.items()}
    short, long = sorted(parents, key=lambda p: len(paths[p]))
    if short is here or _copies(head, here, short, paths[short]):
        return long, Skip.IDENTITY
    straight = [p for p in parents if not any(_bends(head, n) for n in paths[p])]
    if len(straight) == 1:
        short = straight[0]
        long = parents[0] if parents[1] is short else parents[1]
    return long, Skip.PROJECTION


def _copies(head: HeadGraph, here: fx.Node, there: fx.Node, path: list[fx.Node]) -> bool:
    """Whether a short path hands its input through, as a pool of window and stride 1 does."""
    if len(path) > 2 or head.shapes[here] != head.shapes[there]:
        return False
    probe = _numbers(head, here)
    (out,) = evaluate(head, head.steps(here, (there,)), here, (there,), probe)
    return torch.equal(out, probe)


def _numbers(head: HeadGraph, node: fx.Node) -> Tensor:
    """Distinct values of both signs, one image of that node's shape."""
    count = prod(head.shapes[node])
    device = next((t.device for t in head.double.state_dict().values()), None)
    numbers = torch.arange(count, dtype=torch.float64, device=device) - count / 3
    return numbers.reshape(1, *head.shapes[node])


def _bends(head: HeadGraph, node: fx.Node) -> bool:
    """Whether an operation is an activation; pools of a skip count as straight."""
    return _part(head, node) in (nn.ReLU, nn.PReLU, nn.LeakyReLU) or operation(node) in (
        "relu",
        "prelu",
        "leaky_relu",
    )


def _part(head: HeadGraph, node: fx.Node | None) -> type[nn.Module] | None:
    if node is None or node.op != "call_module":
        return None
    return type(head.single.get_submodule(str(node.target)))


def _is_relu(head: HeadGraph, node: fx.Node | None) -> bool:
    return node is not None and (_part(head, node) is nn.ReLU or operation(node) == "relu")


def _activation(head: HeadGraph, node: fx.Node, before: fx.Node) -> bool:
    """Whether a node is an entrywise activation of the node before it alone."""
    return _parents(head, node) == [before] and (_is_relu(head, node) or _leaks(head, node))


def _leaks(head: HeadGraph, node: fx.Node) -> bool:
    """Whether an activation multiplies negative values by a positive slope, so it is one-to-one."""
    if node.op != "call_module":
        return False
    part = head.single.get_submodule(str(node.target))
    if type(part) is nn.LeakyReLU:
        return part.negative_slope > 0
    return type(part) is nn.PReLU and bool((part.weight > 0).all())


def _end(head: HeadGraph, value: fx.Node, stop: fx.Node) -> End:
    """What precedes a stage's result: activation, then perhaps a max-pool."""
    pool = value if _part(head, value) is nn.MaxPool2d and value is not stop else None
    last = _parents(head, value)[0] if pool is not None else value
    if last is not stop:
        parents = _parents(head, last)
        if len(parents) == 1 and _activation(head, last, parents[0]):
            relu = _is_relu(head, last)
            if pool is None or relu:
                return End(parents[0], value, last, pool)
    return End(value, value)


def _stage(head: HeadGraph, source: fx.Node, value: fx.Node) -> Stage:
    end = _end(head, value, source)
    return _of(head, source, (end,), value.name)


def _open_stage(head: HeadGraph, source: fx.Node) -> Stage:
    ends = tuple(
        End(node, node) if node is source else _end(head, node, source) for node in head.crossing
    )
    return _of(head, source, ends, "+".join(node.name for node in head.crossing))


def _of(head: HeadGraph, source: fx.Node, ends: tuple[End, ...], name: str) -> Stage:
    return Stage(
        name=name,
        source=source,
        ends=ends,
        steps=head.steps(source, [end.before for end in ends]),
        skip=Skip.NONE,
        branch=None,
        unknowns=prod(head.shapes[source]),
        outputs=sum(prod(head.shapes[end.value]) for end in ends),
    )


def joined(head: HeadGraph, stages: Sequence[Stage]) -> Stage:
    """Several consecutive stages as one, whose unknown is the first one's input."""
    first, last = stages[0], stages[-1]
    return replace(
        _of(head, first.source, last.ends, f"{first.source.name} to {last.name}"),
        nonnegative=first.nonnegative,
    )


def rearrangement(head: HeadGraph, stage: Stage) -> Tensor | None:
    """The order in which a stage writes its input's values, if it does nothing else.

    Entry i of the flattened result is entry `order[i]` of the flattened input.
    """
    if len(stage.ends) != 1 or stage.unknowns != stage.outputs or stage.is_block:
        return None
    count = stage.unknowns
    probe = _numbers(head, stage.source)
    numbers = probe.flatten()
    (out,) = evaluate(head, stage.steps, stage.source, (stage.ends[0].before,), probe)
    if stage.ends[0].post is not None or out.numel() != count:
        return None
    order = (out.flatten() + count / 3).round().long()
    if not (int(order.min()) >= 0 and int(order.max()) < count):
        return None
    exact = torch.equal(numbers[order], out.flatten())
    return order if exact and len(order.unique()) == count else None


def require_blocks(stages: Sequence[Stage]) -> None:
    """Refuse a network without residual blocks.

    Raises:
        BadInput: naming what was expected.
    """
    if not any(stage.is_block for stage in stages):
        raise BadInput(
            "expected a residual network, found no sum of a skip and a branch: use an attack that "
            "works on any head, such as Decoder"
        )
