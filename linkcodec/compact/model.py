"""The compact codec's network: 16 kHz speech to 12.5 latents a second, and back.

The encoder goes from log spectra at 100 steps/s through 50 and 25 to 12.5; the decoder
goes back and predicts, at 100 steps/s, the pitch and the filters of a source-filter
synthesiser. Everything is causal. Frame t is coded from samples before 1280 (t + 1) and
gives the output up to `DELAY` samples before that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from linkcodec.compact.features import Features
from linkcodec.compact.layers import Context, Merge, Split, Stage
from linkcodec.compact.quantizer import ResidualQuantizer
from linkcodec.compact.shape import FEATURES, PARAMETERS, PITCH_CENTRE, PITCH_RANGE
from linkcodec.compact.streams import DecoderMemory
from linkcodec.compact.synthesis import SynthesisState, Synthesizer


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the network; the tuples run from 100 steps/s down to 12.5."""

    books: int = 12
    entries: int = 2048
    latent: int = 64
    encoder: tuple[int, int, int, int] = (160, 224, 320, 384)
    encoder_blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    decoder: tuple[int, int, int, int] = (256, 256, 320, 416)
    decoder_blocks: tuple[int, int, int, int] = (4, 2, 2, 3)


class SpeechEncoder(nn.Module):
    """Samples with `PAST` samples before them to latents: (batch, PAST + 1280 n) to
    (batch, n, latent)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        a, b, c, d = config.encoder
        n = config.encoder_blocks
        self.features = Features()
        self.enter = nn.Linear(FEATURES, a)
        self.stage1 = Stage(a, blocks=n[0], kernel=5, expansion=3)
        self.merge1 = Merge(a, b)
        self.stage2 = Stage(b, blocks=n[1], kernel=5, expansion=3)
        self.merge2 = Merge(b, c)
        self.stage3 = Stage(c, blocks=n[2], kernel=5, expansion=2)
        self.merge3 = Merge(c, d)
        self.stage4 = Stage(d, blocks=n[3], kernel=5, expansion=3)
        self.norm = nn.LayerNorm(d)
        self.leave = nn.Linear(d, config.latent)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        context.rewind()
        h = self.stage1(self.enter(self.features(x)), context)
        h = self.stage2(self.merge1(h), context)
        h = self.stage3(self.merge2(h), context)
        h = self.stage4(self.merge3(h), context)
        latents: Tensor = self.leave(self.norm(h))
        return latents


class Trunk(nn.Module):
    """Latents to the synthesiser's parameters and pitch: (batch, n, latent) to
    (batch, 8 n, PARAMETERS) and octaves (batch, 8 n)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        a, b, c, d = config.decoder
        n = config.decoder_blocks
        self.lost = nn.Parameter(torch.zeros(d))
        self.enter = nn.Linear(config.latent, d)
        self.stage4 = Stage(d, blocks=n[3], kernel=7, expansion=2)
        self.split3 = Split(d, c)
        self.stage3 = Stage(c, blocks=n[2], kernel=5, expansion=2)
        self.split2 = Split(c, b)
        self.stage2 = Stage(b, blocks=n[1], kernel=5, expansion=3)
        self.split1 = Split(b, a)
        self.stage1 = Stage(a, blocks=n[0], kernel=7, expansion=3)
        self.norm = nn.LayerNorm(a)
        self.pitch = nn.Linear(a, 1)
        self.leave = nn.Linear(a, PARAMETERS)
        nn.init.normal_(self.leave.weight, std=0.02)
        nn.init.zeros_(self.leave.bias)

    def hidden(self, latents: Tensor, lost: Tensor, context: Context) -> Tensor:
        """What the outputs are read from: (batch, 8 n, channels).

        `lost` is (batch, n, 1): 1 where a frame did not arrive and 0 elsewhere.
        """
        context.rewind()
        h = self.enter(latents) * (1 - lost) + self.lost * lost
        h = self.stage4(h, context)
        h = self.stage3(self.split3(h), context)
        h = self.stage2(self.split2(h), context)
        hidden: Tensor = self.norm(self.stage1(self.split1(h), context))
        return hidden

    def forward(self, latents: Tensor, lost: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        h = self.hidden(latents, lost, context)
        return self.leave(h), self.pitch(h).squeeze(-1)


def pitch_hertz(octaves: Tensor) -> Tensor:
    """The trunk's pitch output in Hz, within the range of voices."""
    return (PITCH_CENTRE * torch.exp2(octaves.float())).clamp(*PITCH_RANGE)


@dataclass
class DecoderState(DecoderMemory[Context, SynthesisState]):
    """All that one stream's decoder remembers."""

    context: Context = field(default_factory=Context)
    synthesis: SynthesisState = field(default_factory=SynthesisState.zero)


class CompactModel(nn.Module):
    """Encoder, codebooks, trunk and synthesiser."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpeechEncoder(config)
        self.quantizer = ResidualQuantizer(
            books=config.books, entries=config.entries, channels=config.latent
        )
        self.trunk = Trunk(config)
        self.synthesizer = Synthesizer()

    def synthesize(self, latents: Tensor, lost: Tensor, state: DecoderState) -> Tensor:
        """Latents (batch, n, latent) to samples (batch, 1280 n)."""
        parameters, octaves = self.trunk(latents, lost, state.context)
        samples: Tensor = self.synthesizer(parameters, pitch_hertz(octaves), state.synthesis)
        return samples
