"""The voice gate: which frames carry speech and are worth sending.

Every 20 ms two rules vote. webrtcvad says whether the spectrum looks like speech; the
energy rule asks for a level well above a noise floor that is tracked in six bands as the
minimum of the last seconds (after R. Martin, "Noise power spectral density estimation
based on optimal smoothing and minimum statistics", 2001). webrtcvad alone takes loud
steady noise for speech, energy alone takes every door for a talker.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr  # type: ignore[import-untyped]
import webrtcvad  # type: ignore[import-untyped]

from linkcodec.codec import Pcm
from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS

__all__ = ["GateConfig", "GateDecision", "GateState", "VoiceGate"]

_Power = npt.NDArray[np.float64]

_VAD_RATE: Final = 16_000
_PIECE_MS: Final = 20
_VAD_PIECE: Final = _VAD_RATE * _PIECE_MS // 1000
_PIECES_PER_FRAME: Final = 4

_BANDS_HZ: Final = (200, 600, 1200, 2000, 3200, 5000, 7500)
"""Edges of the bands. Hum and rumble lie below the first."""

_FLOOR_BIAS_DB: Final = (3.6, 2.8, 2.4, 2.0, 1.6, 1.3)
"""How far the floor's minimum lies below the mean of steady noise (white, pink and brown
agree within 0.2 dB); more in the narrow bands."""

_FLOOR_PIECES: Final = 140
"""The floor looks back 2.8 s: long enough for a pause in fluent speech."""

_SMOOTH_PIECES: Final = 3
"""Powers are averaged over 60 ms before the minimum: as long as a stop consonant."""

_STEADY_PIECES: Final = 50
_STEADY_DB: Final = 1.8
"""Sound whose bands vary by less than 1.8 dB (standard deviation) over 1 s is background,
however loud: noise varies by 1.2 dB, speech by 6 to 10."""

_LOWEST_FLOOR_DBFS: Final = -72.0
"""Below this (all bands together) is dither and digital silence, not a room."""

_FIRST_FLOOR_DBFS: Final = -50.0
"""The highest floor believed before 2.8 s were heard, because a recording may begin in the
middle of a word."""

_NOISE_AFTER: Final = 5
_NOISE_STEP: Final = 0.05
"""The background's level is averaged over 0.4 s, from 0.1 s after the last speech."""

_LOWEST_BIN: Final = 2
"""Of the background's level: from 75 Hz, without DC and most hum."""

_HYSTERESIS_DB: Final = 1.5
"""The threshold of an open gate is lower, for weak endings."""

_ONSET_WINDOW: Final = 6
_ONSET_PIECES: Final = 3
"""Speech in 3 of the last 6 pieces (120 ms) opens the gate; a click has fewer."""


class GateState(Enum):
    """Where the talk spurt is."""

    QUIET = "quiet"
    """No speech; nothing is sent."""
    STARTING = "starting"
    """The first frame of a spurt, sent after the pre-roll."""
    SPEAKING = "speaking"
    """Speech in this frame."""
    STOPPING = "stopping"
    """No speech in this frame; sent until the hangover has passed."""


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Settings of the gate.

    `aggressiveness` 0..3 is webrtcvad's (3 lets the least pass), `threshold_db` how far
    above the noise floor speech lies. Without `enabled` every frame is sent.

    Raises:
        ConfigError: a value outside its range.
    """

    enabled: bool = True
    aggressiveness: int = 1
    pre_roll_ms: int = 160
    hangover_ms: int = 400
    threshold_db: float = 4.5

    def __post_init__(self) -> None:
        for field, low, high in (
            ("aggressiveness", 0, 3),
            ("pre_roll_ms", 0, 1000),
            ("hangover_ms", 0, 5000),
            ("threshold_db", 1.0, 40.0),
        ):
            value = getattr(self, field)
            if not low <= value <= high:
                raise ConfigError(f"gate.{field} = {value} is outside {low}..{high}")

    @property
    def pre_roll_frames(self) -> int:
        """Frames of pre-roll, rounded up."""
        return -(-self.pre_roll_ms // 80)


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """What becomes of one frame.

    `start` and `end` mark the first and the last frame of a talk spurt. With `start`, the
    `pre_roll` frames before this one are sent ahead of it; they were never sent before.
    `noise_dbfs` is the RMS level of the background in dB full scale.
    """

    state: GateState
    send: bool
    start: bool
    end: bool
    pre_roll: int
    noise_dbfs: float


class _NoiseFloor:
    """Power per band of the background: the minimum of the last seconds."""

    def __init__(self, *, lowest: _Power, first: _Power) -> None:
        self._lowest = lowest
        self._bias = 10 ** (np.array(_FLOOR_BIAS_DB[: lowest.size]) / 10)
        self._heard: deque[_Power] = deque(maxlen=_STEADY_PIECES)
        self._smoothed: deque[_Power] = deque([first / self._bias] * _FLOOR_PIECES, _FLOOR_PIECES)
        self.power = first

    def update(self, power: _Power) -> None:
        """Take the next piece's power; shape (bands,)."""
        self._heard.append(np.maximum(power, self._lowest))
        heard = np.array(self._heard)
        self._smoothed.append(np.mean(heard[-_SMOOTH_PIECES:], axis=0))
        if (
            len(heard) == _STEADY_PIECES
            and np.mean(np.std(10 * np.log10(heard), axis=0)) < _STEADY_DB
        ):
            self._smoothed.extend([np.mean(heard, axis=0) / self._bias] * _FLOOR_PIECES)
        self.power = np.maximum(np.min(self._smoothed, axis=0) * self._bias, self._lowest)


class VoiceGate:
    """Decides frame by frame, in the order of time; the look ahead is nothing."""

    def __init__(self, settings: GateConfig, *, sample_rate: int) -> None:
        self.settings = settings
        self.sample_rate = sample_rate
        self.frame_size = round(sample_rate * FRAME_SECONDS)
        self._piece = self.frame_size // _PIECES_PER_FRAME
        self._hangover = settings.hangover_ms / _PIECE_MS
        self._window = np.hanning(self._piece)
        # Scaled so that the bins of white noise add up to its power.
        self._scale = 2.0 / (self._piece * float(np.sum(self._window**2)))
        bins = np.fft.rfftfreq(self._piece, 1 / sample_rate)
        edges = [int(np.searchsorted(bins, hz)) for hz in _BANDS_HZ if hz <= sample_rate / 2]
        self._edges = np.array(edges)
        self._widths = np.diff(self._edges)
        self.reset()

    def reset(self) -> None:
        """Forget the past, as if newly made."""
        white = self._widths / self._piece * 2
        self._floor = _NoiseFloor(
            lowest=white * 10 ** (_LOWEST_FLOOR_DBFS / 10),
            first=white * 10 ** (_FIRST_FLOOR_DBFS / 10),
        )
        self._vad = webrtcvad.Vad(self.settings.aggressiveness)
        self._past = np.zeros(self.frame_size // 2, np.float32)
        self._state = GateState.QUIET
        self._recent: deque[bool] = deque(maxlen=_ONSET_WINDOW)
        self._since_speech = 0
        self._unsent = 0
        self._noise_dbfs: float | None = None

    def decide(self, pcm: Pcm) -> GateDecision:
        """The decision for the next frame of 80 ms; shape (frame_size,).

        Raises:
            ValueError: `pcm` is not exactly one frame.
        """
        if pcm.shape != (self.frame_size,):
            raise ValueError(f"the gate takes {self.frame_size} samples, not {pcm.shape}")
        votes = self._vad_votes(pcm)
        heard = False
        for vote, piece in zip(votes, pcm.astype(np.float64).reshape(-1, self._piece), strict=True):
            spectrum = np.abs(np.fft.rfft(piece * self._window)) ** 2 * self._scale
            power = np.add.reduceat(spectrum, self._edges)[:-1]
            above = self._above_floor(power)
            threshold = self.settings.threshold_db
            if self._state is not GateState.QUIET:
                threshold -= _HYSTERESIS_DB
            speech = vote and above >= threshold
            self._floor.update(power)
            self._recent.append(speech)
            heard = heard or speech
            self._since_speech = 0 if speech else self._since_speech + 1
            if self._since_speech >= _NOISE_AFTER:
                self._track_noise(float(np.sum(spectrum[_LOWEST_BIN:])))
        return self._advance(heard=heard)

    def _vad_votes(self, pcm: Pcm) -> list[bool]:
        if self.sample_rate != _VAD_RATE:
            # One shot over a little of the past keeps the pieces aligned; a streaming
            # resampler would hold back 20 ms.
            joined = np.concatenate([self._past, pcm])
            self._past = joined[-self._past.size :]
            resampled = soxr.resample(joined, self.sample_rate, _VAD_RATE, quality="LQ")
            pcm = resampled[-_VAD_PIECE * _PIECES_PER_FRAME :]
        words = np.clip(np.rint(pcm * 32768.0), -32768, 32767).astype("<i2")
        return [
            self._vad.is_speech(piece.tobytes(), _VAD_RATE)
            for piece in words.reshape(-1, _VAD_PIECE)
        ]

    def _above_floor(self, power: _Power) -> float:
        """Root mean square of the bands' distances above the floor in dB: one band far above
        (a fricative) counts as much as all of them a little (a vowel in noise)."""
        decibels = 10 * np.log10(np.maximum(power / self._floor.power, 1.0))
        return float(np.sqrt(np.mean(decibels**2)))

    def _track_noise(self, power: float) -> None:
        level = 10 * math.log10(max(power, 1e-12))
        before = self._noise_dbfs
        # Averaged in dB, so that a short noise hardly counts.
        self._noise_dbfs = level if before is None else before + _NOISE_STEP * (level - before)

    def _advance(self, *, heard: bool) -> GateDecision:
        start = end = False
        pre_roll = 0
        if not self.settings.enabled:
            start = self._state is GateState.QUIET
            self._state = GateState.STARTING if start else GateState.SPEAKING
        elif self._state is GateState.QUIET:
            if sum(self._recent) >= _ONSET_PIECES:
                start = True
                pre_roll = min(self.settings.pre_roll_frames, self._unsent)
                self._state = GateState.STARTING
        elif heard:
            self._state = GateState.SPEAKING
        else:
            self._state = GateState.STOPPING
            end = self._since_speech >= self._hangover
        send = self._state is not GateState.QUIET
        decision = GateDecision(
            state=self._state,
            send=send,
            start=start,
            end=end,
            pre_roll=pre_roll,
            noise_dbfs=self._background_dbfs(),
        )
        self._unsent = 0 if send else self._unsent + 1
        if end:
            self._state = GateState.QUIET
            self._recent.clear()
        return decision

    def _background_dbfs(self) -> float:
        level = self._noise_dbfs
        if level is None:
            level = 10 * math.log10(float(np.sum(self._floor.power)))
        return min(max(level, -127.0), 0.0)
