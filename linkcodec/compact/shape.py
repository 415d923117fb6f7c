"""What is fixed about the compact codec, whatever library runs it: sizes and tables.

Lengths are in samples at `SAMPLE_RATE` unless a name says otherwise.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SAMPLE_RATE: Final = 16000
STEP: Final = 160
STEPS_PER_FRAME: Final = 8
FRAME_SIZE: Final = STEPS_PER_FRAME * STEP
DELAY: Final = 320

PITCH_WINDOW: Final = 1024
PITCH_BINS: Final = 80
MEL_WINDOW: Final = 400
MEL_FFT: Final = 512
MEL_BANDS: Final = 80
SPECTRA: Final = PITCH_BINS + MEL_BANDS
CANDIDATES: Final = 2
PERIODS: Final = 2 * CANDIDATES
"""Values per step and view of the periods: pitch and strength of each candidate."""
FEATURES: Final = SPECTRA + 2 * PERIODS
PAST: Final = PITCH_WINDOW - STEP
"""Samples before a step that its features look at."""

PITCH_SCALE: Final = 0.02
MEL_SCALE: Final = 0.05
FLOOR: Final = 1e-4
"""Gains of the two windows, and what is added to the magnitudes before their logarithm."""

PITCH_CENTRE: Final = 130.0
"""Hz that a pitch output of zero stands for; outputs are in octaves."""
PITCH_RANGE: Final = (50.0, 520.0)
"""Lowest and highest pitch in Hz."""

LAG_FFT: Final = 2 * PITCH_WINDOW
LOWEST_LAG: Final = 31
HIGHEST_LAG: Final = 320
"""Lags in samples among which the encoder looks for periods."""
LAG_BAND: Final = (1200.0, 1800.0)
"""Hz between which the spectrum fades out before its autocorrelation is taken."""
LAG_COST: Final = 0.03
"""What an octave down costs a candidate period against its strength (Boersma 1993)."""
PERIOD_LAG: Final = 2
"""Steps by which a period is found later than the decoder's step that it belongs to."""
_STEPS: Final = np.arange(STEPS_PER_FRAME)
TOLD_STEPS: Final = np.stack((np.minimum(_STEPS, STEPS_PER_FRAME - 1 - PERIOD_LAG), _STEPS), axis=1)
"""For each step of a frame, the last one up to it whose period is known when the frame ends, by
the long window and by the recent view: (8, views)."""
FOUND_STEPS: Final = TOLD_STEPS + np.array((PERIOD_LAG, 0))
"""The steps at which these periods are found."""
LAG_FLOOR: Final = 1e-4
"""Added to the power: silence has no period."""
RECENT_WINDOW: Final = 192
"""The newest samples, which are compared with those a period before. Half a period more back is
the middle of both: in time with the decoder's step."""
RECENT_SPAN: Final = RECENT_WINDOW + HIGHEST_LAG + 1
RECENT_FFT: Final = 576
RECENT_RISE: Final = 1e-5
"""By which a peak of likeness is above its neighbours: what is flat has no period."""
RECENT_REACH: Final = 0.25
"""Octaves around a candidate of the long window within which its period is looked for."""

SEARCH_WIDTH: Final = 8
"""Beginnings that the encoder's search through the books keeps."""

SYNTHESIS_FRAME: Final = 320
HOP: Final = 80
OVERLAP: Final = SYNTHESIS_FRAME - HOP
BINS: Final = SYNTHESIS_FRAME // 2 + 1
PARAMETERS: Final = 2 * 3 * BINS
"""Values per step: two frames of voice gain, voice phase and noise gain for each bin."""
WINDOW_GAIN: Final = 1.5
"""Sum of the squared Hann windows that overlap at a hop of a quarter."""

TOP_HARMONIC: Final = 7800.0
NOISE_PERIOD: Final = 1 << 16


def hann(length: int) -> Array:
    """Periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def mel_matrix(*, bands: int, fft: int, sample_rate: int = SAMPLE_RATE) -> Array:
    """Triangular Mel filters (O'Shaughnessy's scale), each of unit sum: (bands, fft / 2 + 1)."""
    top = 2595.0 * math.log10(1.0 + sample_rate / 2 / 700.0)
    mels = np.linspace(0.0, top, bands + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.linspace(0.0, sample_rate / 2, fft // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    sums = np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(weights / sums, dtype=np.float32)


def lag_weights() -> tuple[Array, Array, Array]:
    """For the autocorrelation of a pitch window: weights of its `LAG_FFT // 2 + 1` powers, gains
    of the lags from `LOWEST_LAG - 1` to `HIGHEST_LAG + 1` that undo the window's own
    autocorrelation, and what each of them costs."""
    hertz = np.arange(LAG_FFT // 2 + 1) * (SAMPLE_RATE / LAG_FFT)
    band = np.clip((LAG_BAND[1] - hertz) / (LAG_BAND[1] - LAG_BAND[0]), 0.0, 1.0)
    window = np.fft.irfft(np.abs(np.fft.rfft(hann(PITCH_WINDOW), LAG_FFT)) ** 2)
    lags = np.arange(LOWEST_LAG - 1, HIGHEST_LAG + 2)
    gains = window[0] / window[lags]
    costs = LAG_COST * np.log2(lags / LOWEST_LAG)
    return band.astype(np.float32), gains.astype(np.float32), costs.astype(np.float32)


@cache
def noise_table() -> Array:
    """White Gaussian noise, the same everywhere: Box-Muller on a 64-bit linear congruential
    generator (Knuth's MMIX constants), so that no library's generator is part of the format."""
    state = 0x9E3779B97F4A7C15
    uniform = np.empty(NOISE_PERIOD, dtype=np.float64)
    for i in range(NOISE_PERIOD):
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        uniform[i] = ((state >> 11) + 1) / (1 << 53)
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    angle = 2.0 * math.pi * uniform[1::2]
    table = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
    return np.asarray(table, dtype=np.float32)
