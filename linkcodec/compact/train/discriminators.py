"""Discriminators of the second training stage: small, and on spectra only.

Two kinds look at several resolutions: one-dimensional ones along time over all log
magnitudes at once, and narrow two-dimensional ones over magnitude and compressed complex
spectrum, which also see phase. Their losses are least squares (Mao et al. 2017) and
feature matching (Kumar et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


def _sum(x: Tensor) -> Tensor:
    """Sum of absolute values in float32, without a copy of `x` in it."""
    return x.abs().sum(dtype=torch.float32)


class _MeanDistance(torch.autograd.Function):
    """Mean absolute difference in the type of its inputs, summed in float32: feature maps are
    the largest tensors of a step, and its time is that of passing over them."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, meant: Tensor) -> Tensor:
        difference = made - meant
        ctx.save_for_backward(difference)
        return _sum(difference) / difference.numel()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (difference,) = ctx.saved_tensors
        return difference.sign() * (grads[0] / difference.numel()).to(difference.dtype), None


def _distance(made: Tensor, meant: Tensor) -> Tensor:
    """Mean distance of two feature maps against the mean size of `meant`."""
    spread = _sum(meant) / meant.numel() + 1e-3
    distance: Tensor = _MeanDistance.apply(made, meant)  # type: ignore[no-untyped-call]
    return distance / spread


@dataclass(frozen=True)
class Verdict:
    """What generator and discriminators learn from one look at both signals.

    taught: the discriminators' own loss. adversarial, matching: the generator's.
    """

    taught: Tensor
    adversarial: Tensor
    matching: Tensor


class Discriminators(nn.Module):
    """All discriminators together."""

    def __init__(self) -> None:
        super().__init__()
        self.judges = nn.ModuleList([FlatDiscriminator(*view) for view in FLAT])
        self.judges.extend(DeepDiscriminator(*view) for view in DEEP)

    def judge(self, output: Tensor, target: Tensor) -> Verdict:
        """All losses of output and speech, (items, samples) each, in one pass."""
        taught, adversarial, matching = (output.new_zeros(()) for _ in range(3))
        for judge in self.judges:
            real, meant = judge(target)
            fake, made = judge(output)
            taught = taught + (1 - real).square().mean() + fake.square().mean()
            adversarial = adversarial + (1 - fake).square().mean()
            for a, b in zip(made, meant, strict=True):
                matching = matching + _distance(a, b.detach()) / len(made)
        count = len(self.judges)
        return Verdict(
            taught=taught / count, adversarial=adversarial / count, matching=matching / count
        )
