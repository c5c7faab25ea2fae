"""A small vision transformer for 32x32 images (Dosovitskiy et al. 2021): 64 patches of 4x4."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head self-attention over tokens."""

    def __init__(self, width: int, heads: int) -> None:
        nn.Module.__init__(self)
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        mixed: Tensor = self.out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Pre-norm transformer block: x + attention, then x + two-layer network."""

    def __init__(self, width: int, heads: int) -> None:
        nn.Module.__init__(self)
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions, blocks, and a head on the class token."""

    def __init__(self, channels: int, classes: int, width: int, depth: int, heads: int) -> None:
        nn.Module.__init__(self)
        self.patches = nn.Conv2d(channels, width, 4, stride=4)
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, 65, width))
        self.reset_parameters()
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Class token and positions of an untrained network: zero."""
        self.token.zero_()
        self.positions.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, 32, 32) to logits (n, classes)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = self.blocks(tokens + self.positions)
        logits: Tensor = self.classifier(self.norm(tokens)[:, 0])
        return logits


def vit(channels: int = 1, classes: int = 10) -> nn.Module:
    """Width 80, five blocks, four heads."""
    return VisionTransformer(channels, classes, width=80, depth=5, heads=4)
