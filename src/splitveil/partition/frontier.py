"""Frontiers of a graph: sets of tensors that separate what is computed from what is to come.

Steps that depend on the input are grouped into units: a step that gives a tuple belongs with the
steps that pick its tensors, since only tensors can cross. A set of units closed under "needs" is a
down-set; the tensors in it that something outside it reads are its frontier.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import getitem

from torch import fx

from splitveil.partition.flow import Fact, Origin, origins


@dataclass(frozen=True)
class Frontier:
    """Tensors that cross, in graph order.

    `last` is the step computed last; `core` are those among `nodes` that a later step reads, the
    rest are finished outputs of the model.
    """

    nodes: tuple[fx.Node, ...]
    core: tuple[fx.Node, ...]
    last: fx.Node


class Units:
    """The steps of a graph that depend on its input, grouped and ordered."""

    def __init__(self, graph: fx.Graph, facts: Mapping[fx.Node, Fact]) -> None:
        source = origins(graph)
        self.facts = facts
        self.entry = next(node for node in graph.nodes if node.op == "placeholder")
        self.data = {node for node, origin in source.items() if origin is Origin.DATA}
        self.unit_of: dict[fx.Node, int] = {}
        self.units: list[list[fx.Node]] = []
        for node in graph.nodes:
            if node not in self.data or node.op in ("placeholder", "output"):
                continue
            producer = node.args[0] if node.target is getitem else None
            if producer in self.unit_of and facts[producer].part is None:
                self.unit_of[node] = self.unit_of[producer]
                self.units[self.unit_of[node]].append(node)
            else:
                self.unit_of[node] = len(self.units)
                self.units.append([node])
        self._order = {node: index for index, node in enumerate(graph.nodes)}
        self.needs = [self._needs(unit) for unit in self.units]

    def _needs(self, unit: list[fx.Node]) -> int:
        """The units that must come before, as bits."""
        bits = 0
        for node in unit:
            for given in node.all_input_nodes:
                if given in self.unit_of:
                    bits |= 1 << self.unit_of[given]
        return bits & ~(1 << self.unit_of[unit[0]])

    def prefix(self, index: int) -> Frontier | None:
        """The frontier after units 0 to `index`, or None where there is none."""
        return self.frontier((2 << index) - 1)

    def frontier(self, members: int) -> Frontier | None:
        """The frontier of a down-set given as bits, or None if it cannot be cut there."""
        nodes, core = [], []
        last = self.entry
        for node in (self.entry, *self._inside(members)):
            last = node if self._order[node] > self._order[last] else last
            later = [user for user in node.users if self._is_later(user, members)]
            if later:
                nodes.append(node)
                if any(user.op != "output" for user in later):
                    core.append(node)
        packable = all(self.facts[node].part is not None for node in nodes)
        if not core or not packable or last is self.entry:
            return None
        nodes.sort(key=self._order.__getitem__)
        return Frontier(tuple(nodes), tuple(core), last)

    def _inside(self, members: int) -> Iterator[fx.Node]:
        for index, unit in enumerate(self.units):
            if members >> index & 1:
                yield from unit

    def _is_later(self, user: fx.Node, members: int) -> bool:
        if user.op == "output":
            return True
        return user in self.unit_of and not members >> self.unit_of[user] & 1

    def down_sets(self) -> Iterator[int]:
        """All non-empty down-sets as bits, small ones first, each once."""
        waiting = deque([0])
        seen = {0}
        while waiting:
            members = waiting.popleft()
            if members:
                yield members
            for index, needs in enumerate(self.needs):
                grown = members | 1 << index
                if grown not in seen and needs & ~members == 0:
                    seen.add(grown)
                    waiting.append(grown)
