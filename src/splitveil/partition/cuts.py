"""Every place where a traced network can be cut, and the menu of those worth looking at."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

from torch import fx, nn

from splitveil.partition.flow import Fact
from splitveil.partition.frontier import Frontier, Units
from splitveil.partition.layout import Layout, Part
from splitveil.partition.naming import Label, Outline, label, step
from splitveil.partition.types import Cut, CutKind
from splitveil.records import digest

_MENU = (
    CutKind.CONVOLUTION,
    CutKind.LINEAR,
    CutKind.ACTIVATION,
    CutKind.POOL,
    CutKind.BLOCK,
)
_INSIDE_FIRST = (CutKind.ACTIVATION, CutKind.CONVOLUTION, CutKind.LINEAR, CutKind.POOL)


class CutFinder:
    """Finds the cuts of one traced module.

    Args:
        module: the traced network.
        facts: what is known of each value that depends on the input.
        outlines: what is known of each module the network was made of.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        facts: Mapping[fx.Node, Fact],
        outlines: Mapping[str, Outline],
    ) -> None:
        self.units = Units(module.graph, facts)
        self.facts = facts
        self.frontiers: dict[str, Frontier] = {}
        self._module = module
        entry = self.units.entry
        nodes = [node for node in module.graph.nodes if node in self.units.unit_of]
        self.labels = label(module, outlines, nodes)
        self.labels[entry] = Label("input", ("", "input", 0), CutKind.OTHER, view=True)
        self._work = [self._unit_work(unit) for unit in self.units.units]

    @cached_property
    def menu(self) -> tuple[Cut, ...]:
        """Single-tensor cuts after conv, linear, activation, pool and block, in graph order.

        Plus one cut inside each residual block, where the branch and the skip cross together.
        None lies before the first step with parameters: there, z would be the pixels.
        """
        found = [self._prefixes[i] for i in self._joints() if self._on_menu(i)]
        found += [self._prefixes[i] for i in self._insides()]
        order = {id(pair): index for index, pair in enumerate(self._prefixes)}
        found.sort(key=lambda pair: order[id(pair)])
        return tuple(pair[0] for pair in found if pair is not None)

    @cached_property
    def prefixes(self) -> tuple[Cut, ...]:
        """All cuts whose device half is a prefix of the graph's order, each once."""
        unique = {pair[0].id: pair[0] for pair in reversed(self._prefixes) if pair is not None}
        return tuple(reversed(unique.values()))

    @cached_property
    def output(self) -> Cut | None:
        """What the whole network answers, as one more cut; None where it cannot be packed.

        Its name is "logits" for one vector an image, "softmax" where that comes out of one, and
        "output" for anything else.
        """
        (end,) = self._module.graph.find_nodes(op="output")
        nodes = tuple(node for node in end.all_input_nodes if node in self.facts)
        if not nodes or any(self.facts[node].part is None for node in nodes):
            return None
        parts, identities = self._parts(nodes)
        vector = len(parts) == 1 and len(parts[0].shape) == 1 and parts[0].size > 1
        kind = "softmax" if step(nodes[0], self._module) == "softmax" else "logits"
        cut = Cut(
            id=digest(["output", *identities]),
            name=kind if vector else "output",
            kind=CutKind.OUTPUT,
            depth=1.0,
            layout=Layout(parts),
        )
        self.frontiers.setdefault(cut.id, Frontier(nodes, nodes, nodes[-1]))
        return cut

    def all_frontiers(self) -> Iterator[Cut]:
        """Cuts of every down-set, lazily, small ones first: they grow exponentially."""
        seen: set[str] = set()
        for members in self.units.down_sets():
            frontier = self.units.frontier(members)
            if frontier is not None:
                cut = self._cut(frontier, members)
                if cut.id not in seen:
                    seen.add(cut.id)
                    yield cut

    @cached_property
    def _prefixes(self) -> list[tuple[Cut, Frontier] | None]:
        pairs: list[tuple[Cut, Frontier] | None] = []
        for index in range(len(self.units.units)):
            frontier = self.units.prefix(index)
            cut = None if frontier is None else self._cut(frontier, (2 << index) - 1)
            pairs.append(None if frontier is None or cut is None else (cut, frontier))
        return pairs

    def _cut(self, frontier: Frontier, members: int) -> Cut:
        parts, identities = self._parts(frontier.nodes)
        last = self.labels[frontier.last]
        prefix = (members & (members + 1)) == 0
        name = last.name if prefix else "+".join(self.labels[n].name for n in frontier.nodes)
        single = len(frontier.core) == 1
        done = sum(w for i, w in enumerate(self._work) if members >> i & 1)
        cut = Cut(
            id=digest(sorted(identities, key=repr)),
            name=name,
            kind=self.labels[frontier.core[0]].kind if single else CutKind.INSIDE,
            depth=min(1.0, done / sum(self._work)),
            layout=Layout(parts),
        )
        self.frontiers.setdefault(cut.id, frontier)
        return cut

    def _parts(self, nodes: tuple[fx.Node, ...]) -> tuple[tuple[Part, ...], list[object]]:
        """What crosses where these are the tensors that do, and what an id is made of."""
        parts: list[Part] = []
        identities: list[object] = []
        for node in nodes:
            part = self.facts[node].part
            if part is not None:
                part = replace(part, name=self.labels[node].name)
                parts.append(part)
                shape = [list(part.shape), part.multiplicity, part.dtype]
                identities.append([list(self.labels[node].identity), shape])
        return tuple(parts), identities

    def _unit_work(self, unit: list[fx.Node]) -> float:
        """Operations per image: FLOPs, and one for each value that is not merely moved."""
        moved = all(self.labels[node].view for node in unit)
        flops = sum(self.facts[node].flops for node in unit)
        return flops + (0 if moved else sum(self.facts[node].values for node in unit)) + 1e-9

    @cached_property
    def _first(self) -> int:
        """The first unit with parameters."""
        for index, unit in enumerate(self.units.units):
            if any(has_parameters(node, self._module) for node in unit):
                return index
        return len(self.units.units)

    @cached_property
    def _end(self) -> int:
        """The unit from which on values are only moved: the model's output."""
        index = len(self.units.units) - 1
        while index > 0 and all(self.labels[node].view for node in self.units.units[index]):
            index -= 1
        return index

    def _joints(self) -> list[int]:
        """Units after which a single tensor separates all before from all after."""
        return [
            index
            for index in range(self._first, self._end)
            if (pair := self._prefixes[index]) is not None
            and len(pair[1].core) == 1
            and self.units.unit_of.get(pair[1].core[0]) == index
        ]

    def _on_menu(self, index: int) -> bool:
        pair = self._prefixes[index]
        return pair is not None and self.labels[pair[1].core[0]].kind in _MENU

    def _insides(self) -> list[int]:
        """For each residual block, the unit after which to cut inside it."""
        chosen: dict[str, tuple[tuple[int, float], int]] = {}
        for start, end in pairwise([*self._joints(), self._end]):
            if not self._is_residual(start, end):
                continue
            owner = self._owner(start + 1, end) or str(start)
            for index in range(start + 1, end):
                rank = self._inside_rank(index, (start + end) / 2)
                if rank is not None and (owner not in chosen or rank < chosen[owner][0]):
                    chosen[owner] = (rank, index)
        return [index for _, index in chosen.values()]

    def _is_residual(self, start: int, end: int) -> bool:
        join = self.units.units[end][0]
        given = [node for node in join.all_input_nodes if node in self.units.data]
        inside = range(start + 1, end)
        return (
            step(join, self._module) == "add"
            and len(given) > 1
            and any(self._has_parameters(index) for index in inside)
        )

    def _has_parameters(self, index: int) -> bool:
        return any(has_parameters(node, self._module) for node in self.units.units[index])

    def _inside_rank(self, index: int, middle: float) -> tuple[int, float] | None:
        pair = self._prefixes[index]
        if pair is None or len(pair[1].core) != 2:
            return None
        kind = self.labels[pair[1].last].kind
        place = _INSIDE_FIRST.index(kind) if kind in _INSIDE_FIRST else len(_INSIDE_FIRST)
        return place, abs(index - middle)

    def _owner(self, start: int, end: int) -> str:
        """The innermost module call that holds these units; empty for the model itself."""
        scopes = [self.units.units[i][0].meta["scope"] for i in range(start, end + 1)]
        shared = ""
        for level in zip(*scopes, strict=False):
            if len(set(level)) > 1:
                break
            shared = level[0]
        return shared


def has_parameters(node: fx.Node, module: nn.Module) -> bool:
    """Whether a step reads a parameter."""
    if node.op == "call_module":
        return any(True for _ in module.get_submodule(str(node.target)).parameters())
    reads = [given for given in node.all_input_nodes if given.op == "get_attr"]
    return any(isinstance(_attribute(given, module), nn.Parameter) for given in reads)


def _attribute(node: fx.Node, module: nn.Module) -> object:
    holder, _, name = str(node.target).rpartition(".")
    return getattr(module.get_submodule(holder), name, None)
