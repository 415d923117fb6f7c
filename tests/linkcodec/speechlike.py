"""Speech-like sound made by arithmetic: syllables of a hiss and a buzz with formants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float64]


def noise(samples: int, *, dbfs: float, seed: int, tilt: float = 0.0) -> Signal:
    """Noise of an RMS level whose power falls with frequency to the power of `tilt`."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.arange(spectrum.size, dtype=np.float64)
    hertz[0] = np.inf if tilt else 1.0
    shaped = np.fft.irfft(spectrum / hertz ** (tilt / 2), samples)
    return np.asarray(shaped / np.sqrt(np.mean(shaped**2)) * 10 ** (dbfs / 20))


def syllable(sample_rate: int, *, seed: int, hiss_ms: int = 80, vowel_ms: int = 160) -> Signal:
    """A fricative 15 dB below the vowel that follows; the vowel has power 1."""
    rng = np.random.default_rng(seed)
    hiss_samples, vowel_samples = (sample_rate * ms // 1000 for ms in (hiss_ms, vowel_ms))
    hiss = np.zeros(hiss_samples)
    if hiss_samples:
        spectrum = np.fft.rfft(rng.standard_normal(hiss_samples))
        spectrum[np.fft.rfftfreq(hiss_samples, 1 / sample_rate) < 2500] = 0
        hiss = np.fft.irfft(spectrum, hiss_samples)
        hiss *= 10 ** (-15 / 20) / float(np.std(hiss))
    seconds = np.arange(vowel_samples) / sample_rate
    pitch = rng.uniform(100, 220)
    formants = (rng.uniform(300, 800), rng.uniform(1000, 2200), rng.uniform(2400, 3000))
    phase = 2 * np.pi * pitch * (seconds + 0.2 * seconds**2)
    vowel = np.zeros(vowel_samples)
    for harmonic in range(1, int(3800 / pitch)):
        near = [1 / (1 + ((harmonic * pitch - formant) / 120) ** 2) for formant in formants]
        vowel += (0.02 + near[0] + 0.4 * near[1] + 0.2 * near[2]) * np.cos(harmonic * phase)
    vowel /= np.sqrt(np.mean(vowel**2))
    vowel *= np.sin(np.pi * np.arange(vowel_samples) / vowel_samples) ** 0.3
    return np.concatenate([hiss, vowel])


def phrase(sample_rate: int, *, dbfs: float, seed: int, syllables: int = 8) -> Signal:
    """Syllables with stops of 40 to 100 ms in between, at an RMS level of about `dbfs`."""
    rng = np.random.default_rng(seed)
    parts: list[Signal] = []
    for number in range(syllables):
        parts.append(syllable(sample_rate, seed=seed * 1000 + number))
        parts.append(np.zeros(int(sample_rate * rng.uniform(0.04, 0.1))))
    whole = np.concatenate(parts[:-1])
    return np.asarray(whole / np.sqrt(np.mean(whole**2)) * 10 ** (dbfs / 20))
