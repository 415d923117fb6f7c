"""The echo gate: an open loudspeaker's sound is kept out of the microphone's way to the link.

While the far end's sound may be heard by the microphone, noise like the room's own goes out in
its place, so that the far end does not hear itself, and the voice gate hears nobody. A near
talker who is clearly louder than the echo would be (`linkcodec.echo_path`) gets through.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from linkcodec.background import BandPowers, NoiseFloor, Power, mean_of
from linkcodec.codec import Pcm
from linkcodec.detector import PIECE_MS
from linkcodec.echo_path import BREAK_IN_DB, EchoPath

__all__ = ["EchoGate"]

_PIECE_SECONDS: Final = PIECE_MS / 1000

_INAUDIBLE_DB: Final = -6.0
"""An echo so far below the room's noise in each band is not heard, and needs no gate."""

_STAY_DB: Final = 2.5
"""A near talker is `BREAK_IN_DB` above echo and noise together; this is enough to stay heard."""

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

    played: takes what the loudspeaker plays, from another thread (`EchoPath.played`).
    closed: whether noise goes out in place of the sound.
    """

    def __init__(self, sample_rate: int, *, seed: int = 0) -> None:
        self._rate = sample_rate
        self._bands = BandPowers(sample_rate)
        self._floor = NoiseFloor(self._bands)
        self._path = EchoPath(self._bands, sample_rate=sample_rate)
        self._partial: Pcm = np.zeros(0, np.float32)
        self._recent: deque[bool] = deque(maxlen=_NEAR_WINDOW)
        self._since_near = _HOLD
        self._noise = _RoomNoise(size=self._bands.size, bins=self._bands.hertz.size, seed=seed)
        self._share = 1.0
        self.played = self._path.played
        self.closed = False

    @property
    def gain_db(self) -> float:
        """From what is played to what is heard at most, in the loudest band."""
        return self._path.gain_db

    def push(self, pcm: Pcm, at: float) -> Pcm:
        """Take samples, the last of which reached the microphone at `at` (seconds).

        Gives whole pieces of 20 ms, what is left over with the next samples.
        """
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

    def _filtered(self, pcm: Pcm, begins: float) -> Pcm:
        """What goes out for one piece."""
        spectrum = self._bands.spectra(pcm)[0]
        power = self._bands.in_bands(spectrum[None])[0]
        self._floor.update(power)
        echo = self._path.update(begins, power, self._floor.power)
        active = self._path.active
        # Before it is settled the floor is a guess, and mostly too high.
        noise = self._bands.in_bands(self._noise.power[None])[0]
        room = np.minimum(self._floor.power, _AS_LOUD * noise)
        audible = bool(np.any(echo > room * 10 ** (_INAUDIBLE_DB / 10)))
        near = self._is_near(power, echo) and not (active and self._path.follows)
        self.closed = active and audible and not near
        above = 10 * np.log10(np.maximum(power / self._floor.power, 1.0))
        if self._noise.wants(spectrum) if active else float(mean_of(above)) < _STAY_DB:
            self._noise.learn(spectrum)
        share = 0.0 if self.closed else 1.0
        if share == self._share == 1.0:
            return pcm
        fade = np.linspace(self._share, share, pcm.size, dtype=np.float32)
        self._share = share
        filled: Pcm = fade * pcm + np.sqrt(1 - fade * fade) * self._noise.piece()
        return filled

    def _is_near(self, power: Power, echo: Power) -> bool:
        """Whether a near talker is heard, now or a moment ago."""
        holding = self._since_near < _HOLD
        threshold = _STAY_DB if holding else BREAK_IN_DB
        louder = power > (echo + self._floor.power) * 10 ** (threshold / 10)
        self._recent.append(int(np.sum(louder)) >= _NEAR_BANDS)
        heard = sum(self._recent) >= _NEAR_PIECES
        self._since_near = 0 if heard else self._since_near + 1
        return self._since_near < _HOLD
