"""The compact codec's network: 16 kHz speech to 12.5 latents a second, and back.

The encoder goes from log spectra at 100 steps/s through 50 and 25 to 12.5; the decoder
goes back and predicts, at 100 steps/s, the pitch and the filters of a source-filter
synthesiser. Everything is causal. Frame t is coded from samples before 1280 (t + 1) and
gives the output up to `DELAY` samples before that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linkcodec.compact.features import Features
from linkcodec.compact.layers import Context, Merge, Split, Stage
from linkcodec.compact.quantizer import ResidualQuantizer
from linkcodec.compact.shape import (
    CANDIDATES,
    FEATURES,
    FOUND_STEPS,
    PARAMETERS,
    PERIODS,
    PITCH_CENTRE,
    PITCH_RANGE,
    SPECTRA,
    STEPS_PER_FRAME,
    TOLD_STEPS,
)
from linkcodec.compact.streams import DecoderMemory
from linkcodec.compact.synthesis import SynthesisState, Synthesizer


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the network; the tuples run from 100 steps/s down to 12.5.

    `intonation` are the hidden sizes of the pitch's own way, in the encoder and the decoder;
    0 where the network has none, as before `compact-4`. `views` of the periods are tracked
    there: those of the long window and, since `compact-5`, the recent ones.
    """

    books: int = 12
    entries: int = 2048
    latent: int = 32
    encoder: tuple[int, int, int, int] = (160, 224, 320, 384)
    encoder_blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    decoder: tuple[int, int, int, int] = (256, 256, 320, 416)
    decoder_blocks: tuple[int, int, int, int] = (6, 2, 2, 3)
    intonation: tuple[int, int] = (192, 144)
    views: int = 2


class IntonationEncoder(nn.Module):
    """Tracks the pitch and puts it into the latents, past the stages that would blur it.

    A network guesses the pitch of the frame's steps, and how much of its difference from each
    of the periods that the features found is to be believed. Never in less than float32: a
    bfloat16 of an octave is off by up to 5 cents.
    """

    told: Tensor
    found: Tensor

    def __init__(self, channels: int, hidden: int, latent: int, views: int) -> None:
        super().__init__()
        self.views = views
        self.mix = nn.Linear(channels + 2 * STEPS_PER_FRAME * views * PERIODS, hidden)
        self.guess = nn.Linear(hidden, STEPS_PER_FRAME * (1 + views * CANDIDATES))
        self.leave = nn.Linear(STEPS_PER_FRAME, latent)
        told, found = (torch.from_numpy(steps[:, :views]) for steps in (TOLD_STEPS, FOUND_STEPS))
        self.register_buffer("told", told, persistent=False)
        self.register_buffer("found", found, persistent=False)

    def track(self, h: Tensor, periods: Tensor, context: Context) -> Tensor:
        """The last stage's output (batch, n, channels) and the features' periods (batch, 8 n,
        views PERIODS) to octaves (batch, n, 8)."""
        frames = periods[..., : self.views * PERIODS].float().reshape(*h.shape[:2], -1)
        past = context.extend(frames, 1)[:, :-1]
        with torch.autocast(h.device.type, enabled=False):
            known = torch.cat((F.layer_norm(h.float(), h.shape[-1:]), past, frames), dim=-1)
            guesses = self.guess(F.gelu(self.mix(known), approximate="tanh"))
            octaves, belief = guesses[..., :STEPS_PER_FRAME], guesses[..., STEPS_PER_FRAME:]
            shape = (*h.shape[:2], STEPS_PER_FRAME, self.views, CANDIDATES)
            belief = torch.sigmoid(belief).reshape(shape)
            found = frames.reshape(*shape, 2)[..., 0]
            found = found[:, :, self.found, torch.arange(self.views)]
            unlike = found - octaves[:, :, self.told, None]
            tracked: Tensor = octaves + (belief * unlike).sum(dim=(-1, -2))
        return tracked

    def forward(self, octaves: Tensor) -> Tensor:
        with torch.autocast(octaves.device.type, enabled=False):
            added: Tensor = self.leave(octaves)
        return added


class IntonationDecoder(nn.Module):
    """The pitch of all steps of a frame together: latents (batch, n, latent) and the first
    stage's output (batch, n, channels) to octaves (batch, 8 n), in float32."""

    def __init__(self, channels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.read = nn.Linear(latent, STEPS_PER_FRAME)
        self.mix = nn.Linear(channels + latent, hidden)
        self.leave = nn.Linear(hidden, STEPS_PER_FRAME)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, latents: Tensor, h: Tensor, heard: Tensor) -> Tensor:
        """`heard` is (batch, n, 1): 0 where a frame did not arrive and 1 elsewhere."""
        with torch.autocast(h.device.type, enabled=False):
            latents = latents.float() * heard
            known = torch.cat((F.layer_norm(h.float(), h.shape[-1:]), latents), dim=-1)
            octaves: Tensor = self.leave(F.gelu(self.mix(known), approximate="tanh"))
            octaves = octaves + self.read(latents) * heard
        return octaves.flatten(1)


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
        hidden = config.intonation[0]
        self.intonation = (
            IntonationEncoder(d, hidden, config.latent, config.views) if hidden else None
        )

    def trackers(self) -> list[nn.Parameter]:
        """The weights that track the pitch, which can be learned alone."""
        way = self.intonation
        return [] if way is None else [*way.mix.parameters(), *way.guess.parameters()]

    def analyse(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """The latents, and the octaves (batch, n, 8) of the pitch that went into them."""
        context.rewind()
        features = self.features(x)
        h = self.stage1(self.enter(features), context)
        h = self.stage2(self.merge1(h), context)
        h = self.stage3(self.merge2(h), context)
        h = self.stage4(self.merge3(h), context)
        latents: Tensor = self.leave(self.norm(h))
        if self.intonation is None:
            return latents, None
        octaves = self.intonation.track(h, features[..., SPECTRA:], context)
        return latents + self.intonation(octaves), octaves

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.analyse(x, context)[0]


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
        hidden = config.intonation[1]
        self.intonation = IntonationDecoder(d, hidden, config.latent) if hidden else None
        nn.init.normal_(self.leave.weight, std=0.02)
        nn.init.zeros_(self.leave.bias)

    def hidden(self, latents: Tensor, lost: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """What the parameters are read from, (batch, 8 n, channels), and the pitch's octaves.

        `lost` is (batch, n, 1): 1 where a frame did not arrive and 0 elsewhere.
        """
        context.rewind()
        h = self.enter(latents) * (1 - lost) + self.lost * lost
        frames = self.stage4(h, context)
        h = self.stage3(self.split3(frames), context)
        h = self.stage2(self.split2(h), context)
        hidden: Tensor = self.norm(self.stage1(self.split1(h), context))
        with torch.autocast(h.device.type, enabled=False):
            octaves: Tensor = self.pitch(hidden.float()).squeeze(-1)
        if self.intonation is not None:
            # Read from the latents of a frame that came, guessed for one that did not.
            octaves = octaves * lost.repeat_interleave(STEPS_PER_FRAME, dim=1).squeeze(-1)
            octaves = octaves + self.intonation(latents, frames, 1 - lost)
        return hidden, octaves

    def forward(self, latents: Tensor, lost: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        hidden, octaves = self.hidden(latents, lost, context)
        return self.leave(hidden), octaves


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
