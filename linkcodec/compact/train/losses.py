"""Losses on spectra: of the output, of what it is on average, and of what the network knows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linkcodec.compact.features import Features
from linkcodec.compact.shape import HOP, PAST, SPECTRA, SYNTHESIS_FRAME, mel_matrix

_SCALE = (SYNTHESIS_FRAME / 1024) ** 0.5

RESOLUTIONS = ((256, 64, 24), (512, 128, 48), (1024, 256, 80), (2048, 512, 128))
"""Window, hop (samples) and Mel bands of each view."""


class SpectralLoss(nn.Module):
    """Distance of two signals' magnitude spectra at several resolutions.

    Log Mel bands carry the loudness, log bins the fine structure, spectral convergence
    (Arik et al. 2018) the peaks. `skip` samples at the start are heard but not judged.
    """

    def __init__(self) -> None:
        super().__init__()
        for window, _, bands in RESOLUTIONS:
            self.register_buffer(f"window{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(
                f"mel{window}", torch.from_numpy(mel_matrix(bands=bands, fft=window)).t()
            )

    def _magnitudes(self, x: Tensor, window: int, hop: int) -> Tensor:
        frames = x.unfold(1, window, hop) * self.get_buffer(f"window{window}")
        # The square root needs a floor for its gradient at silence.
        spectrum = torch.fft.rfft(frames)
        return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        total = output.new_zeros(())
        for window, hop, _ in RESOLUTIONS:
            scale = (window / 1024) ** 0.5
            mel = self.get_buffer(f"mel{window}")
            made = self._magnitudes(output, window, hop) / scale
            with torch.no_grad():
                meant = self._magnitudes(target, window, hop) / scale
            loud = F.l1_loss(torch.log(made @ mel + 1e-3), torch.log(meant @ mel + 1e-3))
            fine = F.l1_loss(torch.log(made + 3e-3), torch.log(meant + 3e-3))
            peaks = (made - meant).norm() / meant.norm().clamp(min=1e-3)
            total = total + loud + 0.5 * fine + 0.3 * peaks
        return total / len(RESOLUTIONS)


class EnvelopeLoss(nn.Module):
    """Distance of the output's expected magnitudes, frame by frame, to the target's.

    The noise is replaced by its mean power, so that the gradient has none of its chance.
    """

    window: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(SYNTHESIS_FRAME), persistent=False)
        mel = torch.from_numpy(mel_matrix(bands=32, fft=SYNTHESIS_FRAME)).t()
        self.register_buffer("mel", mel, persistent=False)

    def _expected(self, voice: Tensor, voice_filter: Tensor, noise_gain: Tensor) -> Tensor:
        power = (voice.abs() * voice_filter.abs()).square()
        power = power + noise_gain.square() * self.window.square().sum()
        return torch.sqrt(power + 1e-9).div(_SCALE)

    def bands(self, voice: Tensor, voice_filter: Tensor, noise_gain: Tensor) -> Tensor:
        """Logarithms of the expected Mel bands of each frame, from what `Synthesizer` makes."""
        expected = self._expected(voice, voice_filter, noise_gain)
        return torch.log(torch.matmul(expected, self.mel) + 1e-3)

    def forward(
        self, voice: Tensor, voice_filter: Tensor, noise_gain: Tensor, target: Tensor
    ) -> Tensor:
        """Spectra and filters as in `Synthesizer`; `target` (items, samples)."""
        with torch.no_grad():
            frames = target.unfold(1, SYNTHESIS_FRAME, HOP) * self.window
            meant = torch.fft.rfft(frames).abs() / _SCALE
        made = self._expected(voice, voice_filter, noise_gain)[:, : meant.shape[1]]
        loud = F.l1_loss(torch.log(made @ self.mel + 1e-3), torch.log(meant @ self.mel + 1e-3))
        fine = F.l1_loss(torch.log(made + 3e-3), torch.log(meant + 3e-3))
        return loud + 0.5 * fine


class Guide(nn.Module):
    """A linear reading of the encoder's spectra from the trunk's hidden state.

    It asks, without a synthesiser in between, that the details reach the decoder at all.
    """

    SHIFT = 240
    """Samples by which a feature window ends later than the step of the output it belongs to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = Features()
        self.read = nn.Linear(channels, SPECTRA)

    def forward(self, hidden: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            meant = self.features.spectra(F.pad(target[:, self.SHIFT :], (PAST, self.SHIFT)))
        error: Tensor = (self.read(hidden).float() - meant).abs()
        edge = -(-PAST // 160)
        return error[:, edge:-2].mean()
