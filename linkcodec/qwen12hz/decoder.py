"""Qwen3-TTS-Tokenizer-12Hz's decoder: frames of codebook indices to 24 kHz speech.

A transformer at 12.5 steps/s, two doublings with ConvNeXt blocks, and a BigVGAN-like stack
of transposed convolutions with SnakeBeta activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from linkcodec.mimi.backend import Backend
from linkcodec.mimi.layers import CausalConv, DepthwiseConv, Stack, TransposedConv
from linkcodec.mimi.quantizer import LatentDecoder, codebook
from linkcodec.mimi.tensors import Tensors
from linkcodec.mimi.transformer import Attention, Transformer, TransformerLayer
from linkcodec.qwen12hz.config import DecoderConfig

__all__ = ["SpeechDecoder"]

_SNAKE_EPSILON = 1e-9
_CONVNEXT_EPSILON = 1e-6
_DILATIONS = (1, 3, 9)


class _Snake:
    """x + sin(a x)^2 / b for each channel (SnakeBeta, Lee et al. 2023)."""

    def __init__(self, tensors: Tensors, channels: int, backend: Backend) -> None:
        self._rate = backend.tensor(tensors.take("alpha", channels).exp())
        amount = 1.0 / (tensors.take("beta", channels).exp() + _SNAKE_EPSILON)
        self._amount = backend.tensor(amount)

    def __call__(self, x: Tensor) -> Tensor:
        wave = (x * self._rate).sin_()
        return torch.addcmul(x, wave.mul_(wave), self._amount)


class _ConvNext:
    """ConvNeXt block (Liu et al. 2022)."""

    def __init__(self, tensors: Tensors, channels: int, backend: Backend) -> None:
        depthwise = tensors.below("dwconv.conv")
        self.depthwise = DepthwiseConv(
            depthwise.take("weight", channels, 1, 7), depthwise.take("bias", channels), backend
        )
        self._norm_weight = backend.tensor(tensors.take("norm.weight", channels))
        self._norm_bias = backend.tensor(tensors.take("norm.bias", channels))
        inner = 4 * channels
        scale = tensors.take("gamma", channels)
        self._widen = backend.linear(
            tensors.take("pwconv1.weight", inner, channels), tensors.take("pwconv1.bias", inner)
        )
        self._narrow = backend.linear(
            tensors.take("pwconv2.weight", channels, inner) * scale[:, None],
            tensors.take("pwconv2.bias", channels) * scale,
        )
        self._shape = (channels,)

    def __call__(self, x: Tensor, state: Any) -> Tensor:
        y = self.depthwise(x, state)
        y = F.layer_norm(y, self._shape, self._norm_weight, self._norm_bias, _CONVNEXT_EPSILON)
        return x + self._narrow(F.gelu(self._widen(y)))


@dataclass
class _Unit:
    """Residual unit: Snake, dilated convolution, Snake, convolution of kernel 1."""

    first: Callable[[Tensor], Tensor]
    conv: CausalConv
    second: Callable[[Tensor], Tensor]
    mix: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor, state: Any) -> Tensor:
        return x + self.mix(self.second(self.conv(self.first(x), state)))


@dataclass
class _Block:
    """Snake, transposed convolution, and residual units."""

    enter: Callable[[Tensor], Tensor]
    up: TransposedConv
    units: list[_Unit]


def _read_unit(tensors: Tensors, channels: int, dilation: int, backend: Backend) -> _Unit:
    mix = tensors.below("conv2.conv")
    return _Unit(
        first=_Snake(tensors.below("act1"), channels, backend),
        conv=CausalConv.read(
            tensors.below("conv1"), (channels, channels, 7), backend, dilation=dilation
        ),
        second=_Snake(tensors.below("act2"), channels, backend),
        mix=backend.convolution(
            mix.take("weight", channels, channels, 1), mix.take("bias", channels)
        ),
    )


def _read_latents(config: DecoderConfig, tensors: Tensors, backend: Backend) -> LatentDecoder:
    width = config.codebook_dim // 2
    projections, books = [], []
    for chain, count in (("rvq_first", 1), ("rvq_rest", config.num_quantizers - 1)):
        part = tensors.below(chain)
        # Decoding has no use for the way into the quantiser.
        part.ignore("input_proj.weight", width, config.codebook_dim, 1)
        projections.append(part.take("output_proj.weight", config.codebook_dim, width, 1)[:, :, 0])
        vectors = []
        for number in range(count):
            book = part.below(f"vq.layers.{number}._codebook")
            vectors.append(
                codebook(
                    book.take("embedding_sum", config.codebook_size, width),
                    book.take("cluster_usage", config.codebook_size),
                )
            )
        books.append(vectors)
    return LatentDecoder(projections, books, backend)


def _read_transformer(config: DecoderConfig, tensors: Tensors, backend: Backend) -> Transformer:
    channels = config.hidden_size

    def layer(part: Tensors) -> TransformerLayer:
        feed_scale = part.take("mlp_layer_scale.scale", channels)
        feed = part.below("mlp")
        size = config.intermediate_size
        widen = backend.linear(
            torch.cat(
                (
                    feed.take("gate_proj.weight", size, channels),
                    feed.take("up_proj.weight", size, channels),
                )
            )
        )
        narrow = backend.linear(feed.take("down_proj.weight", channels, size) * feed_scale[:, None])

        def feed_forward(x: Tensor) -> Tensor:
            gate, up = widen(x).chunk(2, dim=-1)
            return narrow(F.silu(gate) * up)

        return TransformerLayer(
            attention=Attention.read(
                part,
                channels=channels,
                heads=config.num_attention_heads,
                width=config.head_dim,
                window=config.sliding_window,
                backend=backend,
            ),
            attention_norm=_read_norm(config, part.below("input_layernorm"), backend),
            feed_forward=feed_forward,
            feed_forward_norm=_read_norm(config, part.below("post_attention_layernorm"), backend),
        )

    return Transformer(
        [layer(tensors.below(f"layers.{n}")) for n in range(config.num_hidden_layers)],
        width=config.head_dim,
        window=config.sliding_window,
        rope_base=config.rope_theta,
        backend=backend,
    )


def _read_norm(
    config: DecoderConfig, tensors: Tensors, backend: Backend
) -> Callable[[Tensor], Tensor]:
    shape = (config.hidden_size,)
    weight = backend.tensor(tensors.take("weight", config.hidden_size))
    return lambda x: F.rms_norm(x, shape, weight, config.rms_norm_eps)


class SpeechDecoder:
    """Indices (B, K, n), for any K up to 16, to samples (B, 1920 n) within -1..1."""

    def __init__(self, config: DecoderConfig, tensors: Tensors, backend: Backend) -> None:
        latent, hidden = config.latent_dim, config.hidden_size
        self._latents = _read_latents(config, tensors.below("quantizer"), backend)
        self._pre = CausalConv.read(
            tensors.below("pre_conv"), (config.codebook_dim, latent, 3), backend
        )
        part = tensors.below("pre_transformer")
        self._into = backend.linear(
            part.take("input_proj.weight", hidden, latent), part.take("input_proj.bias", hidden)
        )
        self._transformer = _read_transformer(config, part, backend)
        self._norm = _read_norm(config, part.below("norm"), backend)
        self._out_of = backend.linear(
            part.take("output_proj.weight", latent, hidden), part.take("output_proj.bias", latent)
        )
        self._doublings: list[tuple[TransposedConv, _ConvNext]] = []
        for number, ratio in enumerate(config.upsampling_ratios):
            part = tensors.below(f"upsample.{number}")
            up = TransposedConv.read(
                part.below("0"), (latent, latent, ratio), backend, stride=ratio
            )
            self._doublings.append((up, _ConvNext(part.below("1"), latent, backend)))
        width = config.decoder_dim
        stack = tensors.below("decoder")
        self._enter = CausalConv.read(stack.below("0"), (latent, width, 7), backend)
        self._blocks: list[_Block] = []
        for number, rate in enumerate(config.upsample_rates, start=1):
            part = stack.below(f"{number}.block")
            enter = _Snake(part.below("0"), width, backend)
            up = TransposedConv.read(
                part.below("1"), (width, width // 2, 2 * rate), backend, stride=rate
            )
            width //= 2
            units = [
                _read_unit(part.below(str(place)), width, dilation, backend)
                for place, dilation in enumerate(_DILATIONS, start=2)
            ]
            self._blocks.append(_Block(enter, up, units))
        last = len(config.upsample_rates) + 1
        self._last = _Snake(stack.below(str(last)), width, backend)
        self._leave = CausalConv.read(stack.below(str(last + 1)), (width, 1, 7), backend)

    def state(self, batch: int = 1) -> Stack:
        """What `batch` new streams remember."""
        parts: list[Any] = [self._pre.state(batch), self._transformer.state(batch)]
        for up, block in self._doublings:
            parts += [up.state(batch), block.depthwise.state(batch)]
        parts.append(self._enter.state(batch))
        for stage in self._blocks:
            parts.append(stage.up.state(batch))
            parts += [unit.conv.state(batch) for unit in stage.units]
        return Stack([*parts, self._leave.state(batch)])

    @torch.inference_mode()
    def __call__(self, indices: Tensor, state: Stack) -> Tensor:
        parts = iter(state.parts)
        x = self._pre(self._latents(indices), next(parts))
        x = self._transformer(self._into(x), next(parts))
        x = self._out_of(self._norm(x))
        for up, block in self._doublings:
            x = block(up(x, next(parts)), next(parts))
        x = self._enter(x, next(parts))
        for stage in self._blocks:
            x = stage.up(stage.enter(x), next(parts))
            for unit in stage.units:
                x = unit(x, next(parts))
        x = self._leave(self._last(x), next(parts))
        return x[:, :, 0].float().clamp(-1.0, 1.0)
