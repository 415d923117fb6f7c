"""Qwen3-TTS-Tokenizer-12Hz as a codec: Mimi's encoder and a decoder of its own."""

from __future__ import annotations

import os
from typing import Final

from linkcodec.codec import CodecInfo
from linkcodec.mimi.backend import Backend, choose_precision
from linkcodec.mimi.checkpoint import open_checkpoint
from linkcodec.mimi.config import FRAME_SIZE, SAMPLE_RATE
from linkcodec.mimi.encoder import SpeechEncoder
from linkcodec.mimi.streams import NeuralCodec
from linkcodec.qwen12hz.config import QwenConfig
from linkcodec.qwen12hz.decoder import SpeechDecoder

__all__ = ["HUB_ID", "MODEL_TYPE", "load_qwen12hz"]

HUB_ID: Final = "Qwen/Qwen3-TTS-Tokenizer-12Hz"
MODEL_TYPE: Final = "qwen3_tts_tokenizer_12hz"


def load_qwen12hz(
    *, weights: str | os.PathLike[str] = HUB_ID, device: str = "cpu", precision: str = "auto"
) -> NeuralCodec:
    """Load the codec from a folder or from the model hub.

    Raises:
        CodecError: the weights are missing, damaged or of another model, or the precision is
            not possible on the device.
    """
    precision = choose_precision(precision, device)
    checkpoint = open_checkpoint(weights)
    checkpoint.check_kind(MODEL_TYPE)
    config = QwenConfig.parse(checkpoint.config, source=str(checkpoint.folder))
    tensors = checkpoint.tensors()
    encoder = SpeechEncoder(
        config.encoder,
        tensors.below("encoder"),
        Backend(device=device),
        quantizers=config.quantizers,
    )
    backend = Backend(device=device, precision=precision)
    decoder = SpeechDecoder(config.decoder, tensors.below("decoder"), backend)
    tensors.check_all_taken()
    return NeuralCodec(
        info=CodecInfo(
            name="qwen3-12hz",
            version=1,
            sample_rate=SAMPLE_RATE,
            frame_size=FRAME_SIZE,
            quantizers=config.quantizers,
            codebook_size=config.decoder.codebook_size,
            delay=0,
            weights_hash=checkpoint.fingerprint(),
        ),
        encoder=encoder,
        decoder=decoder,
        device=device,
        precision=precision,
    )
