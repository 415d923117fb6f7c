"""What the encoder hears: log spectra of the past, every 10 ms.

Two views side by side: the low harmonics, resolved by a 64 ms window, and a Mel
spectrum of the whole band, from a 25 ms window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SAMPLE_RATE = 16000
STEP = 160
PITCH_WINDOW = 1024
PITCH_BINS = 80
MEL_WINDOW = 400
MEL_FFT = 512
MEL_BANDS = 80
FEATURES = PITCH_BINS + MEL_BANDS
PAST = PITCH_WINDOW - STEP
"""Samples before a step that its features look at."""

FLOOR = 1e-4


def mel_matrix(*, bands: int, fft: int, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Triangular Mel filters (O'Shaughnessy's scale), each of unit sum: (bands, fft / 2 + 1)."""
    top = 2595.0 * math.log10(1.0 + sample_rate / 2 / 700.0)
    mels = torch.linspace(0.0, top, bands + 2, dtype=torch.float64)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = torch.linspace(0.0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    weights = torch.minimum(rising, falling).clamp(min=0.0)
    return (weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)).float()


class Features(nn.Module):
    """Samples with `PAST` samples before them to features: (batch, PAST + 160 n) to
    (batch, n, FEATURES)."""

    pitch_window: Tensor
    mel_window: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window
        self.register_buffer("pitch_window", hann(PITCH_WINDOW) * 0.02, persistent=False)
        self.register_buffer("mel_window", hann(MEL_WINDOW) * 0.05, persistent=False)
        self.register_buffer("mel", mel_matrix(bands=MEL_BANDS, fft=MEL_FFT).t(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        long = x.unfold(1, PITCH_WINDOW, STEP) * self.pitch_window
        short = x[:, PITCH_WINDOW - MEL_WINDOW :].unfold(1, MEL_WINDOW, STEP) * self.mel_window
        harmonics = torch.fft.rfft(long)[..., :PITCH_BINS].abs()
        bands = torch.fft.rfft(short, n=MEL_FFT).abs() @ self.mel
        return (torch.log(torch.cat((harmonics, bands), dim=-1) + FLOOR) + 4.0) / 2.5
