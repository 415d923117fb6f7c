"""Sizes of Qwen3-TTS-Tokenizer-12Hz, as its `config.json` states them.

The file leaves out what equals the defaults of the reference's configuration classes,
which therefore stand here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from linkcodec.exceptions import CodecError
from linkcodec.mimi.config import FRAME_SIZE, SAMPLE_RATE, MimiConfig, read_fields

__all__ = ["DecoderConfig", "QwenConfig"]

_FIXED: Final[dict[str, tuple[Any, ...]]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "rope_scaling": (None,),
}
_FIXED_TOP: Final = {
    "input_sample_rate": SAMPLE_RATE,
    "output_sample_rate": SAMPLE_RATE,
    "encode_downsample_rate": FRAME_SIZE,
    "decode_upsample_rate": FRAME_SIZE,
}


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Names as in `config.json`, part `decoder_config`."""

    codebook_size: int = 2048
    codebook_dim: int = 512
    hidden_size: int = 1024
    latent_dim: int = 1024
    rope_theta: float = 10_000.0
    num_attention_heads: int = 16
    head_dim: int = 64
    sliding_window: int = 72
    intermediate_size: int = 3072
    rms_norm_eps: float = 1e-5
    num_hidden_layers: int = 8
    num_quantizers: int = 16
    upsample_rates: tuple[int, ...] = (8, 5, 4, 3)
    upsampling_ratios: tuple[int, ...] = (2, 2)
    decoder_dim: int = 1536


@dataclass(frozen=True, kw_only=True)
class QwenConfig:
    """Both halves; `quantizers` is how many of the encoder's books are used."""

    encoder: MimiConfig
    decoder: DecoderConfig
    quantizers: int

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Read a `config.json`.

        Raises:
            CodecError: a value that is not implemented, or of the wrong type.
        """
        for name, wanted in _FIXED_TOP.items():
            if values.get(name, wanted) != wanted:
                raise CodecError(f"{source}: {name} = {values[name]!r} is not supported: {wanted}")
        part = values.get("decoder_config") or {}
        heads = part.get("num_attention_heads", DecoderConfig.num_attention_heads)
        width = part.get("hidden_size", DecoderConfig.hidden_size)
        decoder = read_fields(
            DecoderConfig,
            {**part, "head_dim": part.get("head_dim") or width // heads},
            fixed={**_FIXED, "num_key_value_heads": (heads,)},
            source=source,
        )
        if math.prod(decoder.upsample_rates + decoder.upsampling_ratios) != FRAME_SIZE:
            raise CodecError(f"{source}: the decoder does not give frames of {FRAME_SIZE} samples")
        encoder = MimiConfig.parse(values.get("encoder_config") or {}, source=source)
        quantizers = int(values.get("encoder_valid_num_quantizers", 16))
        if not quantizers <= min(decoder.num_quantizers, encoder.num_quantizers):
            raise CodecError(f"{source}: encoder_valid_num_quantizers = {quantizers} is too many")
        return cls(encoder=encoder, decoder=decoder, quantizers=quantizers)
