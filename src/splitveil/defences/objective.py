"""The one loss that all components of a defence make together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from splitveil.defences.alterations import Reduction
from splitveil.defences.base import Batch, Component, Part, Setting, Structure, TrainedRelease
from splitveil.errors import BadPlan
from splitveil.shapes import Labels, Logits


@dataclass(frozen=True, eq=False)
class Objective:
    """mean_i w_i (-Σ_c q_ic ln p_ic) + Σ terms, from the parts of named components."""

    parts: tuple[tuple[str, Part], ...]

    @staticmethod
    def of(
        components: Sequence[Component],
        setting: Setting,
        structures: Mapping[int, Structure] | None = None,
    ) -> "Objective":
        """Prepare the components; `structures` are theirs, by their place.

        Raises:
            BadPlan: if there are none, or two that contradict each other.
        """
        if not components:
            raise BadPlan("nothing to harden with: give at least one component, such as onehot")
        parts = tuple(
            (str(component), _prepared(component, setting, place, (structures or {}).get(place)))
            for place, component in enumerate(components)
        )
        for field, what in (
            ("targets", "the targets"),
            ("groups", "which classes are one answer"),
            ("reduction", "what is taken out of the network"),
        ):
            claimed = [name for name, part in parts if getattr(part, field) is not None]
            if len(claimed) > 1:
                raise BadPlan(f"{' and '.join(claimed)} contradict each other: both set {what}")
        noisy = [name for name, part in parts if part.release and part.release.gaussian]
        if len(noisy) > 1:
            raise BadPlan(f"{' and '.join(noisy)} contradict each other: both set the noise")
        thirsty = [name for name, part in parts if part.needs_noise]
        if thirsty and not noisy:
            raise BadPlan(
                f"{thirsty[0]} counts information against noise, and without noise it is infinite: "
                "add a component such as noise(0.1)"
            )
        return Objective(parts)

    @property
    def releases(self) -> tuple[TrainedRelease, ...]:
        """The releases of all components, in order."""
        return tuple(part.release for _, part in self.parts if part.release is not None)

    @property
    def companions(self) -> tuple[nn.Module, ...]:
        """The modules that are trained with the network."""
        return tuple(part.modules for _, part in self.parts if part.modules is not None)

    @property
    def adversaries(self) -> tuple[nn.Module, ...]:
        """The networks that are trained against."""
        return tuple(one.network for _, part in self.parts for one in part.adversaries)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of what stays as it is."""
        return tuple(name for _, part in self.parts for name in part.frozen)

    @property
    def reduction(self) -> Reduction | None:
        """What is taken out of the network in the end."""
        return next((part.reduction for _, part in self.parts if part.reduction is not None), None)

    @property
    def slopes(self) -> bool:
        """Whether a component differentiates features by images."""
        return any(part.slopes for _, part in self.parts)

    @property
    def opposed(self) -> tuple[str, ...]:
        """The components that train against an adversary.

        It goes on learning, so losses of different epochs cannot be compared.
        """
        return tuple(name for name, part in self.parts if part.adversaries)

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Tell every component that keeps a memory of a batch."""
        for _, part in self.parts:
            if part.observe is not None:
                part.observe(batch)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know, of all components."""
        notes = tuple(note for _, part in self.parts for note in part.notes)
        if self.opposed:
            notes += (
                f"{' and '.join(self.opposed)}: the adversary goes on learning, so epochs cannot "
                "be compared; all were trained and the last is kept. What it leaks is for decoders "
                "trained afterwards to say.",
            )
        return notes

    def __call__(self, batch: Batch) -> Tensor:
        """The loss of one batch.

        Raises:
            BadPlan: naming the component whose term is not finite.
        """
        q = one_hot(batch.y, batch.logits.shape[1]).to(batch.logits)
        weights = torch.ones_like(q[:, 0])
        for _, part in self.parts:
            q = q if part.targets is None else part.targets(batch)
            weights = weights if part.weights is None else weights * part.weights(batch)
        total = (weights * -(q * batch.logits.log_softmax(1)).sum(1)).mean()
        for name, part in self.parts:
            price = part.term
            if not batch.training and part.validation is not None:
                price = part.validation
            if price is not None:
                term = price(batch)
                if not bool(torch.isfinite(term)):
                    raise BadPlan(
                        f"the term of {name} is {float(term)}: lower its weight "
                        "or the learning rate"
                    )
                total = total + term
        return total

    def hits(self, logits: Logits, y: Labels) -> Tensor:
        """Which answers count as right (n), by groups of classes where a component makes them."""
        groups = next((part.groups for _, part in self.parts if part.groups is not None), None)
        if groups is None:
            return logits.argmax(1) == y
        groups = groups.to(logits.device)
        shared = torch.zeros_like(logits).index_add_(1, groups, logits.softmax(1))
        return shared.argmax(1) == groups[y]


def own_setting(setting: Setting, component: Component, place: int) -> Setting:
    """The setting with the component's own random stream."""
    return replace(setting, rng=setting.rng.child(place, component.name))


def _prepared(
    component: Component, setting: Setting, place: int, structure: Structure | None
) -> Part:
    own = replace(own_setting(setting, component, place), own=structure)
    # layers that know the global generator only draw the same weights every time
    with own.rng.child("weights").as_global():
        return component.prepare(own)
