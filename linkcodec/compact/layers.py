"""Building blocks of the compact codec: causal, and the same code streaming and offline.

All tensors are (batch, time, channels). What a causal layer has to remember of its past
lives in a `Context`, one for each stream; the layers themselves are stateless.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Context:
    """Past inputs of all causal layers of one stream, in their order of use.

    Call `rewind` before each pass. On the first pass the past is zero.
    """

    def __init__(self, past: list[Tensor] | None = None) -> None:
        self._past = past or []
        self._cursor = 0

    def rewind(self) -> None:
        """Begin a new pass through the layers."""
        self._cursor = 0

    def extend(self, x: Tensor, length: int) -> Tensor:
        """`x` with the `length` steps before it, which are remembered for the next pass."""
        if self._cursor == len(self._past):
            self._past.append(x.new_zeros(x.shape[0], length, x.shape[2]))
        extended = torch.cat((self._past[self._cursor].to(x.dtype), x), dim=1)
        self._past[self._cursor] = extended[:, -length:].detach()
        self._cursor += 1
        return extended

    def copy(self) -> Context:
        """An independent copy, for snapshots."""
        return Context([past.clone() for past in self._past])


class Block(nn.Module):
    """Causal ConvNeXt block (Liu et al. 2022): depthwise convolution, then a two-layer MLP."""

    def __init__(self, channels: int, *, kernel: int, expansion: int) -> None:
        super().__init__()
        self.past = kernel - 1
        self.depthwise = nn.Conv1d(channels, channels, kernel, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, channels * expansion)
        self.narrow = nn.Linear(channels * expansion, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.2))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        y = self.depthwise(context.extend(x, self.past).transpose(1, 2)).transpose(1, 2)
        y = self.narrow(F.gelu(self.widen(self.norm(y)), approximate="tanh"))
        scaled: Tensor = y * self.scale
        return x + scaled


class Stage(nn.Module):
    """Several blocks at one rate."""

    def __init__(self, channels: int, *, blocks: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(channels, kernel=kernel, expansion=expansion) for _ in range(blocks)
        )

    def forward(self, x: Tensor, context: Context) -> Tensor:
        for block in self.blocks:
            x = block(x, context)
        return x


class Merge(nn.Module):
    """Halves the rate: two neighbouring steps become one."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(2 * channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, channels = x.shape
        merged: Tensor = self.mix(self.norm(x).reshape(batch, steps // 2, 2 * channels))
        return merged


class Split(nn.Module):
    """Doubles the rate: one step becomes two neighbouring ones."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(channels, 2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        mixed: Tensor = self.mix(self.norm(x))
        return mixed.reshape(batch, steps * 2, -1)
