"""Checkpoints in the hub's layout with seeded random weights, and signals for them."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from linkcodec.mimi import NeuralCodec
from linkcodec.mimi.backend import Backend
from linkcodec.mimi.config import FRAME_SIZE, MimiConfig
from linkcodec.mimi.decoder import MimiDecoder
from linkcodec.mimi.encoder import SpeechEncoder
from linkcodec.mimi.layers import Stack
from linkcodec.mimi.tensors import Tensors
from linkcodec.qwen12hz.config import QwenConfig
from linkcodec.qwen12hz.decoder import SpeechDecoder

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors"

_TINY_MIMI = {
    "num_filters": 4,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "codebook_size": 64,
    "codebook_dim": 16,
    "vector_quantization_hidden_dimension": 16,
    "upsample_groups": 32,
    "sliding_window": 9,
}
_TINY_DECODER = {
    "codebook_dim": 32,
    "latent_dim": 48,
    "hidden_size": 32,
    "intermediate_size": 40,
    "head_dim": 16,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "codebook_size": 64,
    "num_hidden_layers": 2,
    "sliding_window": 5,
    "decoder_dim": 48,
}
_REAL_DECODER = {
    "codebook_dim": 512,
    "latent_dim": 1024,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "head_dim": 64,
}


def noise(seconds: int = 2) -> Tensor:
    """Sound for encoders that comes and goes, (1, samples)."""
    random = np.random.RandomState(7)
    count = seconds * 24_000
    swell = 0.02 + 0.2 * np.abs(np.sin(np.arange(count) * 3e-4))
    return torch.from_numpy((swell * random.standard_normal(count)).astype(np.float32))[None]


def tokens(seconds: int = 2, *, entries: int = 64) -> Tensor:
    """Indices for decoders, (1, 16, frames)."""
    random = np.random.RandomState(8)
    return torch.from_numpy(random.randint(0, entries, (1, 16, seconds * 25 // 2)))


def decoded(
    codec: NeuralCodec, indices: Tensor, *, step: int, state: Stack | None = None
) -> Tensor:
    """All samples, `step` frames at a time, of new streams or of those of `state`."""
    state = state or codec.decoder_network.state(indices.shape[0])
    parts = [codec.decoder_network(part, state) for part in torch.split(indices, step, dim=2)]
    return torch.cat(parts, dim=1)


def encoded(
    codec: NeuralCodec,
    pcm: Tensor,
    *,
    step: int,
    quantizers: int = 16,
    state: Stack | None = None,
) -> Tensor:
    """All indices, `step` frames at a time, of new streams or of those of `state`."""
    state = state or codec.encoder_network.state(pcm.shape[0])
    parts = [
        codec.encoder_network(part, state, quantizers=quantizers)
        for part in torch.split(pcm, step * FRAME_SIZE, dim=1)
    ]
    return torch.cat(parts, dim=2)


def mimi_config(*, tiny: bool) -> dict[str, Any]:
    """The `config.json` of a Mimi."""
    return {"model_type": "mimi", **(_TINY_MIMI if tiny else {})}


def qwen_config(*, tiny: bool) -> dict[str, Any]:
    """The `config.json` of a Qwen3-TTS-Tokenizer-12Hz."""
    return {
        "model_type": "qwen3_tts_tokenizer_12hz",
        "encoder_valid_num_quantizers": 16,
        "encoder_config": _TINY_MIMI if tiny else {},
        "decoder_config": _TINY_DECODER if tiny else _REAL_DECODER,
    }


def write_mimi(folder: Path, *, tiny: bool = True) -> Path:
    """A Mimi with random weights; gives the folder."""
    config = mimi_config(tiny=tiny)
    values = RandomTensors()
    parsed = MimiConfig.parse(config, source="test")
    SpeechEncoder(parsed, values, Backend(), quantizers=1)
    MimiDecoder(parsed, values, Backend(), quantizers=2)
    return _write(folder, config, values)


def write_qwen(folder: Path, *, tiny: bool = True) -> Path:
    """A Qwen3-TTS-Tokenizer-12Hz with random weights; gives the folder."""
    config = qwen_config(tiny=tiny)
    values = RandomTensors()
    parsed = QwenConfig.parse(config, source="test")
    SpeechEncoder(parsed.encoder, values.below("encoder"), Backend(), quantizers=1)
    SpeechDecoder(parsed.decoder, values.below("decoder"), Backend())
    return _write(folder, config, values)


def _write(folder: Path, config: dict[str, Any], values: RandomTensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(values.made, folder / "model.safetensors")
    return folder


class RandomTensors(Tensors):
    """Makes each tensor when a model asks for it: the same name, the same numbers."""

    def __init__(self, made: dict[str, Tensor] | None = None, prefix: str = "") -> None:
        super().__init__({}, source="random")
        self.made = {} if made is None else made
        self._path = prefix

    def below(self, prefix: str) -> RandomTensors:
        return RandomTensors(self.made, f"{self._path}{prefix}.")

    def take(self, name: str, *shape: int) -> Tensor:
        path = self._path + name
        if path not in self.made:
            self.made[path] = torch.from_numpy(_values(path, shape))
        return self.made[path]

    def ignore(self, name: str, *shape: int) -> None:
        self.take(name, *shape)


def _values(path: str, shape: tuple[int, ...]) -> NDArray[np.float32]:  # noqa: PLR0911
    leaf = path.rsplit(".", 1)[-1]
    random = np.random.RandomState(zlib.crc32(path.encode()))
    values: NDArray[np.float32] = random.standard_normal(shape).astype(np.float32)
    if leaf == "initialized":
        return np.ones(shape, np.float32)
    if leaf == "cluster_usage":
        return np.abs(values) + np.float32(0.5)
    if leaf in {"embed_sum", "embedding_sum"}:
        number = int(path.split("layers.")[1].split(".", maxsplit=1)[0])
        return values * np.float32(0.8**number)
    if leaf in {"alpha", "beta"}:
        return np.float32(0.2) * values
    if leaf in {"scale", "gamma"}:
        return np.float32(0.1) + np.float32(0.02) * values
    if "norm" in path and leaf == "weight":
        return np.float32(1) + np.float32(0.1) * values
    if leaf == "bias":
        return np.float32(0.02) * values
    inputs = shape[0] * 2 if _transposed(path) else int(np.prod(shape[1:]))
    # Branches beside a residual stay small, so that rounding is not blown up to noise.
    quiet = ".conv1." in path or ".conv2." in path or ".block.1.conv" in path
    loud = shape[0] == 1
    return values * np.float32((0.3 if quiet else 5.0 if loud else 1.0) / np.sqrt(inputs))


def _transposed(path: str) -> bool:
    parts = path.split(".")
    if "upsample" in parts:
        return parts[-2] == "conv" and "dwconv" not in parts
    return path.startswith("decoder.decoder.") and ".block.1.conv" in path
