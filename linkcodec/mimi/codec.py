"""kyutai's Mimi as a codec: its own encoder and decoder, `kyutai/mimi` in the hub's layout."""

from __future__ import annotations

import os
from typing import Final

from linkcodec.frame import MAX_QUANTIZERS
from linkcodec.mimi.backend import Backend
from linkcodec.mimi.checkpoint import Checkpoint
from linkcodec.mimi.config import MimiConfig
from linkcodec.mimi.decoder import MimiDecoder
from linkcodec.mimi.encoder import SpeechEncoder
from linkcodec.mimi.loader import Networks, load_networks
from linkcodec.mimi.streams import NeuralCodec
from linkcodec.mimi.tensors import Tensors

__all__ = ["HUB_ID", "MODEL_TYPE", "load_mimi"]

HUB_ID: Final = "kyutai/mimi"
MODEL_TYPE: Final = "mimi"


def load_mimi(
    *, weights: str | os.PathLike[str] = HUB_ID, device: str = "cpu", precision: str = "auto"
) -> NeuralCodec:
    """Load Mimi; see `load_networks`."""
    return load_networks(
        _build,
        name="mimi",
        model_type=MODEL_TYPE,
        weights=weights,
        device=device,
        precision=precision,
    )


def _build(checkpoint: Checkpoint, tensors: Tensors, exact: Backend, backend: Backend) -> Networks:
    config = MimiConfig.parse(checkpoint.config, source=str(checkpoint.folder))
    quantizers = min(config.num_quantizers, MAX_QUANTIZERS)
    return Networks(
        encoder=SpeechEncoder(config, tensors, exact, quantizers=quantizers),
        decoder=MimiDecoder(config, tensors, backend, quantizers=quantizers),
        quantizers=quantizers,
        codebook_size=config.codebook_size,
    )
