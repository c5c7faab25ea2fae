"""What an attacker may ask of a model: answers at one level, counted, never more than a budget.

label   the class alone
score   and softmax probabilities
white   and logits, penultimate features, and gradients of both
"""

from copy import deepcopy
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from splitveil.errors import BadModel, BadPlan, BudgetExceeded, KnowledgeMissing
from splitveil.models.weights import model_digest
from splitveil.naming import one_line
from splitveil.shapes import Features, Images, Labels, Logits

Level: TypeAlias = Literal["white", "score", "label"]
Scores: TypeAlias = Float[Tensor, "n k"]
_LEVELS: tuple[Level, ...] = ("label", "score", "white")


class Access:
    """A model from images in [0, 1] to logits, behind a door that counts images.

    It holds a copy in eval mode, so that dropout, noise and batch statistics of training never
    enter an answer and the caller's network is left alone. One image is one query, whatever is
    asked of it; a gradient of its logits is not counted again.

    Args:
        model: images (n, c, h, w) in [0, 1] to logits (n, k).
        level: "white", "score" or "label".
        budget: how many images may be asked in all; None for any number.
        batch: how many are asked at once where no gradient is wanted.
        device: where the copy computes; answers stay there.

    Raises:
        BadPlan: if there is no such level, or the budget or batch is not positive.
    """

    def __init__(
        self,
        model: nn.Module,
        level: Level,
        *,
        budget: int | None = None,
        batch: int = 512,
        device: str = "cpu",
    ) -> None:
        if level not in get_args(Level):
            raise BadPlan(f"access is white, score or label, got '{level}'")
        if batch < 1 or (budget is not None and budget < 1):
            raise BadPlan(f"budget and batch must be positive, got {budget} and {batch}")
        self._model = deepcopy(model).to(device).eval().requires_grad_(requires_grad=False)
        self._last: nn.Linear | None = None
        self.level = level
        self.budget = budget
        self.device = device
        self._batch = batch
        self._used = 0
        self._outputs: int | None = None

    @property
    def used(self) -> int:
        """How many images were asked."""
        return self._used

    @property
    def digest(self) -> str:
        """SHA-256 of the model behind the door."""
        return model_digest(self._model)

    def outputs(self, shape: tuple[int, ...]) -> int:
        """How many classes the model tells apart; known to everyone, so not counted.

        Raises:
            BadModel: if it refuses an image of `shape`, or gives no vector of logits.
        """
        if self._outputs is None:
            try:
                with torch.no_grad():
                    found = self._model(torch.zeros(1, *shape, device=self.device))
            except RuntimeError as failure:
                raise BadModel(
                    f"the model refuses an image of shape {tuple(shape)}: {one_line(failure)}; "
                    "give images of its size"
                ) from failure
            if not isinstance(found, Tensor) or found.dim() != 2:
                raise BadModel("the model gives no vector of logits for an image: choose output=")
            self._outputs = found.shape[1]
        return self._outputs

    def require(self, level: Level, who: str) -> None:
        """Refuse who needs more than this door gives.

        Raises:
            KnowledgeMissing: naming both levels.
        """
        if _LEVELS.index(level) > _LEVELS.index(self.level):
            raise KnowledgeMissing(
                f"{who} needs {level} access, this attacker has {self.level}: grant more, or "
                "choose an attack that needs less"
            )

    def charge(self, images: int) -> None:
        """Count images, such as those of an earlier run that is gone on with.

        Raises:
            BudgetExceeded: before anything is counted, if the budget would be passed.
        """
        if self.budget is not None and self._used + images > self.budget:
            raise BudgetExceeded(
                f"{images} queries asked, {self.budget - self._used} of {self.budget} left: raise "
                "the query budget, attack fewer classes, or choose an attack that needs fewer"
            )
        self._used += images

    def labels(self, x: Images) -> Labels:
        """The class of each image, without gradient.

        Raises:
            KnowledgeMissing: if x carries gradient and access is not white.
            BudgetExceeded: before anything is asked.
        """
        return self._ask(x).argmax(1)

    def scores(self, x: Images) -> Scores:
        """Softmax probabilities, without gradient.

        Raises:
            KnowledgeMissing: with label access, or if x carries gradient and access is not white.
            BudgetExceeded: before anything is asked.
        """
        self.require("score", "whoever asks for scores")
        return self._ask(x).softmax(1)

    def logits(self, x: Images) -> Logits:
        """Logits that pass gradient to x.

        Raises:
            KnowledgeMissing: unless access is white.
            BudgetExceeded: before anything is asked.
        """
        self.require("white", "whoever asks for logits")
        self.charge(len(x))
        logits: Tensor = self._model(x.to(self.device))
        return logits

    def logits_and_features(self, x: Images) -> tuple[Logits, Features]:
        """Logits and what the last linear layer is given, (n, f); both pass gradient to x.

        Raises:
            KnowledgeMissing: unless access is white.
            BadModel: if the model does not end in a linear layer.
            BudgetExceeded: before anything is asked.
        """
        self.require("white", "whoever asks for features")
        self.charge(len(x))
        x = x.to(self.device)
        if self._last is None:
            self._last = last_linear(self._model, x[:1])
        caught: list[Tensor] = []
        hook = self._last.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
        try:
            logits: Tensor = self._model(x)
        finally:
            hook.remove()
        return logits, caught[-1]

    def head(self, features: Features) -> Logits:
        """What the last linear layer makes of features, passing gradient: a matter of its weights.

        No image is asked, so nothing is counted.

        Raises:
            KnowledgeMissing: unless access is white.
            BadModel: if features were never asked for, or these are of another width.
        """
        self.require("white", "whoever reads weights")
        if self._last is None or features.shape[1] != self._last.in_features:
            wide = "unknown" if self._last is None else self._last.in_features
            raise BadModel(
                f"features of {features.shape[1]} values for a last layer of {wide}: give a "
                "network of the same make, as it was before fine-tuning"
            )
        logits: Tensor = self._last(features)
        return logits

    def _ask(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.require("white", "whoever follows a gradient")
        self.charge(len(x))
        if not len(x):
            raise BadPlan("nothing to ask: no images were given")
        with torch.no_grad():
            return torch.cat([self._model(part.to(self.device)) for part in x.split(self._batch)])


@torch.no_grad()
def last_linear(model: nn.Module, x: Images) -> nn.Linear:
    """The linear layer on vectors that is the last to run of all layers with weights.

    Raises:
        BadModel: if another layer is.
    """
    ran: list[tuple[nn.Module, int]] = []
    hooks: list[RemovableHandle] = [
        part.register_forward_pre_hook(lambda module, given: ran.append((module, given[0].dim())))
        for part in model.modules()
        if not any(part.children()) and any(True for _ in part.parameters())
    ]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran or not isinstance(ran[-1][0], nn.Linear) or ran[-1][1] != 2:
        found = type(ran[-1][0]).__name__ if ran else "nothing with weights"
        raise BadModel(
            f"no penultimate features: the model ends in {found}, expected a linear layer on "
            "vectors; choose an identity loss without a regulariser, or another network"
        )
    return ran[-1][0]
