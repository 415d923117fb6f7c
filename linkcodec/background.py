"""What a microphone hears between talk spurts: its noise floor, its level and its colour.

The floor is tracked in six bands as the minimum of the last seconds (after R. Martin, "Noise
power spectral density estimation based on optimal smoothing and minimum statistics", 2001).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from linkcodec.codec import Pcm
from linkcodec.comfort_noise import COLOUR_BANDS_HZ, colour_of
from linkcodec.detector import PIECE_MS
from linkcodec.frame import Silence

__all__ = ["Background", "BandPowers", "NoiseFloor", "Power", "mean_of", "shift_in"]

Power = npt.NDArray[np.float64]
"""Powers of float64; full scale is 1."""

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

_NOISE_STEP: Final = 0.05
_COLOUR_STEP: Final = 0.02
"""The background's level is averaged over 0.4 s and its colour over 1 s."""

_LOWEST_BIN: Final = 2
"""Of the background's level: from 75 Hz, without DC and most hum."""


def shift_in(pieces: Power, newest: Power) -> Power:
    """Drop the first piece and add one at the end; shape (pieces, bands)."""
    pieces[:-1] = pieces[1:]
    pieces[-1] = newest
    return pieces


def mean_of(values: Power) -> Power:
    """Mean over the first axis, without what `np.mean` does around it: this runs 50 times a
    second."""
    return np.asarray(np.add.reduce(values) / len(values))


class BandPowers:
    """Powers of pieces of 20 ms, by frequency and in up to six bands.

    size: samples of a piece. hertz: frequencies of the spectra; shape (bins,). bands: their
    number, less than six below 16 kHz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.size = sample_rate * PIECE_MS // 1000
        self.hertz = np.asarray(np.fft.rfftfreq(self.size, 1 / sample_rate), np.float64)
        self._window = np.hanning(self.size)
        # Scaled so that the bins of white noise add up to its power.
        self._scale = 2.0 / (self.size * float(np.sum(self._window**2)))
        edges = [int(np.searchsorted(self.hertz, hz)) for hz in _BANDS_HZ if hz <= sample_rate / 2]
        self._edges = np.array(edges)
        self.bands = len(edges) - 1

    def white(self, dbfs: float) -> Power:
        """The bands' powers of white noise of this level; shape (bands,)."""
        return np.asarray(np.diff(self._edges) / self.size * 2 * 10 ** (dbfs / 10))

    def spectra(self, pcm: Pcm) -> Power:
        """Power per bin of whole pieces; shape (pieces, bins)."""
        pieces = pcm.astype(np.float64).reshape(-1, self.size)
        return np.asarray(np.abs(np.fft.rfft(pieces * self._window)) ** 2 * self._scale)

    def in_bands(self, spectra: Power) -> Power:
        """Power per band; shape (pieces, bands)."""
        return np.asarray(np.add.reduceat(spectra, self._edges, axis=1)[:, :-1])


class NoiseFloor:
    """Power per band of the background: the minimum of the last seconds.

    unsettled: pieces until it rests on what was heard alone.
    """

    def __init__(self, bands: BandPowers) -> None:
        lowest, first = bands.white(_LOWEST_FLOOR_DBFS), bands.white(_FIRST_FLOOR_DBFS)
        self._lowest = lowest
        self._bias = 10 ** (np.array(_FLOOR_BIAS_DB[: lowest.size]) / 10)
        # The newest piece comes last; of the first `_heard_pieces` are there.
        self._heard = np.ones((_STEADY_PIECES, lowest.size))
        self._decibels = np.zeros((_STEADY_PIECES, lowest.size))
        self._heard_pieces = 0
        self._smoothed = np.tile(first / self._bias, (_FLOOR_PIECES, 1))
        self.power = first
        self.unsettled = _FLOOR_PIECES

    def update(self, power: Power) -> None:
        """Take the next piece's power; shape (bands,)."""
        heard = shift_in(self._heard, np.maximum(power, self._lowest))
        decibels = shift_in(self._decibels, 10 * np.log10(heard[-1]))
        self._heard_pieces = min(self._heard_pieces + 1, _STEADY_PIECES)
        self.unsettled = max(self.unsettled - 1, 0)
        shift_in(self._smoothed, mean_of(heard[-min(self._heard_pieces, _SMOOTH_PIECES) :]))
        if self._heard_pieces == _STEADY_PIECES:
            spread = np.sqrt(mean_of((decibels - mean_of(decibels)) ** 2))
            if mean_of(spread) < _STEADY_DB:
                self._smoothed[:] = mean_of(heard) / self._bias
                self.unsettled = 0
        self.power = np.maximum(np.minimum.reduce(self._smoothed) * self._bias, self._lowest)


class Background:
    """Level and colour of what is heard between the talk spurts.

    Args:
        bins: frequencies of the power spectra in Hz; shape (bins,).
    """

    def __init__(self, bins: Power) -> None:
        edges = np.searchsorted(bins, [hz for hz in COLOUR_BANDS_HZ if hz <= bins[-1]])
        self._edges = edges
        self._widths = np.diff(edges)
        self._missing = len(COLOUR_BANDS_HZ) - 1 - self._widths.size
        self._level: float | None = None
        self._bands = np.zeros(self._widths.size)

    def update(self, spectrum: Power) -> None:
        """Take a piece without speech: power per bin; shape (bins,)."""
        level = _in_decibels(float(np.sum(spectrum[_LOWEST_BIN:])))
        bands = np.add.reduceat(spectrum, self._edges)[:-1] / self._widths
        bands = 10 * np.log10(np.maximum(bands, 1e-15))
        if self._level is None:
            self._level, self._bands = level, bands
        # Averaged in dB, so that a short noise hardly counts.
        self._level += _NOISE_STEP * (level - self._level)
        self._bands += _COLOUR_STEP * (bands - self._bands)

    def silence(self, floor: float) -> Silence:
        """The background now; `floor` is the power to believe before any was heard."""
        level = _in_decibels(floor) if self._level is None else self._level
        colour = 0
        if self._level is not None:
            colour = colour_of(np.append(self._bands, [math.nan] * self._missing))
        return Silence(level_dbfs=min(max(level, -127.0), 0.0), colour=colour)


def _in_decibels(power: float) -> float:
    return 10 * math.log10(max(power, 1e-13))
