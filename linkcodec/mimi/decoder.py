"""Mimi's decoder: frames of codebook indices to 24 kHz speech."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from linkcodec.mimi.backend import Backend
from linkcodec.mimi.config import MimiConfig
from linkcodec.mimi.encoder import Residual, build_transformer, read_codebooks
from linkcodec.mimi.layers import CausalConv, DepthwiseConv, Stack, TransposedConv
from linkcodec.mimi.quantizer import LatentDecoder
from linkcodec.mimi.tensors import Tensors

__all__ = ["MimiDecoder"]


class MimiDecoder:
    """Indices (B, K, n), for any K, to samples (B, 1920 n)."""

    def __init__(
        self, config: MimiConfig, tensors: Tensors, backend: Backend, *, quantizers: int
    ) -> None:
        hidden = config.hidden_size
        _, books = read_codebooks(config, tensors.below("quantizer"))
        projected = config.vector_quantization_hidden_dimension
        projections = [
            tensors.take(
                f"quantizer.{chain}_residual_vector_quantizer.output_proj.weight",
                hidden,
                projected,
                1,
            )[:, :, 0]
            for chain in ("semantic", "acoustic")
        ]
        semantic, acoustic = books
        used = [semantic, acoustic[: quantizers - len(semantic)]]
        self._latents = LatentDecoder(projections, used, backend)
        self._double = DepthwiseConv(
            tensors.take("upsample.conv.weight", hidden, 1, 4), None, backend, upsample=2
        )
        self._transformer = build_transformer(config, tensors.below("decoder_transformer"), backend)
        back = tensors.below("decoder")
        width = config.num_filters * 2 ** len(config.upsampling_ratios)
        self._enter = CausalConv.read(
            back.below("layers.0"), (hidden, width, config.kernel_size), backend
        )
        self._units: list[tuple[TransposedConv, Residual]] = []
        number = 2
        for ratio in config.upsampling_ratios:
            up = TransposedConv.read(
                back.below(f"layers.{number}"),
                (width, width // 2, 2 * ratio),
                backend,
                stride=ratio,
            )
            width //= 2
            unit = Residual.read(config, back.below(f"layers.{number + 1}"), width, backend)
            self._units.append((up, unit))
            number += 3
        self._leave = CausalConv.read(
            back.below(f"layers.{number}"), (width, 1, config.last_kernel_size), backend
        )

    def state(self, batch: int = 1) -> Stack:
        """What `batch` new streams remember."""
        parts: list[Any] = [
            self._double.state(batch),
            self._transformer.state(batch),
            self._enter.state(batch),
        ]
        for up, unit in self._units:
            parts += [up.state(batch), unit.state(batch)]
        return Stack([*parts, self._leave.state(batch)])

    @torch.inference_mode()
    def __call__(self, indices: Tensor, state: Stack) -> Tensor:
        parts = iter(state.parts)
        x = self._double(self._latents(indices), next(parts))
        x = self._transformer(x, next(parts))
        x = self._enter(x, next(parts))
        for up, unit in self._units:
            x = up(F.elu(x), next(parts))
            x = unit(x, next(parts))
        x = self._leave(F.elu(x), next(parts))
        return x[:, :, 0].float()
