"""A tiny codec for tests: one sine per frame, so level, pitch and timing survive.

It needs no weights and no torch, is deterministic, and keeps the whole contract of
`linkcodec.codec`, the delay of 320 samples included. Indices of a frame, coarsest first:
level, frequency, the levels of its four quarters, a check of these, the frame's number.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcodec import codec as codec_module
from linkcodec.codec import Codec, CodecInfo, Decoder, Encoder, Pcm
from linkcodec.exceptions import CodecError
from linkcodec.frame import Frame, PlayoutItem, Silence

SAMPLE_RATE = 16_000
FRAME_SIZE = 1280
QUANTIZERS = 8
_FFT = 4096
_FLOOR_DB = -100.0
_LEVEL_STEP_DB = 0.05
_QUARTER_FLOOR_DB = -60.0
_QUARTER_STEP_DB = 0.04


def _level_db(pcm: npt.NDArray[np.floating]) -> float:
    return max(_FLOOR_DB, 10.0 * float(np.log10(np.mean(np.square(pcm)) + 1e-12)))


def _index(value: float) -> int:
    return int(np.clip(round(value), 0, 2047))


@dataclass
class _EncoderState:
    pending: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    samples: int = 0
    frames: int = 0


class ToneEncoder(Encoder):
    def __init__(self, quantizers: int, delay: int) -> None:
        self._quantizers = quantizers
        self._delay = delay
        self._state = _EncoderState()

    def push(self, pcm: Pcm) -> list[Frame]:
        state = self._state
        state.samples += pcm.size
        state.pending = np.concatenate([state.pending, pcm])
        frames = []
        while state.pending.size >= FRAME_SIZE:
            frames.append(self._encode(state.pending[:FRAME_SIZE]))
            state.pending = state.pending[FRAME_SIZE:]
        return frames

    def _encode(self, pcm: Pcm) -> Frame:
        level = _level_db(pcm)
        spectrum = np.abs(np.fft.rfft(pcm * np.hanning(FRAME_SIZE), _FFT))
        indices = [_index((level - _FLOOR_DB) / _LEVEL_STEP_DB), int(np.argmax(spectrum[:2048]))]
        for quarter in np.split(pcm, 4):
            relative = _level_db(quarter) - level
            indices.append(_index((relative - _QUARTER_FLOOR_DB) / _QUARTER_STEP_DB))
        indices.append(sum(indices) % 2048)
        indices.append(self._state.frames % 2048)
        self._state.frames += 1
        return Frame(tuple(indices[: self._quantizers]))

    def flush(self) -> list[Frame]:
        total = self._state.samples
        wanted = -(-(total + self._delay) // FRAME_SIZE) if total else 0
        padding = wanted * FRAME_SIZE - total if total else 0
        frames = self.push(np.zeros(padding, np.float32))
        self.reset()
        return frames

    def reset(self) -> None:
        self._state = _EncoderState()

    def snapshot(self) -> Any:
        return copy.deepcopy(self._state)

    def restore(self, state: Any) -> None:
        self._state = copy.deepcopy(state)


@dataclass
class _DecoderState:
    tail: npt.NDArray[np.float32]
    phase: float = 0.0
    frequency: float = 440.0
    level_db: float = _FLOOR_DB
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))


class ToneDecoder(Decoder):
    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._state = _DecoderState(np.zeros(delay, np.float32))

    def decode(self, item: PlayoutItem) -> Pcm:
        state = self._state
        if isinstance(item, Silence):
            amplitude = 10.0 ** (item.level_dbfs / 20.0)
            pcm = (amplitude * state.random.standard_normal(FRAME_SIZE)).astype(np.float32)
            state.level_db = _FLOOR_DB
        else:
            quarters = [0.0] * 4
            if isinstance(item, Frame):
                if len(item.indices) > QUANTIZERS:
                    raise CodecError(f"a frame has {len(item.indices)} indices, not up to 8")
                state.level_db = _FLOOR_DB + item.indices[0] * _LEVEL_STEP_DB
                if len(item.indices) > 1:
                    state.frequency = item.indices[1] * SAMPLE_RATE / _FFT
                for place, index in enumerate(item.indices[2:6]):
                    quarters[place] = _QUARTER_FLOOR_DB + index * _QUARTER_STEP_DB
            else:
                state.level_db = max(_FLOOR_DB, state.level_db - 6.0)
            levels = np.repeat([state.level_db + quarter for quarter in quarters], FRAME_SIZE // 4)
            step = 2.0 * np.pi * state.frequency / SAMPLE_RATE
            phases = state.phase + step * np.arange(1, FRAME_SIZE + 1)
            state.phase = float(phases[-1] % (2.0 * np.pi))
            pcm = (np.sqrt(2.0) * 10.0 ** (levels / 20.0) * np.sin(phases)).astype(np.float32)
        joined = np.concatenate([state.tail, pcm])
        state.tail = joined[FRAME_SIZE:]
        return joined[:FRAME_SIZE]

    def reset(self) -> None:
        self._state = _DecoderState(np.zeros(self._delay, np.float32))

    def snapshot(self) -> Any:
        return copy.deepcopy(self._state)

    def restore(self, state: Any) -> None:
        self._state = copy.deepcopy(state)


class ToneCodec(Codec):
    def __init__(self, *, delay: int = 320) -> None:
        self.info = CodecInfo(
            name="tone",
            version=1,
            sample_rate=SAMPLE_RATE,
            frame_size=FRAME_SIZE,
            quantizers=QUANTIZERS,
            codebook_size=2048,
            delay=delay,
        )

    def encoder(self, *, quantizers: int | None = None) -> Encoder:
        return ToneEncoder(self.check_quantizers(quantizers), self.info.delay)

    def decoder(self) -> Decoder:
        return ToneDecoder(self.info.delay)


def register(name: str = "tone") -> None:
    """Make `load_codec(name)` give this codec, in this process."""
    codec_module._LOADERS[name] = ToneCodec


def speech_like(seconds: float, *, seed: int = 0, pause: bool = False) -> Pcm:
    """A voice-like signal: harmonics of a gliding pitch through moving resonances, in syllables.

    With `pause`, the middle fifth is only background noise.
    """
    random = np.random.default_rng(seed)
    count = round(seconds * SAMPLE_RATE)
    time = np.arange(count) / SAMPLE_RATE
    pitch = 120.0 + 25.0 * np.sin(2.0 * np.pi * 0.4 * time)
    phase = 2.0 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    formants = (
        (550.0 + 200.0 * np.sin(2.0 * np.pi * 1.7 * time), 110.0, 1.0),
        (1500.0 + 450.0 * np.sin(2.0 * np.pi * 1.1 * time + 1.0), 160.0, 0.5),
        (2600.0 + 200.0 * np.sin(2.0 * np.pi * 0.8 * time + 2.0), 220.0, 0.25),
    )
    voice = np.zeros(count)
    for harmonic in range(1, 28):
        frequency = harmonic * pitch
        gain = sum(
            weight / (1.0 + ((frequency - centre) / width) ** 2)
            for centre, width, weight in formants
        )
        voice += gain * np.sin(harmonic * phase)
    voice *= 0.35 + 0.65 * np.clip(np.sin(2.0 * np.pi * 3.5 * time), 0.0, 1.0)
    voice *= 0.3 / (np.max(np.abs(voice)) + 1e-9)
    if pause:
        voice[int(0.4 * count) : int(0.6 * count)] = 0.0
    noise = 10.0 ** (-62.0 / 20.0) * random.standard_normal(count)
    signal: Pcm = (voice + noise).astype(np.float32)
    return signal
