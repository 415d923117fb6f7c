"""Qwen3-TTS-Tokenizer-12Hz as a codec: Mimi's encoder and a decoder of its own."""

from __future__ import annotations

import os
from typing import Final

from linkcodec.mimi.backend import Backend
from linkcodec.mimi.checkpoint import Checkpoint
from linkcodec.mimi.encoder import SpeechEncoder
from linkcodec.mimi.loader import Networks, load_networks
from linkcodec.mimi.streams import NeuralCodec
from linkcodec.mimi.tensors import Tensors
from linkcodec.qwen12hz.config import QwenConfig
from linkcodec.qwen12hz.decoder import SpeechDecoder

__all__ = ["HUB_ID", "MODEL_TYPE", "load_qwen12hz"]

HUB_ID: Final = "Qwen/Qwen3-TTS-Tokenizer-12Hz"
MODEL_TYPE: Final = "qwen3_tts_tokenizer_12hz"


def load_qwen12hz(
    *, weights: str | os.PathLike[str] = HUB_ID, device: str = "cpu", precision: str = "auto"
) -> NeuralCodec:
    """Load the codec; see `load_networks`."""
    return load_networks(
        _build,
        name="qwen3-12hz",
        model_type=MODEL_TYPE,
        weights=weights,
        device=device,
        precision=precision,
    )


def _build(checkpoint: Checkpoint, tensors: Tensors, exact: Backend, backend: Backend) -> Networks:
    config = QwenConfig.parse(checkpoint.config, source=str(checkpoint.folder))
    encoder, decoder = tensors.below("encoder"), tensors.below("decoder")
    return Networks(
        encoder=SpeechEncoder(config.encoder, encoder, exact, quantizers=config.quantizers),
        decoder=SpeechDecoder(config.decoder, decoder, backend),
        quantizers=config.quantizers,
        codebook_size=config.decoder.codebook_size,
    )
