"""Causal transformers with a window, for streaming: Mimi's, and Qwen's with other parts.

Keys and values of the window lie in a buffer twice as long, in the order of time, so that
a step only appends; positions are rotary (RoPE, Su et al. 2021) and count from each
stream's own beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from linkcodec.mimi.backend import Backend
from linkcodec.mimi.state import State
from linkcodec.mimi.tensors import Tensors

__all__ = ["Attention", "AttentionState", "Transformer", "TransformerLayer", "TransformerState"]

Apply = Callable[[Tensor], Tensor]


@dataclass
class AttentionState(State):
    """Keys and values, (batch, heads, capacity, width); the first `used` are written."""

    keys: Tensor
    values: Tensor
    used: int = 0


@dataclass
class TransformerState(State):
    """`position` (batch,) counts the steps of each stream since its beginning."""

    layers: list[AttentionState]
    position: Tensor


class Attention:
    """Attention to the last `window` steps, the present one included.

    Args:
        query, key, value: (heads * width, channels).
        output: (channels, heads * width).
    """

    def __init__(
        self,
        *,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        heads: int,
        window: int,
        backend: Backend,
    ) -> None:
        self._heads = heads
        self._width = query.shape[0] // heads
        self._window = window
        self._backend = backend
        self._project = backend.linear(torch.cat((query, key, value)))
        self._output = backend.linear(output)

    @classmethod
    def read(
        cls,
        tensors: Tensors,
        *,
        channels: int,
        heads: int,
        width: int,
        window: int,
        backend: Backend,
    ) -> Attention:
        """The attention of a checkpoint's layer, `heads` of `width`, with its scale."""
        scale = tensors.take("self_attn_layer_scale.scale", channels)
        part, inner = tensors.below("self_attn"), heads * width
        return cls(
            query=part.take("q_proj.weight", inner, channels),
            key=part.take("k_proj.weight", inner, channels),
            value=part.take("v_proj.weight", inner, channels),
            output=part.take("o_proj.weight", channels, inner) * scale[:, None],
            heads=heads,
            window=window,
            backend=backend,
        )

    def state(self, batch: int) -> AttentionState:
        shape = (batch, self._heads, 2 * self._window, self._width)
        backend = self._backend
        return AttentionState(
            keys=torch.zeros(shape, dtype=backend.dtype, device=backend.device),
            values=torch.zeros(shape, dtype=backend.dtype, device=backend.device),
        )

    def __call__(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None, state: AttentionState
    ) -> Tensor:
        batch, steps, _ = x.shape
        projected = self._project(x).view(batch, steps, 3, self._heads, self._width)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        keys, values = self._append(_rotate(key, rotation), value, state)
        y = F.scaled_dot_product_attention(_rotate(query, rotation), keys, values, attn_mask=mask)
        return self._output(y.transpose(1, 2).reshape(batch, steps, self._heads * self._width))

    def _append(self, key: Tensor, value: Tensor, state: AttentionState) -> tuple[Tensor, Tensor]:
        """All keys and values that the new steps may look at: the window and the steps."""
        steps = key.shape[2]
        past = min(self._window - 1, state.used)
        if steps > self._window:
            keys = torch.cat((state.keys[:, :, state.used - past : state.used], key), dim=2)
            values = torch.cat((state.values[:, :, state.used - past : state.used], value), dim=2)
            state.keys[:, :, : self._window] = keys[:, :, -self._window :]
            state.values[:, :, : self._window] = values[:, :, -self._window :]
            state.used = self._window
            return keys, values
        if state.used + steps > state.keys.shape[2]:
            for buffer in (state.keys, state.values):
                buffer[:, :, :past] = buffer[:, :, state.used - past : state.used].clone()
            state.used = past
        end = state.used + steps
        state.keys[:, :, state.used : end] = key
        state.values[:, :, state.used : end] = value
        begin = state.used - past
        state.used = end
        return state.keys[:, :, begin:end], state.values[:, :, begin:end]


class TransformerLayer:
    """Attention and a two-layer network, each with a norm before it and a residual around it.

    The checkpoint's scales of the residual branches are part of the output weights here.
    """

    def __init__(
        self,
        *,
        attention: Attention,
        attention_norm: Apply,
        feed_forward: Apply,
        feed_forward_norm: Apply,
    ) -> None:
        self.attention = attention
        self._attention_norm = attention_norm
        self._feed_forward = feed_forward
        self._feed_forward_norm = feed_forward_norm

    def __call__(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None, state: AttentionState
    ) -> Tensor:
        x = x + self.attention(self._attention_norm(x), rotation, mask, state)
        return x + self._feed_forward(self._feed_forward_norm(x))


class Transformer:
    """Layers with common positions and window: (B, T, C) to the same shape."""

    def __init__(
        self,
        layers: Sequence[TransformerLayer],
        *,
        width: int,
        window: int,
        rope_base: float,
        backend: Backend,
    ) -> None:
        self._layers = layers
        self._window = window
        self._backend = backend
        steps = torch.arange(0, width, 2, dtype=torch.float64) / width
        self._frequencies = (rope_base**-steps).to(backend.device)

    def state(self, batch: int) -> TransformerState:
        return TransformerState(
            layers=[layer.attention.state(batch) for layer in self._layers],
            position=torch.zeros(batch, dtype=torch.int64, device=self._backend.device),
        )

    def __call__(self, x: Tensor, state: TransformerState) -> Tensor:
        steps = x.shape[1]
        rotation = self._rotation(state.position, steps)
        past = min(state.layers[0].used, self._window - 1)
        mask = self._mask(state.position, steps, past=past)
        for layer, remembered in zip(self._layers, state.layers, strict=True):
            x = layer(x, rotation, mask, remembered)
        state.position += steps
        return x

    def _rotation(self, position: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines, (batch, 1, steps, width / 2); exact however long the call."""
        times = position[:, None] + torch.arange(steps, device=position.device)
        angles = times[:, None, :, None] * self._frequencies
        dtype = self._backend.dtype
        return angles.cos().to(dtype), angles.sin().to(dtype)

    def _mask(self, position: Tensor, steps: int, *, past: int) -> Tensor | None:
        """Which of `past` + `steps` keys each step may look at, (batch, 1, steps, keys)."""
        if steps == 1 and bool((position >= past).all()):
            return None
        device = position.device
        age = past + torch.arange(steps, device=device)[:, None]
        age = age - torch.arange(past + steps, device=device)
        visible = (age >= 0) & (age < self._window)
        known = position[:, None, None] + torch.arange(steps, device=device)[:, None]
        return (visible & (age <= known))[:, None]


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (i, i + width / 2) of (batch, heads, steps, width) by their angles."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
