"""The echo gate: an open loudspeaker's sound is kept out of the microphone's way to the link.

While the far end's sound may be heard by the microphone, noise like the room's own goes out in
its place, so that the far end does not hear itself, and the voice gate hears nobody. A near
talker who is clearly louder than the echo would be gets through.

How loud the echo would be is known from what is played, band by band: the power of the sound
that has left the loudspeaker, fading as in a room, times the gain of the way to the microphone.
That gain is the upper end of what was heard of it so far; it is followed down at once, and up
only while the microphone's envelope goes with the loudspeaker's (their correlation, whose peak
also gives the delay), since a talker who is louder than the echo does not do that.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from linkcodec.background import BandPowers, NoiseFloor, Power, mean_of
from linkcodec.codec import Pcm
from linkcodec.detector import PIECE_MS

__all__ = ["EchoGate"]

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

_INAUDIBLE_DB: Final = -6.0
"""An echo so far below the room's noise in each band is not heard, and needs no gate."""

_LOUDER_DB: Final = 4.5
_STILL_LOUDER_DB: Final = 2.5
"""A near talker is so far above echo and noise together; less is enough to stay heard."""

_NEAR_BANDS: Final = 2
_NEAR_PIECES: Final = 3
_NEAR_WINDOW: Final = 4
"""In two bands and in 3 of 4 pieces: a click or one echo of the room is not enough."""

_HOLD: Final = 8
"""Pieces (160 ms) between syllables over which a near talker stays heard."""

_NOISE_PIECES: Final = 150
"""The room's noise is averaged over 3 s, at first over all that was heard."""

_NOISE_GUESS: Final = 30

_AS_LOUD: Final = 2.5
"""While the loudspeaker plays, only what is less than 4 dB above the first noise is taken for it,
and no more than 0.6 s of that: quiet echoes are among it."""


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


class _RoomNoise:
    """Noise with the spectrum of what is heard while nobody speaks.

    power: per bin; shape (bins,).


    Args:
        size: samples of a piece; bins: of a piece's spectrum.
    """

    def __init__(self, *, size: int, bins: int, seed: int) -> None:
        self._size = size
        self._generator = np.random.default_rng(seed)
        self.power = np.zeros(bins)
        self._pieces = 0
        self._window = np.sin(np.pi * (np.arange(2 * size) + 0.5) / (2 * size))
        self._tail = np.zeros(size)

    def learn(self, spectrum: Power) -> None:
        """Power per bin of a piece of the room's noise; shape (bins,)."""
        self._pieces = min(self._pieces + 1, _NOISE_PIECES)
        self.power += (spectrum - self.power) / self._pieces

    def wants(self, spectrum: Power) -> bool:
        """Whether too little is known yet, and a piece is not louder than that."""
        if not 0 < self._pieces < _NOISE_GUESS:
            return not self._pieces
        return float(np.sum(spectrum)) < _AS_LOUD * float(np.sum(self.power))

    def piece(self) -> Pcm:
        """The next piece; shape (size,)."""
        bins, size = self.power.size, 2 * self._size
        gains = np.interp(np.linspace(0, bins - 1, size // 2 + 1), np.arange(bins), self.power)
        phases = self._generator.standard_normal((2, gains.size))
        # The bins of a piece add up to its power.
        spectrum = (phases[0] + 1j * phases[1]) * np.sqrt(gains) * (size / np.sqrt(8.0))
        noise = np.fft.irfft(spectrum, size) * self._window
        out = noise[: self._size] + self._tail
        self._tail = noise[self._size :]
        return out.astype(np.float32)


class EchoGate:
    """Sound of a microphone in, the same without a loudspeaker's out.

    The loudspeaker's sound is given by another thread. Times are seconds of one clock.

    closed: whether noise goes out in place of the sound. gain_db: from what is played to what
    is heard at most, in the loudest band.
    """

    def __init__(self, sample_rate: int, *, seed: int = 0) -> None:
        self._rate = sample_rate
        self._bands = BandPowers(sample_rate)
        self._floor = NoiseFloor(self._bands)
        self._quietest = self._bands.white(_QUIETEST_DBFS)
        self._arrivals: deque[tuple[Pcm, float]] = deque(maxlen=_HISTORY)
        self._loudspeaker: Pcm = np.zeros(0, np.float32)
        self._loudspeaker_at = float("-inf")
        self._played = _Played(self._bands)
        self._partial: Pcm = np.zeros(0, np.float32)
        delays = _LATEST - _EARLIEST
        self._likeness = _Likeness(delays, self._bands.bands, memory=_MEMORY)
        self._likeness_now = _Likeness(delays, self._bands.bands, memory=_SHORT_MEMORY)
        self._follows_now = False
        self._gain_db = np.full(self._bands.bands, _FIRST_GAIN_DB)
        self._delay: int | None = None
        self._learned = 0
        self._recent: deque[bool] = deque(maxlen=_NEAR_WINDOW)
        self._since_near = _HOLD
        self._noise = _RoomNoise(size=self._bands.size, bins=self._bands.hertz.size, seed=seed)
        self._share = 1.0
        self.closed = False

    @property
    def gain_db(self) -> float:
        """See the class."""
        return float(np.max(self._gain_db))

    def played(self, pcm: Pcm, at: float) -> None:
        """These samples begin to leave the loudspeaker at `at`; shape (any,)."""
        self._arrivals.append((pcm, at))

    def push(self, pcm: Pcm, at: float) -> Pcm:
        """Take samples, the last of which reached the microphone at `at`.

        Gives whole pieces of 20 ms, what is left over with the next samples.
        """
        while self._arrivals:
            self._note_played(*self._arrivals.popleft())
        self._partial = np.concatenate([self._partial, pcm])
        size = self._bands.size
        whole = self._partial.size // size * size
        begins = at - self._partial.size / self._rate
        pieces = self._partial[:whole].reshape(-1, size)
        self._partial = self._partial[whole:]
        out = [
            self._filtered(piece, begins + number * _PIECE_SECONDS)
            for number, piece in enumerate(pieces)
        ]
        return np.concatenate(out) if out else pcm[:0]

    def _note_played(self, pcm: Pcm, at: float) -> None:
        expected = self._loudspeaker_at + self._loudspeaker.size / self._rate
        if abs(at - expected) > _STEP_SECONDS:
            self._loudspeaker = self._loudspeaker[:0]
            self._loudspeaker_at = at
        self._loudspeaker = np.concatenate([self._loudspeaker, pcm])
        size = self._bands.size
        whole = self._loudspeaker.size // size * size
        if whole:
            self._played.put(self._loudspeaker[:whole], self._loudspeaker_at)
            self._loudspeaker = self._loudspeaker[whole:]
            self._loudspeaker_at += whole / self._rate

    def _filtered(self, pcm: Pcm, begins: float) -> Pcm:
        """What goes out for one piece."""
        spectrum = self._bands.spectra(pcm)[0]
        power = self._bands.in_bands(spectrum[None])[0]
        played = self._played.before(round(begins / _PIECE_SECONDS))
        active = bool(np.any(played > self._quietest))
        loudest = self._fading(played)
        self._floor.update(power)
        if active:
            self._learn(played, loudest, power)
        echo = loudest * 10 ** (self._gain_db / 10)
        # Before it is settled the floor is a guess, and mostly too high.
        noise = self._bands.in_bands(self._noise.power[None])[0]
        room = np.minimum(self._floor.power, _AS_LOUD * noise)
        audible = bool(np.any(echo > room * 10 ** (_INAUDIBLE_DB / 10)))
        near = self._is_near(power, echo) and not (active and self._follows_now)
        self.closed = active and audible and not near
        above = 10 * np.log10(np.maximum(power / self._floor.power, 1.0))
        if self._noise.wants(spectrum) if active else float(mean_of(above)) < _STILL_LOUDER_DB:
            self._noise.learn(spectrum)
        share = 0.0 if self.closed else 1.0
        if share == self._share == 1.0:
            return pcm
        fade = np.linspace(self._share, share, pcm.size, dtype=np.float32)
        self._share = share
        filled: Pcm = fade * pcm + np.sqrt(1 - fade * fade) * self._noise.piece()
        return filled

    def _fading(self, played: Power) -> Power:
        """Power per band that a room makes of what was played; shape (bands,)."""
        places = np.arange(len(played))
        first, last = 0, _LATEST - _EARLIEST
        if self._delay is not None:
            first, last = max(0, self._delay - 1), self._delay + 1
        fades = np.where(places >= first, _FADE_DB * np.maximum(places - last, 0), np.inf)
        return np.asarray(np.max(played * 10 ** (-fades / 10)[:, None], axis=0))

    def _learn(self, played: Power, loudest: Power, power: Power) -> None:
        """Follow delay and gain of the way from the loudspeaker to the microphone."""
        heard = 10 * np.log10(np.maximum(power, self._floor.power))
        delays = _LATEST - _EARLIEST
        sound = 10 * np.log10(np.maximum(played[:delays], self._quietest))
        self._likeness.update(sound, heard)
        self._likeness_now.update(sound, heard)
        if self._likeness.peak >= _FOLLOWS:
            self._delay = self._likeness.delay
        now = self._likeness_now
        there = self._delay is None or abs(now.delay - self._delay) <= 1
        self._follows_now = now.peak >= _FOLLOWS_NOW and there
        self._learned += 1
        step = _FIRST_STEP_DB if self._learned < _FIRST_PIECES else _STEP_DB
        beyond = heard - 10 * np.log10(np.maximum(loudest, 1e-12)) - self._gain_db
        up = _RISE_DB if self._follows_now else _UPPER * step * (beyond < _LOUDER_DB)
        up = np.where(power > _CLEAR * self._floor.power, up, 0.0)
        steps = np.where(beyond > 0, np.minimum(up, beyond), (_UPPER - 1) * step)
        told = loudest > self._quietest
        self._gain_db = np.maximum(self._gain_db + steps * told, _LEAST_GAIN_DB)

    def _is_near(self, power: Power, echo: Power) -> bool:
        """Whether a near talker is heard, now or a moment ago."""
        holding = self._since_near < _HOLD
        threshold = _STILL_LOUDER_DB if holding else _LOUDER_DB
        louder = power > (echo + self._floor.power) * 10 ** (threshold / 10)
        self._recent.append(int(np.sum(louder)) >= _NEAR_BANDS)
        heard = sum(self._recent) >= _NEAR_PIECES
        self._since_near = 0 if heard else self._since_near + 1
        return self._since_near < _HOLD
