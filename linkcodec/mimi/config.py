"""Sizes of Mimi, as `config.json` in the hub's layout states them.

The file leaves out what equals the defaults of transformers' MimiConfig, which therefore
stand here too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from linkcodec.exceptions import CodecError

__all__ = ["FRAME_SIZE", "SAMPLE_RATE", "MimiConfig", "read_fields"]

_Config = TypeVar("_Config")

SAMPLE_RATE: Final = 24_000
FRAME_SIZE: Final = 1920

_FIXED: Final[dict[str, tuple[Any, ...]]] = {
    "sampling_rate": (SAMPLE_RATE,),
    "audio_channels": (1,),
    "use_causal_conv": (True,),
    "pad_mode": ("constant",),
    "trim_right_ratio": (1, 1.0),
    "use_conv_shortcut": (False,),
    "attention_bias": (False,),
    "hidden_act": ("gelu",),
    "num_residual_layers": (1,),
    "rope_scaling": (None,),
}
"""Fields that may have no other value here."""


@dataclass(frozen=True, kw_only=True)
class MimiConfig:
    """Names as in `config.json`; only what this implementation lets vary."""

    hidden_size: int = 512
    num_filters: int = 64
    upsampling_ratios: tuple[int, ...] = (8, 6, 5, 4)
    kernel_size: int = 7
    last_kernel_size: int = 3
    residual_kernel_size: int = 3
    dilation_growth_rate: int = 2
    compress: int = 2
    codebook_size: int = 2048
    codebook_dim: int = 256
    num_quantizers: int = 32
    vector_quantization_hidden_dimension: int = 256
    num_semantic_quantizers: int = 1
    num_hidden_layers: int = 8
    intermediate_size: int = 2048
    num_attention_heads: int = 8
    head_dim: int = 64
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    sliding_window: int = 250

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Read a `config.json`, or the part of it that describes Mimi.

        Raises:
            CodecError: a value that is not implemented, or of the wrong type.
        """
        width = values.get("hidden_size", cls.hidden_size)
        heads = values.get("num_attention_heads", cls.num_attention_heads)
        config = read_fields(
            cls,
            {**values, "head_dim": values.get("head_dim") or width // heads},
            fixed={
                **_FIXED,
                "num_key_value_heads": (heads,),
                "upsample_groups": (width,),
            },
            defaults={"num_key_value_heads": 8, "upsample_groups": 512},
            source=source,
        )
        stride = 2
        for ratio in config.upsampling_ratios:
            stride *= ratio
        if stride != FRAME_SIZE or config.codebook_size > 2048:
            raise CodecError(
                f"{source}: frames of {stride} samples and books of {config.codebook_size} "
                f"entries are not supported: only {FRAME_SIZE} and at most 2048 are"
            )
        return config


def read_fields(
    kind: type[_Config],
    values: Mapping[str, Any],
    *,
    fixed: Mapping[str, tuple[Any, ...]],
    defaults: Mapping[str, Any] | None = None,
    source: str,
) -> _Config:
    """A config dataclass from the fields that it knows; others must have their `fixed` value."""
    values = {**(defaults or {}), **values}
    rope = values.get("rope_parameters")
    if isinstance(rope, dict):
        # transformers 5 has moved the base there.
        values["rope_theta"] = rope.get("rope_theta", 10_000.0)
        if rope.get("rope_type", "default") != "default":
            raise CodecError(f"{source}: rope_type '{rope['rope_type']}' is not supported")
    for name, allowed in fixed.items():
        if name in values and values[name] not in allowed:
            raise CodecError(
                f"{source}: {name} = {values[name]!r} is not supported, only {allowed[0]!r}"
            )
    known: dict[str, Any] = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        if item.name in values:
            known[item.name] = _convert(item.name, values[item.name], item.default, source)
    return kind(**known)


def _convert(name: str, value: Any, default: Any, source: str) -> Any:
    try:
        if isinstance(default, tuple):
            return tuple(int(part) for part in value)
        return type(default)(value)
    except (TypeError, ValueError):
        raise CodecError(f"{source}: {name} = {value!r} is no size of a network") from None
