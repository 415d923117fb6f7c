"""The compact codec behind the interface of every codec.

Both directions work frame by frame, whatever arrives at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from linkcodec.blocks import BlockEncoder
from linkcodec.codec import Codec, Pcm
from linkcodec.compact.layers import Context
from linkcodec.compact.model import CompactModel, DecoderState
from linkcodec.compact.streams import EncoderMemory, FrameEncoder, Stream
from linkcodec.compact.versions import compact_info, weights_path
from linkcodec.compact.weights import load_weights
from linkcodec.concealment import BareDecoder, SteadyDecoder
from linkcodec.frame import Frame


@dataclass
class _EncoderState(EncoderMemory[Context]):
    context: Context = field(default_factory=Context)


class CompactEncoder(FrameEncoder):
    """One stream through the encoder."""

    def __init__(self, model: CompactModel, *, quantizers: int) -> None:
        super().__init__(_EncoderState)
        self._model = model
        self._quantizers = quantizers

    @torch.inference_mode()
    def _code(self, heard: Pcm) -> tuple[int, ...]:
        latents = self._model.encoder(torch.from_numpy(heard)[None], self._state.context)
        indices = self._model.quantizer.encode(latents[0], quantizers=self._quantizers)
        return tuple(indices[0].tolist())


class CompactDecoder(Stream[DecoderState], BareDecoder):
    """One stream through the decoder.

    A lost frame is synthesised by the network itself, which was trained with missing frames.
    A talk spurt starts from a fresh context.
    """

    def __init__(self, model: CompactModel) -> None:
        super().__init__(DecoderState)
        self._model = model

    def speak(self, frame: Frame) -> Pcm:
        latents = self._model.quantizer.decode(torch.tensor([frame.indices]))
        return self._synthesize(latents[None], lost=False)

    def guess(self) -> Pcm:
        return self._synthesize(torch.zeros(1, 1, self._model.config.latent), lost=True)

    @torch.inference_mode()
    def _synthesize(self, latents: torch.Tensor, *, lost: bool) -> Pcm:
        flag = torch.full((1, 1, 1), float(lost))
        samples: Pcm = self._model.synthesize(latents, flag, self._state)[0].numpy()
        return samples

    def owed(self) -> Pcm:
        tail: Pcm = self._state.synthesis.tail[0].numpy()
        return tail


class CompactCodec(Codec):
    """The embedded codec: 16 kHz, 12.5 frames/s, up to 12 books of 2048 entries."""

    def __init__(self, model: CompactModel, *, version: int, weights_hash: str) -> None:
        self._model = model
        self.info = compact_info(
            version=version,
            weights_hash=weights_hash,
            quantizers=model.config.books,
            codebook_size=model.config.entries,
        )

    @classmethod
    def load(cls, path: Path | None = None) -> CompactCodec:
        """Load the current weights of the package, or those of another file."""
        weights = load_weights(path or weights_path())
        return cls(weights.model, version=weights.version, weights_hash=weights.hash)

    def encoder(self, *, quantizers: int | None = None) -> BlockEncoder:
        bare = CompactEncoder(self._model, quantizers=self.check_quantizers(quantizers))
        return BlockEncoder(bare, self.info)

    def decoder(self) -> SteadyDecoder:
        return SteadyDecoder(CompactDecoder(self._model), self.info)
