"""What a network gives away with each answer: its outputs, their probabilities, or a cut."""

import torch
from torch import Tensor, nn

from splitveil.errors import BadModel
from splitveil.malicious.tasks import Task
from splitveil.nets import evaluating
from splitveil.partition import trace
from splitveil.partition.layout import Layout, Part
from splitveil.shapes import Images

LOGITS = "logits"
_BATCH = 250


class Released(nn.Module):
    """A network that gives its outputs and, beside them, what is released of them.

    `release` is "logits", the task's probabilities ("softmax" for classes, "sigmoid" for
    attributes), or the name or id of a cut. At a cut the network is its traced graph.

    Raises:
        BadModel: if outputs are not one finite vector an image, as long as the task has it.
        UnknownName: if there is no such cut.
        UnsupportedCut: if the network cannot be traced.
    """

    def __init__(self, network: nn.Module, release: str, task: Task, x: Images) -> None:
        nn.Module.__init__(self)
        self.release, self.task = release, task
        _check(network, task, x)
        plain = release in (LOGITS, task.probabilities)
        self.traced = None if plain else trace(network, x[:2])
        self.cut = None if self.traced is None else self.traced.cut(release)
        self.network = network if self.traced is None else self.traced.module

    @property
    def layout(self) -> Layout:
        """What crosses, one image."""
        if self.cut is not None:
            return self.cut.layout
        return Layout((Part(name=self.release, shape=(self.task.outputs,)),))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (n, k) and codes (n, f) of images."""
        if self.traced is not None and self.cut is not None:
            outputs, found = self.traced.forward_with_features(x, [self.cut])
            return outputs, found[self.cut.id]
        outputs = self.network(x)
        return outputs, outputs if self.release == LOGITS else self.task.probability(outputs)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same in eval mode, without a gradient, in batches, on the CPU."""
        device = next(self.network.parameters()).device
        with evaluating(self):
            found = [self(part.to(device)) for part in x.split(_BATCH)]
        outputs, codes = zip(*found, strict=True)
        return torch.cat(outputs).float().cpu(), torch.cat(codes).float().cpu()


def _check(network: nn.Module, task: Task, x: Tensor) -> None:
    if not any(True for _ in network.parameters()):
        raise BadModel("the classifier has no parameters: there is nothing to train")
    device = next(network.parameters()).device
    with evaluating(network):
        try:
            outputs = network(x[:4].to(device))
        except RuntimeError as error:
            raise BadModel(
                f"the classifier fails on images of shape {tuple(x.shape[1:])}: {error}"
            ) from error
    if not isinstance(outputs, Tensor) or outputs.shape != (len(x[:4]), task.outputs):
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise BadModel(
            f"the task has {task.outputs} outputs, so {len(x[:4])} images should give "
            f"{(len(x[:4]), task.outputs)}; the classifier gives {got}"
        )
    if not bool(outputs.isfinite().all()):
        raise BadModel(
            "the classifier's outputs are NaN or infinite before training: mend its weights"
        )
