"""Causal layers of Mimi and of the codecs built on it, for streaming inference.

Activations are (batch, time, channels). A layer is built from the tensors of a checkpoint,
in the precision of its `Backend`; `state(batch)` makes what it remembers of its streams and
a call advances them. Steps of any length give what one pass over the whole signal gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from linkcodec.mimi.backend import Backend
from linkcodec.mimi.state import State
from linkcodec.mimi.tensors import Tensors

__all__ = ["CausalConv", "ConvState", "DepthwiseConv", "Stack", "TransposedConv"]


@dataclass
class ConvState(State):
    """The inputs before the next one, (batch, past, channels); `started` is (batch,)."""

    past: Tensor
    started: Tensor


@dataclass
class Stack(State):
    """The states of several layers in their order of use."""

    parts: list[Any]


class _Past:
    """The part that all convolutions share: inputs of earlier steps come before the new."""

    def __init__(self, length: int, channels: int, backend: Backend, *, replicate: bool) -> None:
        self._length = length
        self._channels = channels
        self._backend = backend
        self._replicate = replicate

    def state(self, batch: int) -> ConvState:
        """The state before the first step: zeros, or (`replicate`) the first input itself."""
        backend = self._backend
        return ConvState(
            past=torch.zeros(
                batch, self._length, self._channels, dtype=backend.dtype, device=backend.device
            ),
            started=torch.zeros(batch, dtype=torch.bool, device=backend.device),
        )

    def extend(self, x: Tensor, state: ConvState) -> Tensor:
        """`x` with the `length` inputs before it, which the state remembers from now on."""
        if not self._length:
            return x
        past = state.past
        if self._replicate:
            past = torch.where(state.started[:, None, None], past, x[:, :1])
            state.started.fill_(True)
        extended = torch.cat((past, x), dim=1)
        state.past.copy_(extended[:, -self._length :])
        return extended


class CausalConv:
    """Convolution that sees the present and the past: (B, T, in) to (B, T / stride, out).

    Args:
        weight: (out, in, kernel), as in torch.
        bias: (out,) or None.
        replicate: before the first input lies that input again, instead of zeros.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        backend: Backend,
        *,
        stride: int = 1,
        dilation: int = 1,
        replicate: bool = False,
    ) -> None:
        reach = (weight.shape[2] - 1) * dilation + 1
        self._past = _Past(reach - stride, weight.shape[1], backend, replicate=replicate)
        self._apply = backend.convolution(weight, bias, stride=stride, dilation=dilation)

    @classmethod
    def read(
        cls,
        tensors: Tensors,
        shape: tuple[int, int, int],
        backend: Backend,
        *,
        stride: int = 1,
        dilation: int = 1,
    ) -> CausalConv:
        """The convolution `conv` of a checkpoint; `shape` is (inputs, outputs, kernel)."""
        inputs, outputs, kernel = shape
        return cls(
            tensors.take("conv.weight", outputs, inputs, kernel),
            tensors.take("conv.bias", outputs),
            backend,
            stride=stride,
            dilation=dilation,
        )

    def state(self, batch: int) -> ConvState:
        return self._past.state(batch)

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        return self._apply(self._past.extend(x, state))


class TransposedConv:
    """Upsampling: (B, T, in) to (B, T stride, out), cut to what is causal.

    With a kernel of n strides each output depends on n inputs, so this is a convolution of
    kernel n whose outputs are `stride` neighbouring steps.

    Args:
        weight: (in, out, kernel), as in torch; the kernel is a multiple of the stride.
        bias: (out,) or None.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, backend: Backend, *, stride: int
    ) -> None:
        inputs, outputs, kernel = weight.shape
        taps = kernel // stride
        by_tap = weight.reshape(inputs, outputs, taps, stride).flip(2)
        dense = by_tap.permute(3, 1, 0, 2).reshape(stride * outputs, inputs, taps)
        self._stride = stride
        self._outputs = outputs
        self._conv = CausalConv(dense, None if bias is None else bias.repeat(stride), backend)

    @classmethod
    def read(
        cls, tensors: Tensors, shape: tuple[int, int, int], backend: Backend, *, stride: int
    ) -> TransposedConv:
        """The upsampling `conv` of a checkpoint; `shape` is (inputs, outputs, kernel)."""
        inputs, outputs, kernel = shape
        return cls(
            tensors.take("conv.weight", inputs, outputs, kernel),
            tensors.take("conv.bias", outputs),
            backend,
            stride=stride,
        )

    def state(self, batch: int) -> ConvState:
        return self._conv.state(batch)

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        y = self._conv(x, state)
        return y.reshape(x.shape[0], x.shape[1] * self._stride, self._outputs)


class DepthwiseConv:
    """Each channel by itself: (B, T, C) to (B, T upsample, C).

    Args:
        weight: (C, 1, kernel), as in torch; of a transposed convolution where `upsample` > 1,
            whose kernel is then a multiple of it.
        bias: (C,) or None.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, backend: Backend, *, upsample: int = 1
    ) -> None:
        channels, _, kernel = weight.shape
        taps = kernel // upsample
        by_tap = weight.reshape(channels, taps, upsample)
        # Steps go back in time in a transposed convolution, forward in a plain one.
        by_tap = by_tap.flip(1) if upsample > 1 else by_tap
        self._weight = backend.tensor(by_tap.permute(2, 0, 1))
        self._bias = None if bias is None else backend.tensor(bias)
        self._taps = taps
        self._past = _Past(taps - 1, channels, backend, replicate=False)

    def state(self, batch: int) -> ConvState:
        return self._past.state(batch)

    def __call__(self, x: Tensor, state: ConvState) -> Tensor:
        windows = self._past.extend(x, state).unfold(1, self._taps, 1)
        y = torch.einsum("btck,uck->btuc", windows, self._weight).flatten(1, 2)
        return y if self._bias is None else y + self._bias
