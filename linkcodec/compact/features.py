"""What the encoder hears: log spectra of the past, every 10 ms.

Two views side by side: the low harmonics, resolved by a 64 ms window, and a Mel
spectrum of the whole band, from a 25 ms window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from linkcodec.compact.shape import (
    FLOOR,
    MEL_BANDS,
    MEL_FFT,
    MEL_SCALE,
    MEL_WINDOW,
    PITCH_BINS,
    PITCH_SCALE,
    PITCH_WINDOW,
    STEP,
    mel_matrix,
)


class Features(nn.Module):
    """Samples with `PAST` samples before them to features: (batch, PAST + 160 n) to
    (batch, n, FEATURES)."""

    pitch_window: Tensor
    mel_window: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window
        self.register_buffer("pitch_window", hann(PITCH_WINDOW) * PITCH_SCALE, persistent=False)
        self.register_buffer("mel_window", hann(MEL_WINDOW) * MEL_SCALE, persistent=False)
        mel = torch.from_numpy(mel_matrix(bands=MEL_BANDS, fft=MEL_FFT)).t()
        self.register_buffer("mel", mel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        long = x.unfold(1, PITCH_WINDOW, STEP) * self.pitch_window
        short = x[:, PITCH_WINDOW - MEL_WINDOW :].unfold(1, MEL_WINDOW, STEP) * self.mel_window
        harmonics = torch.fft.rfft(long)[..., :PITCH_BINS].abs()
        bands = torch.fft.rfft(short, n=MEL_FFT).abs() @ self.mel
        return (torch.log(torch.cat((harmonics, bands), dim=-1) + FLOOR) + 4.0) / 2.5
