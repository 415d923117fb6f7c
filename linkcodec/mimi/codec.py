"""kyutai's Mimi as a codec: its own encoder and decoder, `kyutai/mimi` in the hub's layout."""

from __future__ import annotations

import os
from typing import Final

from linkcodec.codec import CodecInfo
from linkcodec.frame import MAX_QUANTIZERS
from linkcodec.mimi.backend import Backend, choose_precision
from linkcodec.mimi.checkpoint import open_checkpoint
from linkcodec.mimi.config import FRAME_SIZE, SAMPLE_RATE, MimiConfig
from linkcodec.mimi.decoder import MimiDecoder
from linkcodec.mimi.encoder import SpeechEncoder
from linkcodec.mimi.streams import NeuralCodec

__all__ = ["HUB_ID", "MODEL_TYPE", "load_mimi"]

HUB_ID: Final = "kyutai/mimi"
MODEL_TYPE: Final = "mimi"


def load_mimi(
    *, weights: str | os.PathLike[str] = HUB_ID, device: str = "cpu", precision: str = "auto"
) -> NeuralCodec:
    """Load Mimi from a folder or from the model hub.

    Raises:
        CodecError: the weights are missing, damaged or of another model, or the precision is
            not possible on the device.
    """
    precision = choose_precision(precision, device)
    checkpoint = open_checkpoint(weights)
    checkpoint.check_kind(MODEL_TYPE)
    config = MimiConfig.parse(checkpoint.config, source=str(checkpoint.folder))
    tensors = checkpoint.tensors()
    quantizers = min(config.num_quantizers, MAX_QUANTIZERS)
    encoder = SpeechEncoder(config, tensors, Backend(device=device), quantizers=quantizers)
    backend = Backend(device=device, precision=precision)
    decoder = MimiDecoder(config, tensors, backend, quantizers=quantizers)
    tensors.check_all_taken()
    return NeuralCodec(
        info=CodecInfo(
            name="mimi",
            version=1,
            sample_rate=SAMPLE_RATE,
            frame_size=FRAME_SIZE,
            quantizers=quantizers,
            codebook_size=config.codebook_size,
            delay=0,
            weights_hash=checkpoint.fingerprint(),
        ),
        encoder=encoder,
        decoder=decoder,
        device=device,
        precision=precision,
    )
