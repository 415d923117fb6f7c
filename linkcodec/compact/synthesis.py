"""From filters and pitch to samples: a source-filter synthesiser in the STFT domain.

The voice is a pulse train at the predicted pitch through one time-varying filter, plus
white noise through another. A step of 10 ms brings two analysis frames of 20 ms, 5 ms
apart; the filtered frames are overlapped and added. The pulse train is band-limited:
a sum of cosines in closed form (Dirichlet's kernel).

Where a step s stands in the signal's time (samples, the codec's delay included):
excitation is made for [160 s - 80, 160 s + 80), its frames start at 160 s - 320 and
160 s - 240, and the output complete after it is [160 s - 320, 160 s - 160).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    noise_table,
)


@dataclass
class SynthesisState:
    """What one stream's synthesiser remembers.

    `phase` is the pulse train's in cycles, `frequency` the last pitch in Hz; both are
    (batch, 1) in float64. `voice` and `noise` are the last samples of the excitation,
    `tail` the output not yet complete: each (batch, 240).
    """

    phase: Tensor
    frequency: Tensor | None
    noise_position: int
    voice: Tensor
    noise: Tensor
    tail: Tensor

    @classmethod
    def zero(cls, batch: int = 1, device: torch.device | None = None) -> SynthesisState:
        """The state of a new stream."""
        past = torch.zeros(batch, OVERLAP, device=device)
        return cls(
            phase=torch.zeros(batch, 1, dtype=torch.float64, device=device),
            frequency=None,
            noise_position=0,
            voice=past,
            noise=past,
            tail=past,
        )


def pulse_train(phase: Tensor, frequency: Tensor) -> Tensor:
    """Sum of all cosines k * phase up to `TOP_HARMONIC`, of unit power.

    `phase` in cycles within -0.5..0.5, `frequency` in Hz: both (batch, samples). The harmonic
    next to the top fades in and out with the pitch, so that the sum has no steps.
    """
    count = TOP_HARMONIC / frequency
    harmonics = torch.floor(count)
    angle = (2.0 * math.pi) * phase
    half = torch.sin(angle / 2)
    near = half.abs() < 1e-6
    kernel = torch.sin((harmonics + 0.5) * angle) / torch.where(near, torch.ones_like(half), half)
    kernel = torch.where(near, harmonics, (kernel - 1.0) / 2)
    kernel = kernel + (count - harmonics) * torch.cos((harmonics + 1.0) * angle)
    return kernel * torch.sqrt(2.0 / count)


class Synthesizer(nn.Module):
    """Parameters (batch, steps, PARAMETERS) and pitch (batch, steps) in Hz to samples
    (batch, 160 steps)."""

    window: Tensor
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(SYNTHESIS_FRAME), persistent=False)
        self.register_buffer("table", torch.from_numpy(noise_table()), persistent=False)

    def _voice(self, pitch: Tensor, state: SynthesisState) -> Tensor:
        exact = pitch.detach().double()
        before = exact[:, :1] if state.frequency is None else state.frequency
        start = torch.cat((before, exact[:, :-1]), dim=1)
        ramp = torch.arange(1, STEP + 1, dtype=torch.float64, device=exact.device) / STEP
        frequency = (start[..., None] + (exact - start)[..., None] * ramp).flatten(1)
        phase = state.phase + torch.cumsum(frequency / SAMPLE_RATE, dim=1)
        state.frequency = exact[:, -1:]
        state.phase = torch.remainder(phase[:, -1:], 1.0)
        return pulse_train((torch.remainder(phase + 0.5, 1.0) - 0.5).float(), frequency.float())

    def _noise(self, batch: int, samples: int, state: SynthesisState) -> Tensor:
        if self.training:
            return torch.randn(batch, samples, device=self.table.device)
        steps = torch.arange(samples, device=self.table.device)
        positions = (state.noise_position + steps) % NOISE_PERIOD
        state.noise_position = (state.noise_position + samples) % NOISE_PERIOD
        return self.table[positions].expand(batch, samples)

    def excite(self, pitch: Tensor, state: SynthesisState) -> tuple[Tensor, Tensor]:
        """Spectra of the voice's and the noise's next frames: (batch, 2 steps, BINS) each."""
        batch, steps = pitch.shape
        voice = torch.cat((state.voice, self._voice(pitch, state)), dim=1)
        noise = torch.cat((state.noise, self._noise(batch, steps * STEP, state)), dim=1)
        state.voice, state.noise = voice[:, -OVERLAP:], noise[:, -OVERLAP:]
        return (
            torch.fft.rfft(voice.unfold(1, SYNTHESIS_FRAME, HOP) * self.window),
            torch.fft.rfft(noise.unfold(1, SYNTHESIS_FRAME, HOP) * self.window),
        )

    @staticmethod
    def filters(parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The voice's complex filters and the noise's gains: (batch, 2 steps, BINS) each."""
        batch, steps, _ = parameters.shape
        values = parameters.float().reshape(batch, 2 * steps, 3, BINS)
        gains = torch.exp(values[:, :, 0::2].clamp(-12.0, 6.0) - 3.0)
        return torch.polar(gains[:, :, 0], values[:, :, 1]), gains[:, :, 1]

    def join(self, spectrum: Tensor, state: SynthesisState) -> Tensor:
        """Filtered frames (batch, 2 steps, BINS) to samples (batch, 160 steps)."""
        return self._overlap_add(
            torch.fft.irfft(spectrum, n=SYNTHESIS_FRAME) * (self.window / WINDOW_GAIN), state
        )

    def forward(self, parameters: Tensor, pitch: Tensor, state: SynthesisState) -> Tensor:
        voice, noise = self.excite(pitch, state)
        voice_filter, noise_gain = self.filters(parameters)
        return self.join(voice * voice_filter + noise * noise_gain, state)

    def _overlap_add(self, frames: Tensor, state: SynthesisState) -> Tensor:
        batch, count, _ = frames.shape
        parts = frames.reshape(batch, count, SYNTHESIS_FRAME // HOP, HOP)
        out = parts.new_zeros(batch, count + SYNTHESIS_FRAME // HOP - 1, HOP)
        for i in range(SYNTHESIS_FRAME // HOP):
            out[:, i : i + count] += parts[:, :, i]
        samples = out.reshape(batch, -1)
        samples = torch.cat((samples[:, :OVERLAP] + state.tail, samples[:, OVERLAP:]), dim=1)
        state.tail = samples[:, count * HOP :]
        return samples[:, : count * HOP]
