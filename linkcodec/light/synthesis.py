"""The compact codec's source-filter synthesiser in numpy; see `linkcodec.compact.synthesis`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from linkcodec.compact.shape import (
    BINS,
    HOP,
    NOISE_PERIOD,
    OVERLAP,
    SAMPLE_RATE,
    STEP,
    SYNTHESIS_FRAME,
    TOP_HARMONIC,
    WINDOW_GAIN,
    Array,
    hann,
    noise_table,
)
from linkcodec.light.network import windows

_Exact = npt.NDArray[np.float64]


def _past() -> Array:
    return np.zeros(OVERLAP, np.float32)


@dataclass
class SynthesisState:
    """What one stream's synthesiser remembers: the pulse train's `phase` in cycles and the last
    `frequency` in Hz, the last samples of both excitations and the output not yet complete,
    (240,) each. The arrays are replaced and never written into."""

    phase: float = 0.0
    frequency: float | None = None
    noise_position: int = 0
    voice: Array = field(default_factory=_past)
    noise: Array = field(default_factory=_past)
    tail: Array = field(default_factory=_past)


def pulse_train(phase: Array, frequency: Array) -> Array:
    """Sum of all cosines k * phase up to `TOP_HARMONIC`, of unit power: Dirichlet's kernel.

    `phase` in cycles within -0.5..0.5, `frequency` in Hz: both (samples,).
    """
    count = np.float32(TOP_HARMONIC) / frequency
    harmonics = np.floor(count)
    angle = np.float32(2.0 * math.pi) * phase
    half = np.sin(angle / 2)
    near = np.abs(half) < 1e-6
    kernel = np.sin((harmonics + np.float32(0.5)) * angle) / np.where(near, np.float32(1.0), half)
    kernel = np.where(near, harmonics, (kernel - 1) / 2)
    kernel += (count - harmonics) * np.cos((harmonics + 1) * angle)
    kernel *= np.sqrt(2 / count)
    return np.asarray(kernel, dtype=np.float32)


class Synthesizer:
    """Parameters (steps, PARAMETERS) and pitch (steps,) in Hz to samples (160 steps,)."""

    def __init__(self) -> None:
        self._window = hann(SYNTHESIS_FRAME)
        self._join = self._window / np.float32(WINDOW_GAIN)
        self._table = noise_table()

    def __call__(self, parameters: Array, pitch: Array, state: SynthesisState) -> Array:
        voice = np.concatenate((state.voice, self._voice(pitch, state)))
        noise = np.concatenate((state.noise, self._noise(len(pitch) * STEP, state)))
        state.voice, state.noise = voice[-OVERLAP:], noise[-OVERLAP:]
        values = parameters.reshape(2 * len(pitch), 3, BINS)
        gains = np.exp(np.clip(values[:, 0::2], -12.0, 6.0) - 3.0)
        turned = gains[:, 0] * np.exp(1j * values[:, 1])
        spectrum = np.fft.rfft(windows(voice, SYNTHESIS_FRAME, HOP) * self._window) * turned
        spectrum += np.fft.rfft(windows(noise, SYNTHESIS_FRAME, HOP) * self._window) * gains[:, 1]
        frames = np.fft.irfft(spectrum, n=SYNTHESIS_FRAME).astype(np.float32) * self._join
        return self._overlap_add(frames, state)

    def _voice(self, pitch: Array, state: SynthesisState) -> Array:
        exact: _Exact = pitch.astype(np.float64)
        before = exact[0] if state.frequency is None else state.frequency
        start = np.concatenate(([before], exact[:-1]))
        ramp = np.arange(1, STEP + 1) / STEP
        frequency = (start[:, None] + (exact - start)[:, None] * ramp).reshape(-1)
        phase = state.phase + np.cumsum(frequency / SAMPLE_RATE)
        state.frequency = float(exact[-1])
        state.phase = float(phase[-1] % 1.0)
        centred = ((phase + 0.5) % 1.0 - 0.5).astype(np.float32)
        return pulse_train(centred, frequency.astype(np.float32))

    def _noise(self, samples: int, state: SynthesisState) -> Array:
        positions = np.arange(state.noise_position, state.noise_position + samples)
        state.noise_position = (state.noise_position + samples) % NOISE_PERIOD
        return self._table.take(positions, mode="wrap")

    @staticmethod
    def _overlap_add(frames: Array, state: SynthesisState) -> Array:
        count, parts = len(frames), SYNTHESIS_FRAME // HOP
        out = np.zeros((count + parts - 1, HOP), np.float32)
        for part in range(parts):
            out[part : part + count] += frames[:, part * HOP : (part + 1) * HOP]
        samples = out.reshape(-1)
        samples[:OVERLAP] += state.tail
        state.tail = samples[count * HOP :].copy()
        return samples[: count * HOP]
