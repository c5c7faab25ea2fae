"""The network while it is trained: head, release and tail with what components put between."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from splitveil.data.types import LabelledImages
from splitveil.defences.alterations import Reduction
from splitveil.defences.base import (
    Calibration,
    Component,
    Setting,
    Statement,
    Structure,
    TrainedRelease,
    least_noise,
)
from splitveil.defences.objective import Objective, own_setting
from splitveil.defences.way import Way
from splitveil.errors import BadModel, BadPlan
from splitveil.models.grafts import describe_graft, graft
from splitveil.partition import Cut, Partition, trace
from splitveil.release import ChainedRelease, Release
from splitveil.rng import Rng
from splitveil.shapes import Features, Images, Labels

_BATCH = 250
Passed = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]


class Pipeline(nn.Module):
    """Images to logits, past the cut: tail(cloud(release(device(head(x)))))."""

    def __init__(
        self,
        network: nn.Module,
        way: Way | None,
        *,
        releases: Sequence[TrainedRelease] = (),
        companions: Sequence[nn.Module] = (),
        adversaries: Sequence[nn.Module] = (),
        frozen: Sequence[str] = (),
        reduction: Reduction | None = None,
    ) -> None:
        nn.Module.__init__(self)
        self.way = way
        if way is None:
            self.network: nn.Module | None = network
        else:
            self.network = None
            self.head, self.tail = way.partition.head, way.partition.tail
            self.device_side = nn.ModuleList(s.device for s in way.structures)
            self.cloud_side = nn.ModuleList(s.cloud for s in way.structures)
        self.releases = tuple(releases)
        self.fitted: tuple[Release, ...] = ()
        self.statements: tuple[Statement, ...] = ()
        self.companions = nn.ModuleList(companions)
        self.adversaries = nn.ModuleList(adversaries)
        self.frozen = tuple(frozen)
        self.reduction = reduction
        self.reduced: list[dict[str, object]] = []
        for name, parameter in self.own("named_parameters"):
            if _under(name, self.frozen):
                parameter.requires_grad = False

    def _roots(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules that hold the network's own weights under its own names."""
        if self.network is not None:
            yield "network.", self.network
        else:
            yield "head.network.", self.head.network  # type: ignore[misc]
            yield "tail.network.", self.tail.network  # type: ignore[misc]

    def own(self, kind: str) -> Iterator[tuple[str, Tensor]]:
        """The network's named parameters or buffers, under its own names."""
        for _, root in self._roots():
            yield from getattr(root, kind)()

    def train(self, mode: bool = True) -> "Pipeline":
        """As of any module, but frozen parts stay in eval: their statistics must not move."""
        nn.Module.train(self, mode)
        for _, root in self._roots():
            for name, module in root.named_modules():
                if _under(name, self.frozen):
                    module.eval()
        return self

    def forward(self, x: Images, generator: torch.Generator) -> Passed:
        """Logits; then features, what was sent, and the noise's scale, where there is a cut."""
        if self.network is not None:
            return self.network(x), None, None, None
        z = self.encode(x)
        sent, noise = self._send(z, generator)
        return self.answer(sent), z, sent, noise

    def encode(self, x: Images) -> Features:
        """Packed features z (n, f) behind all structures."""
        z: Tensor = self.head(x)
        if not self.device_side:
            return z
        (tensor,) = self.way.layouts[0].unpack(z)  # type: ignore[union-attr]
        for side in self.device_side:
            tensor = side(tensor)
        return tensor.flatten(1)

    def answer(self, sent: Features) -> Tensor:
        """The tail's logits to what was sent."""
        assert self.way is not None  # noqa: S101 - only with a cut
        if self.cloud_side:
            (tensor,) = self.way.layouts[-1].unpack(sent)
            for side in reversed(self.cloud_side):
                tensor = side(tensor)
            sent = tensor.flatten(1)
        logits: Tensor = self.tail(sent)
        return logits

    def _send(self, z: Features, generator: torch.Generator) -> tuple[Features, Tensor | None]:
        sent, noise = z, None
        for place, trained in enumerate(self.releases):
            if self.training:
                sent, scale = trained.send(sent, generator)
            else:
                fitted = self.fitted[place]
                sent = fitted(sent, generator)
                scale = least_noise(fitted, sent)
            noise = scale if noise is None else noise
        return sent, noise

    @torch.no_grad()
    def calibrate(
        self, x: Images, y: Labels, fresh: LabelledImages, rng: Rng, *, final: bool = False
    ) -> None:
        """Fit the releases to features of `x`, the network being in eval."""
        if not self.releases:
            return
        place = next(self.parameters()).device
        fitted: list[Release] = []
        statements: list[Statement] = []
        z = torch.cat([self.encode(part.to(place)) for part in x.split(_BATCH)])
        generator = rng.torch()
        for number, trained in enumerate(self.releases):
            own = rng.child("fit", number)
            found = trained.fitted(
                Calibration(
                    x=x.to(place),
                    y=y.to(place),
                    z=z,
                    head=self._up_to(fitted, own),
                    tail=self.answer,
                    fresh=fresh,
                    rng=own,
                    final=final,
                )
            )
            fitted.append(found.release)
            statements += found.statements
            z = fitted[-1](z, generator)
        self.fitted, self.statements = tuple(fitted), tuple(statements)

    def _up_to(self, before: Sequence[Release], rng: Rng) -> Callable[[Images], Features]:
        """Images to what the releases so far send of them."""
        before = tuple(before)

        def head(x: Images) -> Features:
            z = self.encode(x.to(next(self.parameters()).device))
            for number, release in enumerate(before):
                z = release(z, rng.child("before", number).torch())
            return z

        return head

    def shipped(self) -> dict[str, Tensor]:
        """Copies of all tensors that decide what ships: all but the adversaries'."""
        return {
            name: value.detach().cpu().clone()
            for name, value in self.state_dict().items()
            if not name.startswith("adversaries.")
        }

    @torch.no_grad()
    def finish(self, model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
        """A copy of `model` with the tensors of `state` in it and structures grafted on."""
        network = deepcopy(model).eval()
        own = network.state_dict()
        for prefix, _ in self._roots():
            for name, value in state.items():
                key = name.removeprefix(prefix)
                if name.startswith(prefix) and key in own:
                    own[key].copy_(value)
        if self.reduction is not None:
            self.reduced = self.reduction.apply(network)
        if self.way is not None and self.way.structures:
            assert self.way.path is not None  # noqa: S101 - checked when it was given a structure
            sides = []
            for name in ("device_side", "cloud_side"):
                side = deepcopy(getattr(self, name)).cpu()
                side.load_state_dict(
                    {
                        key.removeprefix(f"{name}."): value
                        for key, value in state.items()
                        if key.startswith(f"{name}.")
                    }
                )
                sides.append(list(side))
            graft(network, self.way.path, sides[0], sides[1][::-1])
        return network

    @torch.no_grad()
    def partition(
        self,
        finished: nn.Module,
        state: dict[str, Tensor],
        x: Images,
        y: Labels,
        fresh: LabelledImages,
        rng: Rng,
    ) -> Partition:
        """The finished network in two halves, its releases fitted to features of `x`.

        What is said of the releases is in `statements` afterwards.

        Raises:
            BadModel: if the halves do not answer as they did in training.
        """
        self.restore(state)
        if self.reduction is not None:
            self.reduction.apply(self.head.network)  # type: ignore[arg-type]
        self.calibrate(x, y, fresh, rng.child("release"), final=True)
        z = self.encode(x[:2])
        traced = trace(finished, x[:2])
        assert self.way is not None  # noqa: S101 - only with a cut
        found = self.way.partition.cut
        if self.way.structures:
            (own,) = self.way.layouts[-1].parts
            behind = [
                cut
                for cut in dict.fromkeys((*traced.menu(), *traced.prefixes()))
                if [part.shape for part in cut.layout.parts] == [own.shape]
                and torch.equal(traced.features(x[:2], [cut])[cut.id], z)
            ]
            if not behind:
                raise BadModel("the hardened network cannot be cut where it was hardened")
            found = behind[0]
        release = self.fitted[0] if len(self.fitted) == 1 else None
        if len(self.fitted) > 1:
            release = ChainedRelease(self.fitted)
        split = traced.split(traced.cut(found.id), release)
        if not torch.equal(split.predict(z), self.answer(z)):
            raise BadModel("the hardened network answers otherwise than in training: report a bug")
        return split

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put shipped tensors back, on the CPU and in eval."""
        self.cpu().eval().load_state_dict(state, strict=False)

    def grafts(self) -> list[dict[str, object]]:
        """What the finished network differs in, as plain data by which loading rebuilds it."""
        if self.way is None or not self.way.structures or self.way.path is None:
            return self.reduced
        device = [structure.device for structure in self.way.structures]
        cloud = [structure.cloud for structure in self.way.structures]
        return [*self.reduced, describe_graft(self.way.path, device, cloud[::-1])]

    def refuse_moved(self, source: nn.Module, finished: nn.Module) -> None:
        """Make sure that what is frozen is as it was.

        Raises:
            BadModel: naming the first tensor that moved.
        """
        now = finished.state_dict()
        for name, value in source.state_dict().items():
            if _under(name, self.frozen) and not torch.equal(now[self._now(name)], value):
                raise BadModel(f"'{name}' was to be frozen and moved: report a bug")

    def _now(self, name: str) -> str:
        """A tensor's name behind the graft."""
        path = None if self.way is None or not self.way.structures else self.way.path
        if path is None or not _under(name, (path,)):
            return name
        return f"{path}.body{name[len(path) :]}"


def _under(name: str, paths: Sequence[str]) -> bool:
    """Whether a tensor or module is one of `paths` or lies within."""
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def assemble(
    network: nn.Module, components: Sequence[Component], setting: Setting, cut: str | Cut | None
) -> tuple[Pipeline, Objective]:
    """What is trained, and the loss that trains it.

    Raises:
        BadPlan: if components contradict each other, or the cut cannot carry one.
        UnknownName: if there is no such cut.
    """
    assert setting.x is not None  # noqa: S101 - `harden` gives images
    way = None if cut is None else Way.of(network, cut, setting.x[:2])
    structures: dict[int, Structure] = {}
    for place, component in enumerate(components):
        own = own_setting(open_setting(setting, way), component, place)
        with own.rng.child("structure").as_global():
            structure = component.structure(own)
        if structure is not None and way is not None:
            way = way.with_structure(structure, str(component))
            structures[place] = structure
    objective = Objective.of(components, open_setting(setting, way), structures)
    pipeline = Pipeline(
        network,
        way,
        releases=objective.releases,
        companions=objective.companions,
        adversaries=objective.adversaries,
        frozen=objective.frozen,
        reduction=objective.reduction,
    )
    if objective.reduction is not None:
        held = [name for name in objective.reduction.layers if _under(name, objective.frozen)]
        if held:
            raise BadPlan(
                f"{held[0]} is to be frozen and to lose channels: freeze less, or prune elsewhere"
            )
    if not any(parameter.requires_grad for _, parameter in pipeline.own("named_parameters")):
        raise BadPlan("everything is frozen, so nothing is left to train: freeze less")
    return pipeline, objective


def open_setting(setting: Setting, way: Way | None) -> Setting:
    """The setting as it is behind the structures so far."""
    if way is None:
        return setting
    probe = Pipeline(nn.Module(), way)

    @torch.no_grad()
    def encode(x: Images) -> Features:
        modes = [(module, module.training) for module in probe.modules()]
        probe.eval()
        z = torch.cat([probe.encode(part) for part in x.split(_BATCH)])
        for module, mode in modes:  # a component may ask in the middle of training
            module.training = mode
        return z

    return replace(setting, cut=way.partition.cut, layout=way.layouts[-1], encode=encode)
