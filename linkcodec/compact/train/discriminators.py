"""Discriminators of the second training stage: small, and on spectra only.

Two kinds look at several resolutions: one-dimensional ones along time over all log
magnitudes at once, and narrow two-dimensional ones over magnitude and compressed complex
spectrum, which also see phase. Their losses are least squares (Mao et al. 2017) and
feature matching (Kumar et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLAT = ((1024, 256), (512, 128))
DEEP = ((1024, 256), (512, 128), (256, 64))
"""Window and hop in samples."""


def _spectrum(x: Tensor, window: Tensor, hop: int) -> Tensor:
    size = len(window)
    spectrum: Tensor = torch.fft.rfft(x.unfold(1, size, hop) * window) / (size / 4) ** 0.5
    return spectrum


class FlatDiscriminator(nn.Module):
    """Convolutions along time over the log magnitudes of all bins."""

    window: Tensor

    def __init__(self, size: int, hop: int, *, channels: int = 256) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.layers = nn.ModuleList([nn.Conv1d(size // 2 + 1, channels, 3, padding=1)])
        self.layers.extend(
            nn.Conv1d(channels, channels, 5, padding=2 * d, dilation=d, groups=4) for d in (1, 2, 4)
        )
        self.judge = nn.Conv1d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        magnitude = _spectrum(x, self.window, self.hop).abs()
        h = ((torch.log(magnitude + 1e-3) + 3) / 2).transpose(1, 2)
        features = []
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            for layer in self.layers:
                h = F.leaky_relu(layer(h), 0.1)
                features.append(h)
            verdict = self.judge(h)
        return verdict.float(), features


class DeepDiscriminator(nn.Module):
    """Convolutions along time and frequency over the complex spectrum."""

    window: Tensor

    def __init__(self, size: int, hop: int, *, channels: int = 20) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        c = channels
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(3, c, (3, 7), (1, 2), (1, 3)),
                nn.Conv2d(c, 2 * c, (3, 5), (1, 2), (1, 2)),
                nn.Conv2d(2 * c, 2 * c, (3, 5), (1, 2), (1, 2)),
                nn.Conv2d(2 * c, 2 * c, (3, 3), (1, 2), (1, 1)),
            ]
        )
        self.judge = nn.Conv2d(2 * c, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = _spectrum(x, self.window, self.hop)
        magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-8)
        shrink = magnitude.pow(-0.7)
        h = torch.stack(
            ((torch.log(magnitude) + 3) / 2, spectrum.real * shrink, spectrum.imag * shrink), dim=1
        )
        features = []
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            h = h.contiguous(memory_format=torch.channels_last)
            for layer in self.layers:
                h = F.leaky_relu(layer(h), 0.1)
                features.append(h)
            verdict = self.judge(h)
        return verdict.float(), features


@dataclass(frozen=True)
class Verdict:
    """What the generator hears back."""

    adversarial: Tensor
    matching: Tensor


class Discriminators(nn.Module):
    """All discriminators together."""

    def __init__(self) -> None:
        super().__init__()
        self.judges = nn.ModuleList([FlatDiscriminator(*view) for view in FLAT])
        self.judges.extend(DeepDiscriminator(*view) for view in DEEP)

    def teach(self, output: Tensor, target: Tensor) -> Tensor:
        """The discriminators' own loss on speech and on detached output."""
        loss = output.new_zeros(())
        both = torch.cat((target, output.detach()))
        for judge in self.judges:
            real, fake = judge(both)[0].chunk(2)
            loss = loss + (1 - real).square().mean() + fake.square().mean()
        return loss / len(self.judges)

    def judge(self, output: Tensor, target: Tensor) -> Verdict:
        """The generator's losses; call it with the discriminators' gradients switched off."""
        adversarial, matching = output.new_zeros(()), output.new_zeros(())
        for judge in self.judges:
            with torch.no_grad():
                meant = judge(target)[1]
            verdict, made = judge(output)
            adversarial = adversarial + (1 - verdict).square().mean()
            for a, b in zip(made, meant, strict=True):
                spread = b.float().abs().mean() + 1e-3
                matching = matching + (a.float() - b.float()).abs().mean() / spread / len(made)
        count = len(self.judges)
        return Verdict(adversarial=adversarial / count, matching=matching / count)
