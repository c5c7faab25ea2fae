"""What a search lowers, put together: models, views, identity and prior."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from splitveil.class_inversion.access import Access, Level
from splitveil.class_inversion.losses.base import Answer, IdentityLoss, PriorLoss
from splitveil.class_inversion.priors.base import Prior
from splitveil.class_inversion.views import Views
from splitveil.errors import BadPlan
from splitveil.shapes import Features, Images, Labels, PerImage


@dataclass(frozen=True, kw_only=True)
class Objective:
    """weight · mean over models and views of the identity loss + prior_weight · the prior loss.

    One number a latent: rows of a batch do not touch each other, so their sum has each row's own
    gradient, whatever the batch.

    Raises:
        BadPlan: if a weight is negative or not finite.
    """

    identity: IdentityLoss
    weight: float = 100.0
    prior: PriorLoss | None = None
    prior_weight: float = 1.0
    views: Views | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.weight < math.inf and 0 <= self.prior_weight < math.inf):
            raise BadPlan(f"weights must be 0 or more, got {self.weight} and {self.prior_weight}")


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """The search's side of an attack: latents in; images, losses and answers out.

    `target` is the door to the model under attack, `others` are doors to models of the attacker's
    own; `centre` (f,) the mean penultimate feature of public images, where the loss asks for it;
    `first` a door to the network before fine-tuning, where the attacker has it.
    """

    target: Access
    prior: Prior
    objective: Objective | None = None
    others: tuple[Access, ...] = ()
    centre: Features | Float[Tensor, " f"] | None = None
    first: Access | None = None

    def images(self, z: Float[Tensor, "n d"], labels: Labels) -> Images:
        """The images of latents, without gradient."""
        with torch.no_grad():
            return self.prior(z, labels)

    def losses(
        self, z: Float[Tensor, "n d"], labels: Labels, generator: torch.Generator
    ) -> tuple[PerImage, Images]:
        """The objective of each latent and the images it was taken on, both passing gradient.

        Raises:
            KnowledgeMissing: unless access is white.
            BudgetExceeded: before anything is asked.
        """
        plan = self.objective
        if plan is None:
            raise BadPlan("this search follows a gradient: give the attack an objective")
        images = self.prior(z, labels)
        views = plan.views
        draws = 1 if views is None else views.draws
        shown = images
        if views is not None:
            shown = torch.cat([views(images, generator) for _ in range(draws)])
        wanted = labels.repeat(draws)
        own = self._answer(plan.identity, shown)
        answers = [own, *(Answer(one.logits(shown), first=own.first) for one in self.others)]
        found = [plan.identity(answer, wanted) for answer in answers]
        total = plan.weight * torch.stack(found).unflatten(1, (draws, -1)).mean((0, 1))
        if plan.prior is not None and self.prior.critic is not None:
            total = total + plan.prior_weight * plan.prior(self.prior.critic(images))
        return total, images

    def _answer(self, identity: IdentityLoss, shown: Images) -> Answer:
        wants_first = identity.needs_first and self.first is not None
        if self.centre is None and not wants_first:
            return Answer(self.target.logits(shown))
        logits, features = self.target.logits_and_features(shown)
        first = None
        if wants_first and self.first is not None:
            first = self.target.head(self.first.logits_and_features(shown)[1])
        return Answer(logits, None if self.centre is None else features - self.centre, first)

    def named(self, z: Float[Tensor, "n d"], labels: Labels) -> Bool[Tensor, " n"]:
        """Whether the model names the image of each latent as its class; one query each."""
        return self.target.labels(self.images(z, labels)) == labels

    def confidence(self, images: Images, labels: Labels) -> PerImage:
        """The model's probability of each image's class; one query each."""
        return self.target.scores(images).gather(1, labels[:, None])[:, 0]


def check(objective: Objective | None, prior: Prior, level: Level) -> None:
    """Refuse an objective whose prior loss reads what the prior's critic does not say.

    Raises:
        BadPlan: naming the loss.
    """
    if objective is None:
        if level == "white":
            raise BadPlan("a search that follows a gradient needs an objective")
        return
    if objective.prior is None:
        return
    if prior.critic is None:
        raise BadPlan(
            f"{objective.prior} reads a critic and prior {prior.name} has none: train a prior with "
            "one, or leave the prior loss out"
        )
    place = next(prior.critic.parameters()).device
    with torch.no_grad():
        verdict = prior.critic(torch.zeros(2, *prior.shape, device=place))
    outputs = "one" if verdict.dim() == 1 else "classes"
    if outputs != objective.prior.outputs:
        raise BadPlan(
            f"{objective.prior} reads a critic with {objective.prior.outputs} output an image, the "
            f"critic of prior {prior.name} has {outputs}: choose the prior loss of this prior"
        )
