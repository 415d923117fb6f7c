"""What happens to speech before it reaches a codec: rooms, noises, lines, other sounds.

Everything is at `SAMPLE_RATE` and takes its chance from a given generator, so that the same
seed gives the same sound. Training varies its material with it, and benchmarks/robustness.py
measures with other seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from linkcodec.compact.shape import SAMPLE_RATE

Signal = npt.NDArray[np.float32]

_CHORDS: Final = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
_BEAT_SECONDS: Final = 0.5


def rms(pcm: Signal) -> float:
    """Root mean square, never zero."""
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)) + 1e-10))


def at_level(pcm: Signal, dbfs: float) -> Signal:
    """The signal with an RMS level in dB full scale."""
    return pcm * np.float32(10 ** (dbfs / 20) / rms(pcm))


def at_ratio(noise: Signal, speech: Signal, snr_db: float) -> Signal:
    """Noise as loud as it must be for a signal-to-noise ratio; silence leaves it as it is."""
    return at_level(noise, 20 * np.log10(rms(speech)) - snr_db) if speech.any() else noise


def coloured_noise(random: np.random.Generator, samples: int, *, tilt: float) -> Signal:
    """Gaussian noise whose magnitude falls with frequency to the power of `tilt`; RMS 1."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    spectrum *= np.linspace(1e-2, 1.0, len(spectrum)) ** -tilt
    return at_level(np.fft.irfft(spectrum, n=samples).astype(np.float32), 0.0)


def car_noise(random: np.random.Generator, samples: int) -> Signal:
    """A car's inside: rumble that falls by 12 dB per octave above 60 Hz, wind and an engine's
    harmonics; RMS 1."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    spectrum *= 1.0 / (1.0 + (hertz / 60.0) ** 2) + 0.003 / (1.0 + hertz / 1000.0)
    rumble = np.fft.irfft(spectrum, n=samples)
    rumble /= np.std(rumble) + 1e-9
    turns = random.uniform(22.0, 45.0) * (1 + 0.02 * np.sin(np.arange(samples) / SAMPLE_RATE))
    phase = 2 * np.pi * np.cumsum(turns) / SAMPLE_RATE
    engine = sum(np.sin(k * phase + random.uniform(0, 6.28)) / k for k in range(1, 12))
    return at_level((rumble + 0.4 * engine).astype(np.float32), 0.0)


def babble(random: np.random.Generator, talkers: Sequence[Signal], samples: int) -> Signal:
    """Talkers of one loudness, each from a random place on and repeated as needed; RMS 1."""
    total = np.zeros(samples, dtype=np.float32)
    for pcm in talkers:
        turned = np.roll(pcm, int(random.integers(len(pcm))))
        total += np.resize(turned, samples) / np.float32(rms(pcm) + 1e-4)
    return at_level(total, 0.0)


def music(random: np.random.Generator, samples: int) -> Signal:
    """Music on hold: plucked chords over a bass, in a random key; RMS 1."""
    total = np.zeros(samples, dtype=np.float64)
    key = random.uniform(110.0, 220.0)
    beat = round(_BEAT_SECONDS * SAMPLE_RATE)
    for number, start in enumerate(range(0, samples, beat)):
        chord = _CHORDS[number // 4 % len(_CHORDS)]
        length = min(2 * beat, samples - start)
        seconds = np.arange(length) / SAMPLE_RATE
        for semitones in (*chord, chord[number % 3] + 12, chord[0] - 12):
            pitch = key * 2 ** (semitones / 12)
            note = sum(np.sin(2 * np.pi * pitch * k * seconds) / k**1.5 for k in range(1, 7))
            total[start : start + length] += note * np.exp(-3.0 * seconds)
    return at_level(total.astype(np.float32), 0.0)


def room_response(random: np.random.Generator, *, seconds: float, direct_db: float) -> Signal:
    """A room's impulse response: the direct sound at sample 0, and an exponential tail of noise
    that falls by 60 dB in `seconds`, `direct_db` dB below the direct sound in all."""
    length = round(seconds * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    tail = random.standard_normal(length) * 10 ** (-3.0 * time / seconds)
    # Walls are 2 m away at least, and take more of the high frequencies.
    tail[: round(0.006 * SAMPLE_RATE)] = 0.0
    tail = np.convolve(tail, [0.25, 0.5, 0.25], mode="same")
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2) + 1e-12)
    tail[0] += 1.0
    return tail.astype(np.float32)


def convolve(pcm: Signal, response: Signal) -> Signal:
    """The signal through an impulse response, as long as before."""
    size = 1 << (len(pcm) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(pcm, n=size) * np.fft.rfft(response, n=size)
    return np.fft.irfft(spectrum, n=size)[: len(pcm)].astype(np.float32)


def telephone(pcm: Signal) -> Signal:
    """Only the band from 300 to 3400 Hz, with edges an eighth of an octave wide."""
    spectrum = np.fft.rfft(pcm)
    octave = np.log2(np.maximum(np.fft.rfftfreq(len(pcm), 1 / SAMPLE_RATE), 1.0))
    low = np.clip((octave - np.log2(300.0)) * 8 + 0.5, 0.0, 1.0)
    high = np.clip((np.log2(3400.0) - octave) * 8 + 0.5, 0.0, 1.0)
    return np.fft.irfft(spectrum * low * high, n=len(pcm)).astype(np.float32)


def overdriven(pcm: Signal, *, share: float) -> Signal:
    """The signal cut off at the level that `share` of its samples exceed."""
    limit = max(float(np.quantile(np.abs(pcm), 1.0 - share)), 1e-6)
    return np.clip(pcm, -limit, limit)
