"""Mimi's encoder: 24 kHz speech to 12.5 frames of codebook indices a second.

Also that of Qwen3-TTS-Tokenizer-12Hz. A convolutional front (SEANet) down to 25 steps/s, a
transformer, a last halving, and the split residual quantiser.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from linkcodec.mimi.backend import Backend
from linkcodec.mimi.config import FRAME_SIZE, MimiConfig
from linkcodec.mimi.layers import CausalConv, Stack
from linkcodec.mimi.quantizer import LatentCoder, codebook
from linkcodec.mimi.tensors import Tensors
from linkcodec.mimi.transformer import Attention, Transformer, TransformerLayer

__all__ = ["Residual", "SpeechEncoder", "build_transformer", "read_codebooks"]


class Residual:
    """A residual unit of SEANet: ELU, convolution, ELU, convolution, and the input added."""

    def __init__(self, convs: list[CausalConv]) -> None:
        self._convs = convs

    def state(self, batch: int) -> Stack:
        return Stack([conv.state(batch) for conv in self._convs])

    def __call__(self, x: Tensor, state: Stack) -> Tensor:
        y = x
        for conv, past in zip(self._convs, state.parts, strict=True):
            y = conv(F.elu(y), past)
        return x + y

    @classmethod
    def read(cls, config: MimiConfig, tensors: Tensors, width: int, backend: Backend) -> Residual:
        """The unit for `width` channels; the second convolution has kernel 1."""
        hidden = width // config.compress
        block = tensors.below("block")
        return cls(
            [
                CausalConv.read(
                    block.below("1"), (width, hidden, config.residual_kernel_size), backend
                ),
                CausalConv.read(block.below("3"), (hidden, width, 1), backend),
            ]
        )


def build_transformer(config: MimiConfig, tensors: Tensors, backend: Backend) -> Transformer:
    """Mimi's transformer: LayerNorm, GELU, no biases, scaled residual branches."""
    channels = config.hidden_size

    def norm(part: Tensors) -> tuple[Tensor, Tensor]:
        weight, bias = part.take("weight", channels), part.take("bias", channels)
        return backend.tensor(weight), backend.tensor(bias)

    def layer(part: Tensors) -> TransformerLayer:
        feed_scale = part.take("mlp_layer_scale.scale", channels)
        attention = Attention.read(
            part,
            channels=channels,
            heads=config.num_attention_heads,
            width=config.head_dim,
            window=config.sliding_window,
            backend=backend,
        )
        size = config.intermediate_size
        widen = backend.linear(part.take("mlp.fc1.weight", size, channels))
        narrow = backend.linear(part.take("mlp.fc2.weight", channels, size) * feed_scale[:, None])
        before_attention = norm(part.below("input_layernorm"))
        before_feed = norm(part.below("post_attention_layernorm"))
        shape = (channels,)
        return TransformerLayer(
            attention=attention,
            attention_norm=lambda x: F.layer_norm(x, shape, *before_attention, config.norm_eps),
            feed_forward=lambda x: narrow(F.gelu(widen(x))),
            feed_forward_norm=lambda x: F.layer_norm(x, shape, *before_feed, config.norm_eps),
        )

    return Transformer(
        [layer(tensors.below(f"layers.{n}")) for n in range(config.num_hidden_layers)],
        width=config.head_dim,
        window=config.sliding_window,
        rope_base=config.rope_theta,
        backend=backend,
    )


def read_codebooks(config: MimiConfig, tensors: Tensors) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Input projections and books of the semantic and the acoustic chain.

    The output projections are left to decoders: an encoder does not need them.
    """
    projections, books = [], []
    acoustic = config.num_quantizers - config.num_semantic_quantizers
    counts = {"semantic": config.num_semantic_quantizers, "acoustic": acoustic}
    for chain, count in counts.items():
        part = tensors.below(f"{chain}_residual_vector_quantizer")
        projected = config.vector_quantization_hidden_dimension
        into = part.take("input_proj.weight", projected, config.hidden_size, 1)
        projections.append(into[:, :, 0])
        part.ignore("output_proj.weight", config.hidden_size, projected, 1)
        vectors = []
        for number in range(count):
            book = part.below(f"layers.{number}.codebook")
            book.ignore("initialized", 1)
            vectors.append(
                codebook(
                    book.take("embed_sum", config.codebook_size, config.codebook_dim),
                    book.take("cluster_usage", config.codebook_size),
                )
            )
        books.append(vectors)
    return projections, books


class SpeechEncoder:
    """Samples (B, 1920 n) to indices (B, quantizers, n), for streams that advance in step."""

    def __init__(
        self, config: MimiConfig, tensors: Tensors, backend: Backend, *, quantizers: int
    ) -> None:
        """`quantizers` is the most that will be asked for."""
        self._backend = backend
        front = tensors.below("encoder")
        width = config.num_filters
        self._enter = CausalConv.read(
            front.below("layers.0"), (1, width, config.kernel_size), backend
        )
        self._units: list[tuple[Residual, CausalConv]] = []
        number = 1
        for ratio in reversed(config.upsampling_ratios):
            unit = Residual.read(config, front.below(f"layers.{number}"), width, backend)
            down = CausalConv.read(
                front.below(f"layers.{number + 2}"),
                (width, 2 * width, 2 * ratio),
                backend,
                stride=ratio,
            )
            self._units.append((unit, down))
            width *= 2
            number += 3
        self._leave = CausalConv.read(
            front.below(f"layers.{number + 1}"),
            (width, config.hidden_size, config.last_kernel_size),
            backend,
        )
        self._transformer = build_transformer(config, tensors.below("encoder_transformer"), backend)
        self._halve = CausalConv(
            tensors.take("downsample.conv.weight", config.hidden_size, config.hidden_size, 4),
            None,
            backend,
            stride=2,
            replicate=True,
        )
        projections, books = read_codebooks(config, tensors.below("quantizer"))
        semantic, acoustic = books
        used = [semantic[:quantizers], acoustic[: max(0, quantizers - len(semantic))]]
        self._code = LatentCoder(projections, used, backend.device)

    def state(self, batch: int = 1) -> Stack:
        """What `batch` new streams remember."""
        parts: list[Any] = [self._enter.state(batch)]
        for unit, down in self._units:
            parts += [unit.state(batch), down.state(batch)]
        parts += [
            self._leave.state(batch),
            self._transformer.state(batch),
            self._halve.state(batch),
        ]
        return Stack(parts)

    def latents(self, pcm: Tensor, state: Stack) -> Tensor:
        """Samples (B, 1920 n) to latents (B, n, hidden)."""
        assert pcm.shape[1] % FRAME_SIZE == 0
        parts = iter(state.parts)

        x = self._enter(pcm[:, :, None].to(self._backend.dtype), next(parts))
        for unit, down in self._units:
            x = unit(x, next(parts))
            x = down(F.elu(x), next(parts))
        x = self._leave(F.elu(x), next(parts))
        x = self._transformer(x, next(parts))
        return self._halve(x, next(parts))

    @torch.inference_mode()
    def __call__(self, pcm: Tensor, state: Stack, *, quantizers: int) -> Tensor:
        return self._code(self.latents(pcm, state), quantizers)
