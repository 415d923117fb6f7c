"""Delay between two versions of the same speech, and its removal.

Parametric vocoders do not keep the phase, so their waveforms hardly correlate with the
original. The delay is therefore measured on band energies: log energies of 16 bands
between 150 and 3800 Hz every millisecond, correlated over time.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.float32]

_HOP_SECONDS: Final = 0.001
_WINDOW_SECONDS: Final = 0.02
_BANDS: Final = 16
_RANGE_DB: Final = 45.0


def _band_energies(pcm: Pcm, sample_rate: int) -> npt.NDArray[np.float64]:
    """Log band energies without their mean, shape (bands, frames of 1 ms)."""
    window = round(_WINDOW_SECONDS * sample_rate)
    hop = round(_HOP_SECONDS * sample_rate)
    padded = np.pad(pcm.astype(np.float64), (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)) ** 2
    frequencies = np.fft.rfftfreq(window, 1 / sample_rate)
    edges = np.geomspace(150.0, 3800.0, _BANDS + 1)
    rows: list[npt.NDArray[np.float64]] = []
    for low, high in pairwise(edges):
        # A narrow band may hold no bin centre: its nearest bin stands for it.
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any():
            inside = np.arange(len(frequencies)) == np.abs(frequencies - (low + high) / 2).argmin()
        rows.append(power[:, inside].sum(axis=1))
    energy = np.stack(rows)
    floor = energy.max() * 10 ** (-_RANGE_DB / 10) + 1e-20
    level = np.log10(energy + floor)
    return np.asarray(level - level.mean(axis=1, keepdims=True))


def estimate_delay(
    reference: Pcm,
    degraded: Pcm,
    *,
    sample_rate: int = 16000,
    longest: float = 0.2,
    earliest: float = -0.02,
) -> int:
    """Samples by which `degraded` comes later than `reference`, to the millisecond.

    Searches `earliest` to `longest` seconds. Both are mono, shape (samples,).
    """
    one = _band_energies(reference, sample_rate)
    other = _band_energies(degraded, sample_rate)
    size = 1 << (one.shape[1] + other.shape[1] - 1).bit_length()
    spectrum = np.conj(np.fft.rfft(one, size, axis=1)) * np.fft.rfft(other, size, axis=1)
    correlation = np.fft.irfft(spectrum.sum(axis=0), size)
    lags = np.arange(round(earliest / _HOP_SECONDS), round(longest / _HOP_SECONDS) + 1)
    best = int(lags[np.argmax(correlation[lags])])
    return best * round(_HOP_SECONDS * sample_rate)


def median_delay(pairs: list[tuple[Pcm, Pcm]], *, sample_rate: int = 16000) -> int:
    """Median of `estimate_delay` over pairs of reference and degraded speech, in samples.

    Raises:
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("a delay needs at least one pair of signals")
    delays = [estimate_delay(one, other, sample_rate=sample_rate) for one, other in pairs]
    return int(np.median(delays))


def align(degraded: Pcm, *, delay: int, length: int) -> Pcm:
    """`degraded` without its first `delay` samples (zeros put before it where that is
    negative), cut or padded with zeros to `length` samples. Levels are kept."""
    shifted = degraded[delay:] if delay >= 0 else np.pad(degraded, (-delay, 0))
    shifted = shifted[:length]
    return np.pad(shifted, (0, length - len(shifted))).astype(np.float32)
