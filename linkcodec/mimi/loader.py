"""From a checkpoint to a codec: what Mimi and the codecs built on it do alike at load."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from linkcodec.codec import CodecInfo
from linkcodec.mimi.backend import Backend, choose_precision
from linkcodec.mimi.checkpoint import Checkpoint, open_checkpoint
from linkcodec.mimi.config import FRAME_SIZE, SAMPLE_RATE
from linkcodec.mimi.streams import DecoderNetwork, EncoderNetwork, NeuralCodec
from linkcodec.mimi.tensors import Tensors

__all__ = ["Build", "Networks", "load_networks"]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Both networks and what they code: `quantizers` books of `codebook_size` entries."""

    encoder: EncoderNetwork
    decoder: DecoderNetwork
    quantizers: int
    codebook_size: int


Build = Callable[[Checkpoint, Tensors, Backend, Backend], Networks]
"""Makes the networks of a checkpoint, on the encoder's and the decoder's backend."""


def load_networks(
    build: Build,
    *,
    name: str,
    model_type: str,
    weights: str | os.PathLike[str],
    device: str,
    precision: str,
) -> NeuralCodec:
    """The codec `name` from a folder or the model hub, whose config says `model_type`.

    Raises:
        CodecError: the weights are missing, damaged or of another model, or the precision is
            not possible on the device.
    """
    precision = choose_precision(precision, device)
    checkpoint = open_checkpoint(weights)
    checkpoint.check_kind(model_type)
    tensors = checkpoint.tensors()
    # One wrong index spoils the books after it: the encoder computes in fp32.
    backends = Backend(device=device), Backend(device=device, precision=precision)
    networks = build(checkpoint, tensors, *backends)
    tensors.check_all_taken()
    return NeuralCodec(
        info=CodecInfo(
            name=name,
            version=1,
            sample_rate=SAMPLE_RATE,
            frame_size=FRAME_SIZE,
            quantizers=networks.quantizers,
            codebook_size=networks.codebook_size,
            delay=0,
            weights_hash=checkpoint.fingerprint(),
        ),
        encoder=networks.encoder,
        decoder=networks.decoder,
        device=device,
        precision=precision,
    )
