"""Small networks and files of weights of every kind that is read."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

FACTORY = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.body = nn.Conv2d(1, width, 3)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        z = self.body(x).mean((2, 3))
        return {"features": z, "logits": self.head(z)}

def make(width=3):
    return Two(width)

def single():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 4))

def pair():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = single()
        def forward(self, x):
            return x, self.inner(x)
    return Pair()

ready = single()
number = 3
def fails():
    raise RuntimeError("no such\\nlayer")
def text():
    return "a model"
def sure(logits, labels):
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]
def wrong_shape(logits, labels):
    return logits
def not_finite(logits, labels):
    return logits[:, 0] / 0
def broken(logits, labels):
    return logits[:, 99]
"""


def single(seed: int = 0) -> nn.Sequential:
    """The same network as the factory's, with its own weights."""
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 4))
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return network.eval()


def images(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def save(path: Path, state: dict[str, Tensor], form: str) -> Path:
    """Write `state` as safetensors, bare, nested, or prefixed as wrappers do."""
    prefixed = {f"module.{name}": value for name, value in state.items()}
    if form == "safetensors":
        save_file(state, path)
    else:
        stored = {
            "bare": state,
            "nested": {"state_dict": state, "epoch": 3},
            "model": {"model": state},
            "prefixed": prefixed,
            "both": {"state_dict": {f"_orig_mod.{name}": v for name, v in prefixed.items()}},
        }[form]
        torch.save(stored, path)
    return path
