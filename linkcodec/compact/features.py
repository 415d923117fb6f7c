"""What the encoder hears: log spectra and periods of the past, every 10 ms.

Four views side by side: the low harmonics, resolved by a 64 ms window; a Mel spectrum of the
whole band, from a 25 ms window; the strongest periods of the long window, by its
autocorrelation (Boersma 1993); and what became of these in the last 20 ms, by
cross-correlation (Talkin 1995), since a frame ends before the long window is half way there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
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
    RECENT_FFT,
    RECENT_REACH,
    RECENT_RISE,
    RECENT_SPAN,
    RECENT_WINDOW,
    SAMPLE_RATE,
    STEP,
    lag_weights,
    mel_matrix,
)


class Periods(nn.Module):
    """Windowed pieces (..., PITCH_WINDOW) to their `CANDIDATES` most likely periods, the best
    first: (..., PERIODS) of pitch in octaves and strength 0..1, both 0 where none is."""

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
        octaves = _peak_octaves(low, top, high, place)
        found = best > -torch.inf
        return torch.stack((octaves * found, top * found), dim=-1).flatten(-2)


def _peak_octaves(before: Tensor, here: Tensor, after: Tensor, place: Tensor) -> Tensor:
    """Octaves of a peak `place` above `LOWEST_LAG`, between its neighbours."""
    bend = (before - 2 * here + after).clamp(max=-1e-6)
    lag = LOWEST_LAG + place + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
    return math.log2(SAMPLE_RATE / PITCH_CENTRE) - torch.log2(lag)


class RecentPeriods(nn.Module):
    """Pieces (..., RECENT_SPAN) and their periods (..., PERIODS) to what these are at the
    pieces' end: (..., PERIODS) of pitch in octaves and likeness 0..1, both 0 where none is."""

    octaves: Tensor

    def __init__(self) -> None:
        super().__init__()
        lags = torch.arange(LOWEST_LAG, HIGHEST_LAG + 1)
        octaves = math.log2(SAMPLE_RATE / PITCH_CENTRE) - torch.log2(lags)
        self.register_buffer("octaves", octaves, persistent=False)

    def forward(self, pieces: Tensor, periods: Tensor) -> Tensor:
        pieces = pieces.float()
        pieces = pieces - pieces.mean(dim=-1, keepdim=True)
        newest = pieces[..., -RECENT_WINDOW:]
        across = torch.fft.rfft(pieces, n=RECENT_FFT) * torch.fft.rfft(newest, n=RECENT_FFT).conj()
        products = torch.fft.irfft(across)[..., : RECENT_SPAN - RECENT_WINDOW + 1]
        sums = F.pad(pieces.double().square().cumsum(dim=-1), (1, 0))
        powers = (sums[..., RECENT_WINDOW:] - sums[..., :-RECENT_WINDOW]).float() + LAG_FLOOR
        # From the lags of the past to those ahead of them: the shortest lag comes first.
        alike = (products / torch.sqrt(powers * powers[..., -1:])).flip(-1)
        alike = alike[..., LOWEST_LAG - 1 : HIGHEST_LAG + 2]
        pairs = periods.reshape(*periods.shape[:-1], CANDIDATES, 2)
        near = (self.octaves - pairs[..., :1]).abs() < RECENT_REACH
        before, here, after = alike[..., :-2], alike[..., 1:-1], alike[..., 2:]
        peak = here > torch.maximum(before, after).clamp(min=0) + RECENT_RISE
        score = torch.where(peak, here, -torch.inf)[..., None, :]
        best, place = torch.where(near, score, -torch.inf).max(dim=-1)
        low, top, high = (part.gather(-1, place) for part in (before, here, after))
        octaves = _peak_octaves(low, top, high, place)
        found = (best > -torch.inf) & (pairs[..., 1] > 0)
        return torch.stack((octaves * found, top * found), dim=-1).flatten(-2)


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
        self.recent = RecentPeriods()
        self.register_buffer("pitch_window", hann(PITCH_WINDOW) * PITCH_SCALE, persistent=False)
        self.register_buffer("mel_window", hann(MEL_WINDOW) * MEL_SCALE, persistent=False)
        mel = torch.from_numpy(mel_matrix(bands=MEL_BANDS, fft=MEL_FFT)).t()
        self.register_buffer("mel", mel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        periods = self.periods(self._long(x))
        recent = self.recent(
            x[:, PITCH_WINDOW - RECENT_SPAN :].unfold(1, RECENT_SPAN, STEP), periods
        )
        return torch.cat((self.spectra(x), periods, recent), dim=-1)

    def _long(self, x: Tensor) -> Tensor:
        return x.unfold(1, PITCH_WINDOW, STEP) * self.pitch_window

    def spectra(self, x: Tensor) -> Tensor:
        """The first two views: (batch, n, SPECTRA)."""
        short = x[:, PITCH_WINDOW - MEL_WINDOW :].unfold(1, MEL_WINDOW, STEP) * self.mel_window
        harmonics = torch.fft.rfft(self._long(x))[..., :PITCH_BINS].abs()
        bands = torch.fft.rfft(short, n=MEL_FFT).abs() @ self.mel
        return (torch.log(torch.cat((harmonics, bands), dim=-1) + FLOOR) + 4.0) / 2.5
