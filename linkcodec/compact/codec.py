"""The compact codec behind the interface of every codec.

Both directions work frame by frame, whatever arrives at once.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from linkcodec.blocks import BareEncoder, BlockEncoder
from linkcodec.codec import Codec, Pcm
from linkcodec.compact.layers import Context
from linkcodec.compact.model import CompactModel, DecoderState
from linkcodec.compact.shape import PAST
from linkcodec.compact.versions import compact_info, weights_path
from linkcodec.compact.weights import load_weights
from linkcodec.concealment import BareDecoder, SteadyDecoder
from linkcodec.frame import Frame


@dataclass
class _EncoderState:
    context: Context = field(default_factory=Context)
    past: Pcm = field(default_factory=lambda: np.zeros(PAST, dtype=np.float32))

    def copy(self) -> _EncoderState:
        return _EncoderState(self.context.copy(), self.past)


class CompactEncoder(BareEncoder):
    """One stream through the encoder."""

    def __init__(self, model: CompactModel, *, quantizers: int) -> None:
        self._model = model
        self._quantizers = quantizers
        self._state = _EncoderState()

    @torch.inference_mode()
    def encode(self, block: Pcm) -> Frame:
        state = self._state
        heard = np.concatenate((state.past, block))
        latents = self._model.encoder(torch.from_numpy(heard)[None], state.context)
        indices = self._model.quantizer.encode(latents[0], quantizers=self._quantizers)
        state.past = heard[-PAST:]
        return Frame(tuple(indices[0].tolist()))

    def restart(self) -> None:
        self._state = _EncoderState()

    def snapshot(self) -> object:
        return self._state.copy()

    def restore(self, state: object) -> None:
        if not isinstance(state, _EncoderState):
            raise TypeError("not a snapshot of a compact encoder")
        self._state = state.copy()


class CompactDecoder(BareDecoder):
    """One stream through the decoder.

    A lost frame is synthesised by the network itself, which was trained with missing frames.
    A talk spurt starts from a fresh context.
    """

    def __init__(self, model: CompactModel) -> None:
        self._model = model
        self._state = DecoderState()

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

    def restart(self) -> None:
        self._state = DecoderState()

    def snapshot(self) -> object:
        return self._copy(self._state)

    def restore(self, state: object) -> None:
        if not isinstance(state, DecoderState):
            raise TypeError("not a snapshot of a compact decoder")
        self._state = self._copy(state)

    @staticmethod
    def _copy(state: DecoderState) -> DecoderState:
        # The synthesiser replaces its tensors and never writes into them.
        return DecoderState(state.context.copy(), copy(state.synthesis))


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
