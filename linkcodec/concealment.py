"""Steady sound from frames, losses and silences, whatever the codec.

`SteadyDecoder` drives a codec's bare decoder. A lost frame is the codec's own guess, fading
into comfort noise within five frames; silence is comfort noise at the far end's level and
colour; speech comes and goes over short ramps, so that no join clicks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from linkcodec.codec import CodecInfo, Decoder, Pcm
from linkcodec.comfort_noise import ComfortNoise
from linkcodec.exceptions import CodecError
from linkcodec.frame import Frame, Lost, PlayoutItem, Silence

__all__ = ["FADE", "BareDecoder", "SteadyDecoder"]

FADE: Final = (1.0, 0.7, 0.4, 0.15, 0.0)
"""Gain at the end of each lost frame in a row; after the last only comfort noise is left."""

_RETURN_SECONDS: Final = 0.005
"""Speech returns this fast after a loss: a word's onset may be in it."""

_JOIN_SECONDS: Final = 0.03
"""Comfort noise comes and goes this fast at the edges of a talk spurt."""


class BareDecoder(ABC):
    """What a codec's decoder does for one stream of speech without losses and pauses."""

    @abstractmethod
    def speak(self, frame: Frame) -> Pcm:
        """The frame's samples; shape (frame_size,)."""

    @abstractmethod
    def guess(self) -> Pcm:
        """Samples in the place of a lost frame, full level; shape (frame_size,).

        Called only after `speak`. The state moves on as with a frame, so that what follows
        the loss joins on.
        """

    def owed(self) -> Pcm:
        """What still sounds of the last frame when nothing follows it; may be empty."""
        return np.zeros(0, np.float32)

    @abstractmethod
    def restart(self) -> None:
        """Another talk spurt begins: forget the last one."""

    @abstractmethod
    def snapshot(self) -> Any:
        """A copy of the state, good for `restore` on any decoder of the same codec."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Go back to the state of a snapshot."""


@dataclass
class _State:
    """`gain` is the voice's and `mix` the comfort noise's at the end of the last frame;
    `lost` counts losses in a row."""

    speaking: bool = False
    gain: float = 1.0
    mix: float = 0.0
    lost: int = 0
    background: Silence = field(default_factory=Silence)


class SteadyDecoder(Decoder):
    """A codec's decoder with concealment and comfort noise around it."""

    def __init__(self, bare: BareDecoder, info: CodecInfo) -> None:
        self._bare = bare
        self._info = info
        self._noise = ComfortNoise(info.sample_rate)
        self._return = round(_RETURN_SECONDS * info.sample_rate)
        self._join = round(_JOIN_SECONDS * info.sample_rate)
        self._state = _State()

    def decode(self, item: PlayoutItem) -> Pcm:
        state = self._state
        if isinstance(item, Silence):
            state.background = item
            return self._silence()
        if isinstance(item, Lost):
            if not state.speaking:
                return self._silence()
            gain = FADE[min(state.lost, len(FADE) - 1)]
            state.lost += 1
            return self._mix(self._bare.guess(), gain, self._info.frame_size)
        if len(item.indices) > self._info.quantizers:
            raise CodecError(
                f"a frame has {len(item.indices)} indices, codec {self._info.name} has "
                f"{self._info.quantizers} codebooks"
            )
        state.speaking = True
        state.lost = 0
        return self._mix(self._bare.speak(item), 1.0, self._return)

    def _mix(self, pcm: Pcm, gain: float, length: int) -> Pcm:
        """The voice with its gain going to `gain` within `length` samples, above the noise."""
        state = self._state
        noise = self._background_noise()
        mix = math.sqrt(1.0 - gain * gain)
        if (state.gain, gain, state.mix) != (1.0, 1.0, 0.0):
            pcm = pcm * self._ramp(state.gain, gain, length)
            pcm = pcm + noise * self._ramp(state.mix, mix, self._join)
        state.gain, state.mix = gain, mix
        if gain == 0.0:
            self._stop()
        return np.clip(pcm, -1.0, 1.0)

    def _silence(self) -> Pcm:
        state = self._state
        pcm = self._background_noise()
        if state.speaking:
            pcm = pcm * self._ramp(state.mix, 1.0, self._join)
            owed = self._bare.owed() * state.gain
            pcm[: owed.size] += owed
            self._stop()
        state.mix = 1.0
        return np.clip(pcm, -1.0, 1.0)

    def _background_noise(self) -> Pcm:
        background = self._state.background
        return self._noise.generate(self._info.frame_size, background.level_dbfs, background.colour)

    def _ramp(self, start: float, end: float, length: int) -> Pcm:
        """A frame of gains that go from `start` to `end` over the first `length` samples."""
        ramp = np.full(self._info.frame_size, end, dtype=np.float32)
        ramp[:length] = np.linspace(start, end, length, dtype=np.float32)
        return ramp

    def _stop(self) -> None:
        """The spurt is over; the next one starts afresh, out of the noise."""
        self._bare.restart()
        state = self._state
        state.speaking, state.gain, state.mix, state.lost = False, 1.0, 1.0, 0

    def reset(self) -> None:
        self._bare.restart()
        self._noise.reset()
        self._state = _State()

    def snapshot(self) -> Any:
        return copy(self._state), self._bare.snapshot(), self._noise.snapshot()

    def restore(self, state: Any) -> None:
        if not (isinstance(state, tuple) and isinstance(state[0], _State)):
            raise TypeError(f"not a snapshot of a {self._info.name} decoder")
        self._bare.restore(state[1])
        self._noise.restore(state[2])
        self._state = copy(state[0])
