"""Comfort noise: the sound of the far end's background, from a level and a colour.

The level comes over the wire as in RFC 3389. The colour is the shape of the spectrum in
`COLOUR_BITS` bits: the levels of eight bands, less those of an ordinary room, as four cosine
coefficients (slope, bend, ...) in steps of 5 dB, in two's complement. Over the pauses of 128
recordings and white to brown noise the shape comes out within 1.6 dB (RMS over the bands).

Both glide, so that nothing clicks.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from linkcodec.codec import Pcm
from linkcodec.frame import COLOUR_BITS

__all__ = [
    "COLOUR_BANDS_HZ",
    "ComfortNoise",
    "ComfortNoiseState",
    "colour_of",
    "colour_shape",
]

_Vector = npt.NDArray[np.float64]

COLOUR_BANDS_HZ: Final = (75, 300, 600, 1000, 1600, 2400, 3600, 5400, 8000)
"""Edges of the bands whose levels make the colour."""

_FIELD_BITS: Final = (4, 3, 3, 2)
_STEP_DB: Final = 5.0
assert sum(_FIELD_BITS) == COLOUR_BITS

_EDGES: Final = np.array(COLOUR_BANDS_HZ, dtype=np.float64)
_CENTRES: Final = np.sqrt(_EDGES[1:] * _EDGES[:-1])
_BANDS: Final = _CENTRES.size
_COSINES: Final = np.sqrt(2 / _BANDS) * np.cos(
    np.pi * np.arange(1, 1 + len(_FIELD_BITS))[:, None] * (np.arange(_BANDS) + 0.5) / _BANDS
)

_CORNER_HZ: Final = 700.0
"""An ordinary room is darker than white noise: a one-pole low-pass at this corner."""
_ROOM_DB: Final = -10 * np.log10(1 + (_CENTRES / _CORNER_HZ) ** 2)

_RESPONSE_SECONDS: Final = 0.016
_GLIDE_SECONDS: Final = 0.1
_LOWEST_DBFS: Final = -127.0


def colour_of(density_db: _Vector) -> int:
    """The colour that is nearest to a spectrum.

    density_db: mean power per hertz in the bands of `COLOUR_BANDS_HZ`, in dB of any reference;
    shape (8,). Bands that the sample rate does not reach may be NaN: they count as an
    ordinary room's.
    """
    shape = density_db - _ROOM_DB
    known = np.isfinite(shape)
    if not known.any():
        return 0
    shape = np.where(known, shape - shape[known].mean(), 0.0)
    colour = 0
    for value, bits in zip(_COSINES @ shape / _STEP_DB, _FIELD_BITS, strict=True):
        half = 1 << bits - 1
        field = min(max(round(float(value)), -half), half - 1)
        colour = colour << bits | field % (1 << bits)
    return colour


def colour_shape(colour: int) -> _Vector:
    """Power per hertz in the bands of `COLOUR_BANDS_HZ` in dB, of an open level; shape (8,)."""
    fields = []
    for bits in reversed(_FIELD_BITS):
        field = colour % (1 << bits)
        fields.append(field - (1 << bits) if field >> bits - 1 else field)
        colour >>= bits
    return np.asarray(_ROOM_DB + _STEP_DB * np.array(fields[::-1]) @ _COSINES)


def _filter_response(colour: int, sample_rate: int) -> _Vector:
    """Impulse response of unit energy that gives white noise this colour."""
    taps = round(_RESPONSE_SECONDS * sample_rate) | 1
    hertz = np.fft.rfftfreq(taps, 1 / sample_rate)
    gains_db = np.interp(np.log(np.maximum(hertz, 1.0)), np.log(_CENTRES), colour_shape(colour))
    # The level is measured without what lies below the first band, so nothing goes there.
    gains = 10 ** (gains_db / 20) * np.minimum(hertz / _EDGES[0], 1.0)
    response = np.roll(np.fft.irfft(gains, taps), taps // 2) * np.hanning(taps + 2)[1:-1]
    return np.asarray(response / np.sqrt(np.sum(response**2)))


@dataclass(frozen=True, kw_only=True)
class ComfortNoiseState:
    """A copy of all that changes; opaque to everyone but `ComfortNoise`."""

    generator: dict[str, Any]
    history: _Vector
    level_dbfs: float | None
    colour: int
    response: _Vector
    before: _Vector
    faded: int


class ComfortNoise:
    """A source of background noise that runs on from call to call.

    The same seed and the same calls give the same samples.
    """

    def __init__(self, sample_rate: int, seed: int = 0) -> None:
        self._sample_rate = sample_rate
        self._seed = seed
        self._glide = round(2 * _GLIDE_SECONDS * sample_rate)
        self.reset()

    def reset(self) -> None:
        """Forget the past, as if newly made."""
        self._colour = 0
        self._response = self._before = _filter_response(0, self._sample_rate)
        self._faded = self._glide  # samples since the colour changed
        self._generator = np.random.default_rng(self._seed)
        self._history = self._generator.standard_normal(self._response.size - 1)
        self._level_dbfs: float | None = None

    def generate(self, samples: int, level_dbfs: float, colour: int = 0) -> Pcm:
        """The next samples, gliding towards an RMS level in dB full scale and a colour.

        The first call starts at both; later changes take about 0.2 s. Levels outside -127..0
        are taken as the nearest of these; shape (samples,).
        """
        target = min(max(float(level_dbfs), _LOWEST_DBFS), 0.0)
        if samples <= 0:
            return np.zeros(0, np.float32)
        if colour != self._colour:
            self._change_colour(colour)
        noise = self._coloured(samples)
        before = target if self._level_dbfs is None else self._level_dbfs
        steps = np.arange(1, samples + 1) / (_GLIDE_SECONDS * self._sample_rate)
        level = target + (before - target) * np.exp(-steps)
        self._level_dbfs = float(level[-1])
        return np.clip(noise * 10 ** (level / 20), -1.0, 1.0).astype(np.float32)

    def _change_colour(self, colour: int) -> None:
        # What the fade has reached is a mixture of two filters, and so a filter itself.
        share = self._faded / self._glide
        self._before = share * self._response + (1 - share) * self._before
        self._faded = self._glide if self._level_dbfs is None else 0
        self._response = _filter_response(colour, self._sample_rate)
        self._colour = colour

    def _coloured(self, samples: int) -> _Vector:
        """Noise of unit power, shape (samples,)."""
        white = np.concatenate([self._history, self._generator.standard_normal(samples)])
        self._history = white[samples:]
        noise = np.convolve(white, self._response, mode="valid")
        if self._faded < self._glide:
            share = np.minimum(self._faded + np.arange(1, samples + 1), self._glide) / self._glide
            old = np.convolve(white, self._before, mode="valid")
            noise = share * noise + (1 - share) * old
            self._faded = min(self._faded + samples, self._glide)
        return noise

    def snapshot(self) -> ComfortNoiseState:
        """A copy of the state, good for `restore` on any source of the same sample rate."""
        return ComfortNoiseState(
            generator=copy.deepcopy(dict(self._generator.bit_generator.state)),
            history=self._history.copy(),
            level_dbfs=self._level_dbfs,
            colour=self._colour,
            response=self._response,
            before=self._before,
            faded=self._faded,
        )

    def restore(self, state: ComfortNoiseState) -> None:
        """Go back to the state of a snapshot."""
        self._generator.bit_generator.state = copy.deepcopy(state.generator)
        self._history = state.history.copy()
        self._level_dbfs = state.level_dbfs
        self._colour = state.colour
        self._response, self._before = state.response, state.before
        self._faded = state.faded
