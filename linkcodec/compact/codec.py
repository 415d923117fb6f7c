"""The compact codec behind the interface of every codec.

Both directions work frame by frame, whatever arrives at once, so that the result never
depends on how the samples or frames were delivered.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from linkcodec.codec import Codec, CodecInfo, Decoder, Encoder, Pcm
from linkcodec.comfort_noise import ComfortNoise
from linkcodec.compact.features import PAST, SAMPLE_RATE
from linkcodec.compact.layers import Context
from linkcodec.compact.model import DELAY, FRAME_SIZE, CompactModel, DecoderState
from linkcodec.compact.weights import load_weights, weights_path
from linkcodec.exceptions import CodecError
from linkcodec.frame import Frame, Lost, PlayoutItem, Silence

FADE = (1.0, 0.7, 0.4, 0.15, 0.0)
"""Gain at the end of each lost frame in a row; after the last only comfort noise is left."""

_RETURN = 80
_JOIN = 480
"""Samples over which speech returns after a loss, and over which comfort noise comes and goes."""


def _ramp(start: float, end: float, length: int) -> Pcm:
    """A frame of gains that go from `start` to `end` over the first `length` samples."""
    ramp = np.full(FRAME_SIZE, end, dtype=np.float32)
    ramp[:length] = np.linspace(start, end, length, dtype=np.float32)
    return ramp


@dataclass
class _EncoderState:
    context: Context = field(default_factory=Context)
    past: Pcm = field(default_factory=lambda: np.zeros(PAST, dtype=np.float32))
    pending: Pcm = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    samples: int = 0
    frames: int = 0


class CompactEncoder(Encoder):
    """One stream through the encoder."""

    def __init__(self, model: CompactModel, *, quantizers: int) -> None:
        self._model = model
        self._quantizers = quantizers
        self._state = _EncoderState()

    def push(self, pcm: Pcm) -> list[Frame]:
        state = self._state
        state.samples += len(pcm)
        pending = np.concatenate((state.pending, pcm.astype(np.float32, copy=False)))
        whole = len(pending) // FRAME_SIZE * FRAME_SIZE
        frames = [
            self._encode(pending[start : start + FRAME_SIZE])
            for start in range(0, whole, FRAME_SIZE)
        ]
        state.pending = pending[whole:]
        return frames

    @torch.inference_mode()
    def _encode(self, pcm: Pcm) -> Frame:
        state = self._state
        heard = np.concatenate((state.past, np.clip(np.nan_to_num(pcm), -1.0, 1.0)))
        latents = self._model.encoder(torch.from_numpy(heard)[None], state.context)
        indices = self._model.quantizer.encode(latents[0], quantizers=self._quantizers)
        state.past = heard[-PAST:]
        state.frames += 1
        return Frame(tuple(indices[0].tolist()))

    def flush(self) -> list[Frame]:
        wanted = -(-(self._state.samples + DELAY) // FRAME_SIZE) if self._state.samples else 0
        missing = wanted * FRAME_SIZE - self._state.frames * FRAME_SIZE
        missing -= len(self._state.pending)
        frames = self.push(np.zeros(max(0, missing), dtype=np.float32))
        self.reset()
        return frames

    def reset(self) -> None:
        self._state = _EncoderState()

    def snapshot(self) -> object:
        state = copy(self._state)
        state.context = state.context.copy()
        return state

    def restore(self, state: object) -> None:
        if not isinstance(state, _EncoderState):
            raise TypeError("not a snapshot of a compact encoder")
        self._state = copy(state)
        self._state.context = state.context.copy()


@dataclass
class _StreamState:
    """`gain` is the voice's and `mix` the comfort noise's at the end of the last frame;
    `lost` counts losses in a row."""

    model: DecoderState = field(default_factory=DecoderState)
    speaking: bool = False
    gain: float = 1.0
    mix: float = 0.0
    lost: int = 0
    background: float = -70.0


class CompactDecoder(Decoder):
    """One stream through the decoder, with concealment and comfort noise.

    A lost frame is synthesised by the network itself, which was trained with missing frames,
    and faded; silence is comfort noise. A talk spurt starts from a fresh context.
    """

    def __init__(self, model: CompactModel) -> None:
        self._model = model
        self._state = _StreamState()
        self._noise = ComfortNoise(SAMPLE_RATE)

    def decode(self, item: PlayoutItem) -> Pcm:
        state = self._state
        if isinstance(item, Silence):
            return self._silence(item)
        if isinstance(item, Lost):
            if not state.speaking:
                return self._silence(Silence(state.background))
            gain = FADE[min(state.lost, len(FADE) - 1)]
            state.lost += 1
            return self._speech(None, gain)
        books = self._model.config.books
        if len(item.indices) > books:
            raise CodecError(
                f"a frame has {len(item.indices)} indices, codec compact {books} books"
            )
        state.speaking = True
        state.lost = 0
        return self._speech(item, 1.0)

    @torch.inference_mode()
    def _synthesize(self, frame: Frame | None) -> Pcm:
        model = self._model
        if frame is None:
            latents = torch.zeros(1, 1, model.config.latent)
        else:
            latents = model.quantizer.decode(torch.tensor([frame.indices]))[None]
        lost = torch.full((1, 1, 1), float(frame is None))
        samples: Pcm = model.synthesize(latents, lost, self._state.model)[0].numpy()
        return samples

    def _speech(self, frame: Frame | None, gain: float) -> Pcm:
        state = self._state
        pcm = self._synthesize(frame)
        noise = self._noise.generate(FRAME_SIZE, state.background)
        mix = math.sqrt(1.0 - gain * gain)
        if (state.gain, gain, state.mix) != (1.0, 1.0, 0.0):
            # A loss fades over its whole frame; speech that comes back does so within 5 ms.
            length = FRAME_SIZE if frame is None else _RETURN
            pcm = pcm * _ramp(state.gain, gain, length) + noise * _ramp(state.mix, mix, _JOIN)
        state.gain, state.mix = gain, mix
        if gain == 0.0:
            self._stop()
        return np.clip(pcm, -1.0, 1.0)

    def _silence(self, item: Silence) -> Pcm:
        state = self._state
        state.background = item.level_dbfs
        pcm = self._noise.generate(FRAME_SIZE, item.level_dbfs)
        if state.speaking:
            pcm = pcm * _ramp(state.mix, 1.0, _JOIN)
            owed = state.model.synthesis.tail[0].numpy() * state.gain
            pcm[: len(owed)] += owed
            self._stop()
        state.mix = 1.0
        return np.clip(pcm, -1.0, 1.0)

    def _stop(self) -> None:
        """The spurt is over; the next one starts afresh, out of the noise."""
        state = self._state
        state.model = DecoderState()
        state.speaking, state.gain, state.mix, state.lost = False, 1.0, 1.0, 0

    def reset(self) -> None:
        self._state = _StreamState()
        self._noise = ComfortNoise(SAMPLE_RATE)

    def snapshot(self) -> object:
        return self._copy(self._state), self._noise.snapshot()

    def restore(self, state: object) -> None:
        if not isinstance(state, tuple) or not isinstance(state[0], _StreamState):
            raise TypeError("not a snapshot of a compact decoder")
        self._state = self._copy(state[0])
        self._noise.restore(state[1])

    @staticmethod
    def _copy(state: _StreamState) -> _StreamState:
        # The synthesiser replaces its tensors and never writes into them.
        fresh = copy(state)
        fresh.model = DecoderState(state.model.context.copy(), copy(state.model.synthesis))
        return fresh


class CompactCodec(Codec):
    """The embedded codec: 16 kHz, 12.5 frames/s, up to 12 books of 2048 entries."""

    def __init__(self, model: CompactModel, *, version: int, weights_hash: str) -> None:
        self._model = model
        self.info = CodecInfo(
            name="compact",
            version=version,
            sample_rate=SAMPLE_RATE,
            frame_size=FRAME_SIZE,
            quantizers=model.config.books,
            codebook_size=model.config.entries,
            delay=DELAY,
            weights_hash=weights_hash,
        )

    @classmethod
    def load(cls, path: Path | None = None) -> CompactCodec:
        """Load the weights in the package, or those of another file."""
        weights = load_weights(path or weights_path())
        return cls(weights.model, version=weights.version, weights_hash=weights.hash)

    def encoder(self, *, quantizers: int | None = None) -> CompactEncoder:
        return CompactEncoder(self._model, quantizers=self.check_quantizers(quantizers))

    def decoder(self) -> CompactDecoder:
        return CompactDecoder(self._model)
