"""The way from a loudspeaker to the microphone beside it: how loud its echo would be.

Band by band, the power of the sound that has left the loudspeaker, fading as in a room, times the
gain of the way to the microphone. That gain is the upper end of what was heard of it so far; it is
followed down at once, and up only while the microphone's envelope goes with the loudspeaker's
(their correlation, whose peak also gives the delay), since a talker who is louder than the echo
does not do that.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from linkcodec.background import BandPowers, Power
from linkcodec.codec import Pcm
from linkcodec.detector import PIECE_MS

__all__ = ["BREAK_IN_DB", "EchoPath"]

BREAK_IN_DB: Final = 4.5
"""What is so far above the echo that is expected is a near talker, no louder echo."""

_PIECE_SECONDS: Final = PIECE_MS / 1000

_EARLIEST: Final = -2
_LATEST: Final = 15
"""Pieces (-40 to 300 ms) by which the echo may come later than the sound is said to leave the
loudspeaker: sound systems know their own delays badly."""

_FADED: Final = 20
"""Pieces (400 ms) for which the echo of a room is waited for."""

_FADE_DB: Final = 2.0
"""Of the room's echo per piece: 60 dB in 0.6 s, slower than most rooms with people."""

_HISTORY: Final = 256
"""Pieces of the loudspeaker's sound that are remembered; sound is known before it leaves."""

_STEP_SECONDS: Final = 0.03
"""A jump in time of the sound that is played; less is inaccuracy."""

_QUIETEST_DBFS: Final = -60.0
"""Sound of the loudspeaker below this is nobody's speech."""

_FIRST_GAIN_DB: Final = 10.0
_LEAST_GAIN_DB: Final = -50.0
"""Gain from what is played to what is heard: at first so much that no talker breaks in."""

_FIRST_PIECES: Final = 100
_FIRST_STEP_DB: Final = 3.0
_STEP_DB: Final = 0.6
_UPPER: Final = 0.9
"""The gain is the 90th percentile of what is heard, found by steps, larger in the first 2 s."""

_CLEAR: Final = 4.0
"""What is heard tells how loud the echo is only where it is 6 dB above the room's noise."""

_MEMORY: Final = 75
_FOLLOWS: Final = 0.6
"""A correlation of the envelopes above this over 1.5 s is that of an echo, and its delay right."""

_SHORT_MEMORY: Final = 20
_FOLLOWS_NOW: Final = 0.8
_RISE_DB: Final = 1.5
"""Over 0.4 s it must be higher, at the same delay; then no talker breaks in, and the gain rises
quickly: somebody has turned the loudspeaker up."""


class _Played:
    """Powers of the sound that leaves the loudspeaker, by the pieces of its time."""

    def __init__(self, bands: BandPowers) -> None:
        self._bands = bands
        self._powers = np.zeros((_HISTORY, bands.bands))
        self._numbers = np.full(_HISTORY, -1)

    def put(self, pcm: Pcm, at: float) -> None:
        """Whole pieces, the first of which begins to leave at `at`; shape (any,)."""
        powers = self._bands.in_bands(self._bands.spectra(pcm))
        numbers = round(at / _PIECE_SECONDS) + np.arange(len(powers))
        self._numbers[numbers % _HISTORY] = numbers
        self._powers[numbers % _HISTORY] = powers

    def before(self, number: int) -> Power:
        """Powers at each of the delays, the least first; shape (delays, bands)."""
        numbers = number - np.arange(_EARLIEST, _LATEST + _FADED)
        rows = numbers % _HISTORY
        return np.where((self._numbers[rows] == numbers)[:, None], self._powers[rows], 0.0)


class _Likeness:
    """Correlation of two envelopes in dB at each delay, over the last seconds.

    peak: the highest. delay: index of it.
    """

    def __init__(self, delays: int, bands: int, *, memory: int) -> None:
        self._memory = memory
        self._x = np.zeros((delays, bands))
        self._xx = np.zeros((delays, bands))
        self._xy = np.zeros((delays, bands))
        self._y = np.zeros(bands)
        self._yy = np.zeros(bands)
        self._pieces = 0
        self.peak = 0.0
        self.delay = 0

    def update(self, x: Power, y: Power) -> None:
        """One more piece; shapes (delays, bands) and (bands,)."""
        self._pieces += 1
        step = 1.0 / min(self._pieces, self._memory)
        self._x += step * (x - self._x)
        self._xx += step * (x * x - self._xx)
        self._xy += step * (x * y - self._xy)
        self._y += step * (y - self._y)
        self._yy += step * (y * y - self._yy)
        common = np.sum(self._xy - self._x * self._y, axis=1)
        spreads = np.sum(self._xx - self._x**2, axis=1) * np.sum(self._yy - self._y**2)
        likeness = common / np.sqrt(np.maximum(spreads, 1.0))
        self.delay = int(np.argmax(likeness))
        self.peak = float(likeness[self.delay]) if self._pieces >= _SHORT_MEMORY else 0.0


class EchoPath:
    """Gain and delay from what is played to what is heard; both given in pieces of 20 ms.

    The loudspeaker's sound is given by another thread. Times are seconds of one clock.

    active: whether something of the loudspeaker may be heard now. follows: whether the microphone
    hears just that, and no talker. gain_db: at most, in the loudest band.
    """

    def __init__(self, bands: BandPowers, *, sample_rate: int) -> None:
        self._rate = sample_rate
        self._piece = bands.size
        self._quietest = bands.white(_QUIETEST_DBFS)
        self._arrivals: deque[tuple[Pcm, float]] = deque(maxlen=_HISTORY)
        self._loudspeaker: Pcm = np.zeros(0, np.float32)
        self._loudspeaker_at = float("-inf")
        self._played = _Played(bands)
        delays = _LATEST - _EARLIEST
        self._likeness = _Likeness(delays, bands.bands, memory=_MEMORY)
        self._likeness_now = _Likeness(delays, bands.bands, memory=_SHORT_MEMORY)
        self._gain_db = np.full(bands.bands, _FIRST_GAIN_DB)
        self._delay: int | None = None
        self._learned = 0
        self.active = self.follows = False

    @property
    def gain_db(self) -> float:
        """See the class."""
        return float(np.max(self._gain_db))

    def played(self, pcm: Pcm, at: float) -> None:
        """These samples begin to leave the loudspeaker at `at`; shape (any,)."""
        self._arrivals.append((pcm, at))

    def update(self, begins: float, power: Power, floor: Power) -> Power:
        """Power per band that the echo in the next piece may have; shape (bands,).

        begins: when the piece reached the microphone. power, floor: of the piece and of the
        room's noise, per band; shape (bands,).
        """
        while self._arrivals:
            self._note_played(*self._arrivals.popleft())
        played = self._played.before(round(begins / _PIECE_SECONDS))
        self.active = bool(np.any(played > self._quietest))
        loudest = self._fading(played)
        if self.active:
            self._learn(played, loudest, power, floor)
        return np.asarray(loudest * 10 ** (self._gain_db / 10))

    def _note_played(self, pcm: Pcm, at: float) -> None:
        expected = self._loudspeaker_at + self._loudspeaker.size / self._rate
        if abs(at - expected) > _STEP_SECONDS:
            self._loudspeaker = self._loudspeaker[:0]
            self._loudspeaker_at = at
        self._loudspeaker = np.concatenate([self._loudspeaker, pcm])
        size = self._piece
        whole = self._loudspeaker.size // size * size
        if whole:
            self._played.put(self._loudspeaker[:whole], self._loudspeaker_at)
            self._loudspeaker = self._loudspeaker[whole:]
            self._loudspeaker_at += whole / self._rate

    def _fading(self, played: Power) -> Power:
        """Power per band that a room makes of what was played; shape (bands,)."""
        places = np.arange(len(played))
        first, last = 0, _LATEST - _EARLIEST
        if self._delay is not None:
            first, last = max(0, self._delay - 1), self._delay + 1
        fades = np.where(places >= first, _FADE_DB * np.maximum(places - last, 0), np.inf)
        return np.asarray(np.max(played * 10 ** (-fades / 10)[:, None], axis=0))

    def _learn(self, played: Power, loudest: Power, power: Power, floor: Power) -> None:
        """Follow delay and gain of the way from the loudspeaker to the microphone."""
        heard = 10 * np.log10(np.maximum(power, floor))
        delays = _LATEST - _EARLIEST
        sound = 10 * np.log10(np.maximum(played[:delays], self._quietest))
        self._likeness.update(sound, heard)
        self._likeness_now.update(sound, heard)
        if self._likeness.peak >= _FOLLOWS:
            self._delay = self._likeness.delay
        now = self._likeness_now
        there = self._delay is None or abs(now.delay - self._delay) <= 1
        self.follows = now.peak >= _FOLLOWS_NOW and there
        self._learned += 1
        step = _FIRST_STEP_DB if self._learned < _FIRST_PIECES else _STEP_DB
        beyond = heard - 10 * np.log10(np.maximum(loudest, 1e-12)) - self._gain_db
        up = _RISE_DB if self.follows else _UPPER * step * (beyond < BREAK_IN_DB)
        up = np.where(power > _CLEAR * floor, up, 0.0)
        steps = np.where(beyond > 0, np.minimum(up, beyond), (_UPPER - 1) * step)
        told = loudest > self._quietest
        self._gain_db = np.maximum(self._gain_db + steps * told, _LEAST_GAIN_DB)
