"""A network as a graph that can be cut anywhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, fx

from splitveil.errors import UnknownName
from splitveil.partition.cuts import CutFinder
from splitveil.partition.flow import Fact, execute, last_uses
from splitveil.partition.frontier import Frontier
from splitveil.partition.layout import Layout
from splitveil.partition.naming import Outline
from splitveil.partition.reuse import overwriting
from splitveil.partition.split import halves, needed
from splitveil.partition.types import Cut, Partition
from splitveil.release.base import Release
from splitveil.release.identity import Identity
from splitveil.shapes import Features


@dataclass(frozen=True, eq=False)
class _Stream:
    """What a pass over some cuts does at each step."""

    due: Mapping[fx.Node, Layout]
    dying: Mapping[fx.Node, list[fx.Node]]
    stop: int
    overwriting: frozenset[fx.Node]


@dataclass(frozen=True, eq=False)
class Traced:
    """A verified graph of a network; made by `trace`.

    `module` is the graph, in eval; `tracer` is "fx" or "export"; `trainable` says that it equals
    the model in train too; `notes` are sentences a reader of any result should see.
    """

    module: fx.GraphModule
    facts: dict[fx.Node, Fact] = field(repr=False)
    outlines: dict[str, Outline] = field(repr=False)
    tracer: str
    trainable: bool
    notes: tuple[str, ...] = ()

    @cached_property
    def _streams(self) -> "dict[tuple[str, ...], _Stream]":
        return {}

    @cached_property
    def _finder(self) -> CutFinder:
        return CutFinder(self.module, self.facts, self.outlines)

    def menu(self) -> tuple[Cut, ...]:
        """The cuts worth looking at, from the pixels towards the output.

        Single-tensor cuts after convolution, linear, activation, pool and block, and one cut inside
        each residual block, where the branch and the skip cross together.
        """
        return self._finder.menu

    @property
    def output(self) -> Cut | None:
        """What the whole network answers, split off like a cut; None where it cannot be packed.

        It is no place to cut: nothing is left for the cloud. It is what goes back or is logged.
        """
        return self._finder.output

    def prefixes(self) -> tuple[Cut, ...]:
        """Every cut whose device half is a prefix of the graph's order."""
        return self._finder.prefixes

    def frontiers(self, limit: int) -> Iterator[Cut]:
        """Cuts of all down-sets of the graph, lazily, at most `limit`: they grow exponentially."""
        return islice(self._finder.all_frontiers(), limit)

    def cut(self, name: str) -> Cut:
        """The cut of that name or id, on the menu, among the prefixes, or the output.

        Raises:
            UnknownName: with the nearest names that exist.
        """
        known = (*self.prefixes(), *self.menu())
        answer = () if self.output is None else (self.output,)
        for cut in (*reversed(known), *answer):
            if name in (cut.name, cut.id):
                return cut
        raise UnknownName("cut", name, {cut.name for cut in (*(self.menu() or known), *answer)})

    def split(self, cut: Cut, release: Release | None = None) -> Partition:
        """Both halves at a cut, on copies: training them leaves this object as it is.

        Raises:
            UnknownName: if the cut belongs to another network.
        """
        head, tail, shared = halves(self.module, self._frontier(cut), cut.layout)
        notes = self.notes
        if shared:
            names = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
            notes += (f"head and tail share parameters: {names}",)
        return Partition(
            cut=cut,
            head=head,
            release=Identity() if release is None else release,
            tail=tail,
            trainable=self.trainable,
            notes=notes,
        )

    def features(self, x: Tensor, cuts: Sequence[Cut]) -> dict[str, Tensor]:
        """Packed features z (n, f) of every cut by its id, in one pass up to the last of them."""
        return self._run(x, cuts, whole=False)[1]

    def tensors(self, cut: Cut) -> tuple[str, ...]:
        """Names of what crosses, one for each part of the layout, in the whole network's terms.

        A tensor has the same name at every cut where it crosses.
        """
        return tuple(node.name for node in self._frontier(cut).nodes)

    def stream(self, x: Tensor, cuts: Sequence[Cut]) -> Iterator[tuple[str, Features]]:
        """Each tensor that crosses at any of the cuts, once, by its name, as rows (n, f).

        It comes as soon as the one pass gets there and is not kept, so memory is that of a forward
        pass; `features` packs the same rows, side by side, for each cut.
        """
        plan = self._streamed(tuple(cut.id for cut in cuts), cuts)
        spare = frozenset() if torch.is_grad_enabled() else plan.overwriting
        for node, values in self._walk(x, plan.dying, plan.stop, spare):
            if node in plan.due:
                yield node.name, plan.due[node].pack([values[node]])

    def forward_with_features(
        self, x: Tensor, cuts: Sequence[Cut]
    ) -> tuple[Any, dict[str, Tensor]]:
        """The model's outputs, and packed features of every cut by its id, in one pass."""
        return self._run(x, cuts, whole=True)

    def steps(self, cut: Cut) -> tuple[list[fx.Node], list[fx.Node]]:
        """The graph's steps on the device and in the cloud; recomputed ones stand in both."""
        graph = self.module.graph
        nodes = self._frontier(cut).nodes
        output = next(iter(graph.find_nodes(op="output")))
        edge, cloud = needed(nodes, ()), needed((output,), nodes) - set(nodes)
        return [n for n in graph.nodes if n in edge], [n for n in graph.nodes if n in cloud]

    def _frontier(self, cut: Cut) -> Frontier:
        finder = self._finder
        if cut.id not in finder.frontiers:
            self.prefixes()
            _ = self.output  # known to the finder once asked for
        if cut.id not in finder.frontiers:
            raise UnknownName("cut", cut.name, {known.name for known in self.menu()})
        return finder.frontiers[cut.id]

    def _streamed(self, ids: tuple[str, ...], cuts: Sequence[Cut]) -> "_Stream":
        if ids not in self._streams:
            due = {
                node: Layout((part,))
                for cut in cuts
                for node, part in zip(self._frontier(cut).nodes, cut.layout.parts, strict=True)
            }
            order = {node: index for index, node in enumerate(self.module.graph.nodes)}
            self._streams[ids] = _Stream(
                due=due,
                dying=last_uses(self.module.graph),
                stop=max((order[node] for node in due), default=-1) + 1,
                overwriting=overwriting(self.module, due),
            )
        return self._streams[ids]

    def _run(self, x: Tensor, cuts: Sequence[Cut], *, whole: bool) -> tuple[Any, dict[str, Tensor]]:
        graph = self.module.graph
        order = {node: index for index, node in enumerate(graph.nodes)}
        due: dict[fx.Node, list[tuple[Cut, Frontier]]] = {}
        for cut in cuts:
            frontier = self._frontier(cut)
            due.setdefault(max(frontier.nodes, key=order.__getitem__), []).append((cut, frontier))
        reach = {node: order[node] for node in graph.nodes}
        for pairs in due.values():
            for _, frontier in pairs:
                final = max(order[node] for node in frontier.nodes)
                reach.update({node: max(reach[node], final) for node in frontier.nodes})
        stop = len(order) if whole else max((order[node] for node in due), default=-1) + 1
        dying: dict[fx.Node, list[fx.Node]] = {node: [] for node in order}
        nodes = list(order)
        for node, values in last_uses(graph).items():
            for value in values:
                dying[nodes[max(order[node], reach[value])]].append(value)
        found: dict[str, Tensor] = {}
        result: Any = None
        for node, values_of in self._walk(x, dying, stop):
            result = values_of[node]
            for cut, frontier in due.get(node, ()):
                found[cut.id] = cut.layout.pack([values_of[n] for n in frontier.nodes])
        return result, {cut.id: found[cut.id] for cut in cuts}

    def _walk(
        self,
        x: Tensor,
        dying: Mapping[fx.Node, list[fx.Node]],
        stop: int,
        overwriting: frozenset[fx.Node] = frozenset(),
    ) -> Iterator[tuple[fx.Node, dict[fx.Node, Any]]]:
        """Each step just taken, with the values alive then; those in `dying` go after theirs."""
        values_of: dict[fx.Node, Any] = {}
        for node in islice(self.module.graph.nodes, stop):
            if node.op == "placeholder":
                values_of[node] = x
            elif node in overwriting:
                values_of[node] = torch.relu_(values_of[node.all_input_nodes[0]])
            else:
                values_of[node] = execute(node, values_of, self.module)
            yield node, values_of
            for dead in dying[node]:
                del values_of[dead]
