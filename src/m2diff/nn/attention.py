"""Self-attention between the pixels of a feature map."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.nn.blocks import group_norm
from m2diff.shapes import Features


class SelfAttention(nn.Module):
    """x + project(attention(norm(x))) over all pixels (Dhariwal and Nichol 2021, arXiv 2105.05233, section 3).

    Channels are split into heads first, then each head's into query, key and value.
    """

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"attention needs channels that divide by its heads, got {channels} and {heads}")
        self.heads = heads
        self.norm = group_norm(channels, groups)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.project = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Features) -> Features:
        """(b, c, h, w), or (b, c, d, h, w), to the same."""
        batch, channels = x.shape[:2]
        qkv: Tensor = self.qkv(self.norm(x).flatten(2))  # (b, 3c, pixels)
        heads = qkv.reshape(batch, self.heads, 3 * channels // self.heads, -1).transpose(2, 3)
        query, key, value = heads.chunk(3, dim=3)  # each (b, heads, pixels, c / heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(2, 3).reshape(batch, channels, -1)  # (b, c, pixels)
        return x + self.project(mixed).reshape(x.shape)
