"""Trace a network with torch.fx; a module that cannot be traced becomes one operation."""

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.proxy import ParameterProxy

from splitveil.errors import UnsupportedCut

_ENTRY = "model"


class _Entry(nn.Module):
    """Calls the model with one argument, so that optional arguments keep their defaults."""

    def __init__(self, model: nn.Module) -> None:
        nn.Module.__init__(self)
        self.add_module(_ENTRY, model)

    def forward(self, x: Any) -> Any:
        return self.get_submodule(_ENTRY)(x)


class AutoLeafTracer(fx.Tracer):
    """Steps into every module, and keeps whole the innermost one whose code it cannot follow.

    Each node's `meta["scope"]` lists the module calls around it, outermost first, as `path` or,
    from the second call of a shared module on, `path@1`.
    """

    def __init__(self, leaves: frozenset[str]) -> None:
        fx.Tracer.__init__(self, autowrap_modules=(math,))
        self.leaves = leaves
        self.failures: dict[str, str] = {}
        self._scope: list[str] = []
        self._calls: Counter[str] = Counter()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name.removeprefix(f"{_ENTRY}.") in self.leaves:
            return True
        if isinstance(m, nn.TransformerEncoder):
            return False
        return fx.Tracer.is_leaf_module(self, m, module_qualified_name)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Stand-ins for parameters, with constant shapes, and for buffers; never cached ones.

        A cached stand-in may belong to an attempt that was taken back.
        """
        if not isinstance(attr_val, Tensor) or isinstance(attr_val, fx.Proxy):
            return attr_val
        for name, value in self.root.named_parameters(remove_duplicate=False):
            if value is attr_val:
                return self._stand_in(name, value)
        for name, buffer in self.root.named_buffers(remove_duplicate=False):
            if buffer is attr_val:
                return self.create_proxy("get_attr", name, (), {})
        return attr_val

    def _stand_in(self, name: str, value: nn.Parameter) -> fx.Proxy:
        return self.create_proxy(
            "get_attr",
            name,
            (),
            {},
            proxy_factory_fn=lambda node: ParameterProxy(self, node, name, value),
        )

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = fx.Tracer.create_node(self, *args, **kwargs)
        node.meta["scope"] = tuple(self._scope)
        return node

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        path = self.path_of_module(m)
        with self._entered(path):
            if self.is_leaf_module(m, path):
                return self.create_proxy("call_module", path, args, kwargs)
            for attempt in (forward, *_other_ways(m)):
                last, calls = next(reversed(self.graph.nodes), None), self._calls.copy()
                try:
                    return attempt(*args, **kwargs)
                # Any failure of foreign code means the same here: this module stays whole.
                except Exception as error:
                    self.failures.setdefault(path, f"{type(error).__name__}: {error}")
                    self._take_back(last)
                    self._calls = calls
            return self.create_proxy("call_module", path, args, kwargs)

    @contextmanager
    def _entered(self, path: str) -> Iterator[None]:
        if path == _ENTRY:
            yield
            return
        name = path.removeprefix(f"{_ENTRY}.")
        again = self._calls[name]
        self._calls[name] += 1
        self._scope.append(f"{name}@{again}" if again else name)
        try:
            yield
        finally:
            self._scope.pop()

    def _take_back(self, last: fx.Node | None) -> None:
        for node in reversed(list(self.graph.nodes)):
            if node is last:
                return
            self.graph.erase_node(node)


def _other_ways(module: nn.Module) -> tuple[Callable[..., Any], ...]:
    """What to run where a forward cannot be followed, if it comes to the same.

    A forward beneath decorators, since run-time type checkers refuse fx's stand-ins; and the layers
    of torch's encoder one after another, when it is called without masks.
    """
    if type(module) is nn.TransformerEncoder:
        steps = [*module.layers, *([] if module.norm is None else [module.norm])]
        return (lambda src: reduce(lambda x, step: step(x), steps, src),)
    inner = inspect.unwrap(type(module).forward)
    if inner is type(module).forward:
        return ()
    return (lambda *args, **kwargs: inner(module, *args, **kwargs),)


def trace_fx(model: nn.Module, leaves: frozenset[str]) -> tuple[nn.Module, fx.Graph]:
    """The model's graph by torch.fx, with the module its targets refer to.

    `model` is used up: code run on stand-ins may leave them in its attributes, so give a copy.

    Raises:
        UnsupportedCut: if the outermost module's own code cannot be followed.
    """
    tracer = AutoLeafTracer(leaves)
    graph = tracer.trace(_Entry(model))
    for node in graph.nodes:
        if node.op == "call_module" and node.target == _ENTRY:
            raise UnsupportedCut(_first_line(tracer.failures.get(_ENTRY, "no forward")))
        if node.op in ("call_module", "get_attr"):
            name = node.target.removeprefix(f"{_ENTRY}.")
            if name == node.target and node.op == "get_attr":
                model.register_buffer(name, getattr(tracer.root, name), persistent=False)
            node.target = name
    return model, graph


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0]
