"""What the encoder hears: log spectra and periods of the past, every 10 ms.

Three views side by side: the low harmonics, resolved by a 64 ms window; a Mel spectrum of the
whole band, from a 25 ms window; and the strongest periods of the long window, by its
autocorrelation (Boersma 1993).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from linkcodec.compact.shape import (
    CANDIDATES,
    FLOOR,
    HIGHEST_LAG,
    LAG_FFT,
    LAG_FLOOR,
    LOWEST_LAG,
    MEL_BANDS,
    MEL_FFT,
    MEL_SCALE,
    MEL_WINDOW,
    PITCH_BINS,
    PITCH_CENTRE,
    PITCH_SCALE,
    PITCH_WINDOW,
    SAMPLE_RATE,
    STEP,
    lag_weights,
    mel_matrix,
)


class Periods(nn.Module):
    """Windowed pieces (..., PITCH_WINDOW) to their `CANDIDATES` most likely periods, the best
    first: (..., 2 CANDIDATES) of pitch in octaves and strength 0..1, both 0 where none is."""

    band: Tensor
    gains: Tensor
    costs: Tensor

    def __init__(self) -> None:
        super().__init__()
        band, gains, costs = (torch.from_numpy(weights) for weights in lag_weights())
        self.register_buffer("band", band, persistent=False)
        self.register_buffer("gains", gains, persistent=False)
        self.register_buffer("costs", costs, persistent=False)

    def forward(self, windowed: Tensor) -> Tensor:
        power = torch.fft.rfft(windowed.float(), n=LAG_FFT).abs().square() * self.band
        alike = torch.fft.irfft(power)
        whole = alike[..., :1] + LAG_FLOOR
        alike = alike[..., LOWEST_LAG - 1 : HIGHEST_LAG + 2] / whole * self.gains
        before, here, after = alike[..., :-2], alike[..., 1:-1], alike[..., 2:]
        peak = (here > before) & (here >= after) & (here > 0)
        score = torch.where(peak, here - self.costs[1:-1], -torch.inf)
        best, place = score.topk(CANDIDATES, dim=-1)
        low, top, high = (part.gather(-1, place) for part in (before, here, after))
        bend = (low - 2 * top + high).clamp(max=-1e-6)
        lag = LOWEST_LAG + place + (0.5 * (low - high) / bend).clamp(-0.5, 0.5)
        octaves = math.log2(SAMPLE_RATE / PITCH_CENTRE) - torch.log2(lag)
        found = best > -torch.inf
        pairs = torch.stack((octaves * found, top * found), dim=-1)
        return pairs.flatten(-2)


class Features(nn.Module):
    """Samples with `PAST` samples before them to features: (batch, PAST + 160 n) to
    (batch, n, FEATURES), of which the first `SPECTRA` are logarithms of magnitudes."""

    pitch_window: Tensor
    mel_window: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window
        self.periods = Periods()
        self.register_buffer("pitch_window", hann(PITCH_WINDOW) * PITCH_SCALE, persistent=False)
        self.register_buffer("mel_window", hann(MEL_WINDOW) * MEL_SCALE, persistent=False)
        mel = torch.from_numpy(mel_matrix(bands=MEL_BANDS, fft=MEL_FFT)).t()
        self.register_buffer("mel", mel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.spectra(x), self.periods(self._long(x))), dim=-1)

    def _long(self, x: Tensor) -> Tensor:
        return x.unfold(1, PITCH_WINDOW, STEP) * self.pitch_window

    def spectra(self, x: Tensor) -> Tensor:
        """The first two views: (batch, n, SPECTRA)."""
        short = x[:, PITCH_WINDOW - MEL_WINDOW :].unfold(1, MEL_WINDOW, STEP) * self.mel_window
        harmonics = torch.fft.rfft(self._long(x))[..., :PITCH_BINS].abs()
        bands = torch.fft.rfft(short, n=MEL_FFT).abs() @ self.mel
        return (torch.log(torch.cat((harmonics, bands), dim=-1) + FLOOR) + 4.0) / 2.5
