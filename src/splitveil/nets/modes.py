"""Borrow a module in evaluation mode and give it back as it was."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Run the body in evaluation mode without gradients; every submodule's mode is put back.

    Batch statistics would mix the images of a batch, so nothing an attacker queries runs in
    training mode. Modes are restored one by one, also when the body fails.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    with ExitStack() as stack:
        stack.callback(_restore, modes)
        stack.enter_context(torch.no_grad())
        for module in modules:
            module.eval()
        yield


def _restore(modes: list[tuple[nn.Module, bool]]) -> None:
    for part, training in modes:
        part.training = training
