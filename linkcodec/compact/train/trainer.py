"""The training loop of the compact codec; a run lives in a folder and can be resumed.

Stages, each a run of its own:

- spectral: everything is learned from spectral losses; in the first `unquantized` steps noise
  stands for the quantizer, then the books start from k-means. A recogniser's ear may listen
  too;
- adversarial (`adversarial` above 0): starts from the first run's weights and also learns from
  discriminators; with `frozen_encoder` only the decoder learns.

The learning rate rises, stays and, over the last `cooldown` share of the planned steps,
falls to nothing: a run is prolonged from the checkpoint before its cooldown (Hu et al. 2024).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from linkcodec.compact.layers import Context
from linkcodec.compact.model import CompactModel, ModelConfig
from linkcodec.compact.shape import DELAY, FRAME_SIZE, PITCH_CENTRE
from linkcodec.compact.synthesis import SynthesisState
from linkcodec.compact.train.batches import Corpus, fill_pitch
from linkcodec.compact.train.codebooks import CodebookTrainer
from linkcodec.compact.train.discriminators import Discriminators
from linkcodec.compact.train.evaluate import Evaluation
from linkcodec.compact.train.listener import Listener
from linkcodec.compact.train.losses import EnvelopeLoss, Guide, SpectralLoss
from linkcodec.compact.train.speaker import Speaker
from linkcodec.compact.weights import load_weights
from linkcodec.exceptions import InputError
from linkcodec.frame import INDEX_BITS

LISTENER_LAYERS = 4

SAVE_STEPS = 250

FINE_PITCH = 0.01
"""Octaves, 12 cents: below such an error of pitch the tuning loss is linear, above it grows with
the logarithm, so that steps with a good pitch get a better one."""

BUFFERED_STEPS = 100
"""Steps whose latents are kept for the k-means start."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a run; they are stored with it."""

    steps: int = 20000
    items: int = 16
    frames: int = 20
    rate: float = 8e-4
    warmup: int = 200
    cooldown: float = 0.25
    unquantized: int = 2000
    tracked: int = 0
    power: float = 1.0
    fresh_latents: bool = False
    frozen_encoder: bool = False
    average: float = 0.998
    lost_items: float = 0.35
    lost_share: float = 0.12
    lost_spectral: float = 1.0
    lost_judged: float = 1.0
    spectral: float = 1.0
    envelope: float = 1.0
    guide: float = 1.0
    tuning: float = 0.1
    listener: float = 0.0
    listener_items: int = 6
    speaker: float = 0.0
    adversarial: float = 0.0
    matching: float = 0.0
    discriminator_rate: float = 4e-4
    judged_frames: int = 13
    seed: int = 1
    threads: int = 2
    device: str = "cpu"


def rate_factor(step: int, config: TrainConfig) -> float:
    """Learning rate against its peak."""
    falling = config.steps * config.cooldown
    rise = min(1.0, (step + 1) / config.warmup)
    left = (config.steps - step) / max(1.0, falling)
    return rise * min(1.0, max(0.01, 1.0 - math.sqrt(max(0.0, 1.0 - left))))


def add_quantization_noise(latents: Tensor, used: Tensor) -> Tensor:
    """Latents of unit power as `used[i]` books would leave them, with noise in their place.

    A Gaussian source at 11 bits a book over all channels is left with noise of power
    1 / (2^(2 bits per channel) - 1) against the signal (Cover and Thomas, chapter 10). Where
    quantisation starts without this stage, directions of small variance fall below its
    error, get no gradient and never come back: the latents collapse to a few dimensions.
    """
    bits = INDEX_BITS * used.float()[:, None, None] / latents.shape[-1]
    power = 1.0 / (torch.exp2(2.0 * bits) - 1.0)
    return (latents + power.sqrt() * torch.randn_like(latents)) / (1.0 + power)


def weigh(x: Tensor, lost: Tensor, weight: float) -> Tensor:
    """`x` (items, frames times n, ...), whose gradient counts `weight` times in lost frames.

    What was lost cannot be known: spectral losses teach its mean, which is muffled, the
    discriminators one that sounds like speech. `lost` (items, frames, 1).
    """
    if weight == 1.0:
        return x
    share = 1.0 + (weight - 1.0) * lost[..., 0]
    share = share.repeat_interleave(x.shape[1] // lost.shape[1], dim=1)
    share = share.reshape(*x.shape[:2], *(1,) * (x.dim() - 2)).to(x.dtype)
    return x.detach() + (x - x.detach()) * share


def _pitch_loss(octaves: Tensor, pitch: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
    """Mean error in octaves, and its tuning loss; all (items, steps), `pitch` in Hz."""
    error = (octaves - torch.log2(pitch / PITCH_CENTRE)).abs()
    weight = 0.02 + voiced
    weight = weight / weight.sum()
    return (error * weight).sum(), (torch.log1p(error / FINE_PITCH) * weight).sum()


class Run:
    """A training run in `folder`: checkpoint.pt, log.jsonl, config.json."""

    def __init__(
        self,
        *,
        folder: Path,
        corpus: Path,
        config: TrainConfig,
        sizes: ModelConfig | None = None,
        recogniser: Path | None = None,
        speaker: Path | None = None,
        start: Path | None = None,
        evaluation: Path | None = None,
    ) -> None:
        """`start` is the run or weights file a new run begins with; `recogniser` and
        `speaker` the files of the listener and of the speaker's loss, needed where their weights
        are not 0; `evaluation` a folder of clips to measure with at every checkpoint."""
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.folder = folder
        self.config = config
        sizes = sizes or ModelConfig()
        self.device = torch.device(config.device)
        self.model = CompactModel(sizes).to(self.device)
        self.books = CodebookTrainer(self.model.quantizer).to(self.device)
        self.guide = Guide(self.model.config.decoder[0]).to(self.device)
        self.discriminators = Discriminators().to(self.device)
        if start:
            self._begin(start)
        if config.fresh_latents:
            self.model.encoder.leave.reset_parameters()
            self.model.trunk.enter.reset_parameters()
        self.average = CompactModel(sizes).to(self.device)
        self.average.load_state_dict(self.model.state_dict())
        self.loss = SpectralLoss().to(self.device)
        self.envelope = EnvelopeLoss().to(self.device)
        self.listener: Listener | None = None
        if config.listener:
            if recogniser is None:
                raise InputError("the listener's loss needs its weights: give --recogniser FILE")
            self.listener = Listener(recogniser, layers=LISTENER_LAYERS).to(self.device)
        self.speaker: Speaker | None = None
        if config.speaker:
            if speaker is None:
                raise InputError("the speaker's loss needs its weights: give --speaker-file FILE")
            self.speaker = Speaker(speaker).to(self.device)
        self.adversarial = bool(config.adversarial)
        taught = self.model.trunk if config.frozen_encoder else self.model
        self._trackers = self.model.encoder.trackers()
        self._learned = [*taught.parameters(), *self.guide.parameters()]
        self.optimizer = torch.optim.AdamW(
            self._learned, lr=config.rate, betas=(0.8, 0.98), weight_decay=0.01
        )
        self.discriminator_optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), lr=config.discriminator_rate, betas=(0.8, 0.98)
        )
        self.step = 0
        self.seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            self._restore()
        (folder / "config.json").write_text(json.dumps(asdict(config), indent=1))
        self.corpus = Corpus(corpus, frames=config.frames, seed=config.seed + self.step)
        self._latents: list[Tensor] = []
        self._evaluation = Evaluation(evaluation) if evaluation else None

    def _parts(self) -> list[str]:
        parts = ["model", "average", "books", "guide", "optimizer"]
        if self.adversarial:
            parts += ["discriminators", "discriminator_optimizer"]
        return parts

    def _begin(self, start: Path) -> None:
        """Begin with the averaged weights of a run's folder and what it learned by, or with a
        released weights file."""
        if start.suffix == ".npz":
            self._adopt(load_weights(start).model.state_dict(), start)
            self.books.sums.copy_(self.model.quantizer.vectors)
            return
        path = start / "checkpoint.pt"
        if not path.exists():
            raise InputError(f"{path}: no such checkpoint to start from")
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
        self._adopt(saved["average"], path)
        self.books.load_state_dict(saved["books"])
        if "guide" in saved:
            self.guide.load_state_dict(saved["guide"])
        if "discriminators" in saved:
            self.discriminators.load_state_dict(saved["discriminators"])

    def _adopt(self, state: dict[str, Tensor], path: Path) -> None:
        try:
            self.model.load_state_dict(state)
        except RuntimeError as error:
            raise InputError(
                f"{path}: weights of another network: give what the command reshape makes of them"
            ) from error

    def _restore(self) -> None:
        path = self.folder / "checkpoint.pt"
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.device)
        try:
            for name in self._parts():
                getattr(self, name).load_state_dict(saved[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{path}: made for another model ({error}); give another folder"
            ) from error
        self.step, self.seconds = saved["step"], saved["seconds"]

    def save(self) -> None:
        """Write the checkpoint; a reader never sees half of it."""
        parts: dict[str, Any] = {name: getattr(self, name).state_dict() for name in self._parts()}
        parts["step"], parts["seconds"] = self.step, self.seconds
        temporary = self.folder / "checkpoint.tmp"
        torch.save(parts, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    def _used_books(self, items: int) -> Tensor:
        """Books per item: mostly the eight of 1100 bit/s, sometimes all, sometimes any."""
        books = self.model.config.books
        used = torch.randint(1, books + 1, (items,))
        kind = torch.rand(items)
        used[kind < 0.6] = books
        used[kind < 0.4] = 8
        return used.to(self.device)

    def _lost(self, items: int, frames: int) -> Tensor:
        """A mask of frames that do not arrive, in bursts of one to three: (items, frames, 1)."""
        starts = torch.rand(items, frames) < self.config.lost_share / 1.5
        second = torch.roll(starts, 1, dims=1) & (torch.rand(items, frames) < 0.4)
        third = torch.roll(second, 1, dims=1) & (torch.rand(items, frames) < 0.4)
        hit = (torch.rand(items, 1) < self.config.lost_items) & (starts | second | third)
        hit[:, 0] = False
        return hit.float()[..., None].to(self.device)

    def _latent_stage(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        used = self._used_books(len(latents))
        # The noise stands against latents of unit power.
        power = (latents.square().mean() - self.config.power).square()
        if self.step < config.unquantized:
            self._remember(latents)
            return add_quantization_noise(latents, used), power
        if self._latents:
            self.books.start(self.model.quantizer, torch.cat(self._latents))
            self._latents = []
        passed, commitment = self.books(
            self.model.quantizer, latents, used, learn=not self.config.frozen_encoder
        )
        return passed, commitment + power

    def _remember(self, latents: Tensor) -> None:
        """Keep latents for the books' start."""
        self._latents.append(latents.detach().reshape(-1, latents.shape[-1]))
        self._latents = self._latents[-BUFFERED_STEPS:]

    def _pass(self) -> dict[str, float]:
        config = self.config
        batch = next(self._batches)
        heard, meant = batch.heard.to(self.device), batch.meant.to(self.device)
        pitch = fill_pitch(batch.pitch).to(self.device)
        voiced = (batch.pitch > 0).float().to(self.device)
        with (
            torch.autocast(self.device.type, dtype=torch.bfloat16),
            torch.set_grad_enabled(not config.frozen_encoder),
        ):
            latents, tracked = self.model.encoder.analyse(heard, Context())
        assert tracked is not None, "a network that is trained has the pitch's own way"
        losses = {"tracked": _pitch_loss(tracked.flatten(1), pitch, voiced)[1]}
        if self.step < config.tracked:
            self._remember(latents.float())
            return self._learn(losses, losses["tracked"], self._trackers)
        quantized, commitment = self._latent_stage(latents.float())
        lost = self._lost(config.items, config.frames)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            hidden, octaves = self.model.trunk.hidden(quantized, lost, Context())
            guide = self.guide(weigh(hidden, lost, config.lost_spectral), meant)
            parameters = self.model.trunk.leave(hidden)
        synthesizer = self.model.synthesizer
        state = SynthesisState.zero(config.items, self.device)
        state.phase = torch.rand(config.items, 1, dtype=torch.float64).to(self.device)
        voice, noise = synthesizer.excite(pitch, state)
        voice_filter, noise_gain = synthesizer.filters(parameters)
        output = synthesizer.join(voice * voice_filter + noise * noise_gain, state)
        envelope = self.envelope(
            voice,
            weigh(voice_filter, lost, config.lost_spectral),
            weigh(noise_gain, lost, config.lost_spectral),
            meant,
        )
        # The first steps lack the frames before them; they are not judged.
        spectral, judged, output = (
            weigh(output, lost, weight)[:, DELAY:]
            for weight in (config.lost_spectral, config.lost_judged, 1.0)
        )
        target = meant[:, DELAY:]
        losses["pitch"], losses["tuning"] = _pitch_loss(octaves, pitch, voiced)
        losses |= {
            "spectral": self.loss(spectral, target),
            "envelope": envelope,
            "guide": guide,
            "commitment": commitment,
        }
        if self.listener:
            few = config.listener_items
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                losses["listener"] = self.listener.distance(output[:few], target[:few])
        if self.speaker:
            few = config.listener_items
            losses["speaker"] = self.speaker.distance(output[:few], target[:few])
        if self.adversarial:
            losses |= self._judge(judged, target)
        shares = {
            "spectral": config.spectral,
            "envelope": config.envelope,
            "guide": config.guide,
            "pitch": 1.5,
            "tuning": config.tuning,
            "tracked": config.tuning,
            "commitment": 0.25,
            "listener": config.listener,
            "speaker": config.speaker,
            "adversarial": config.adversarial,
            "matching": config.matching,
        }
        loss = torch.stack([losses[name] * shares[name] for name in losses if name in shares]).sum()
        if self.adversarial:
            self._set_discriminator_gradients(losses["taught"])
        return self._learn(losses, loss, self._learned)

    def _learn(
        self, losses: dict[str, Tensor], loss: Tensor, learned: list[nn.Parameter]
    ) -> dict[str, float]:
        """One step down the gradient of `loss`; the numbers to show."""
        self.optimizer.zero_grad()
        # Not into the discriminators, whose weights carry the generator's losses only.
        loss.backward(inputs=learned)  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(learned, 1.0)
        if torch.isfinite(norm):
            self.optimizer.step()
            if self.adversarial:
                self.discriminator_optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()} | {
            "gradient": float(norm)
        }

    def _judge(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Losses by the discriminators; the last frames are judged, whose context is complete."""
        judged = self.config.judged_frames * FRAME_SIZE
        verdict = self.discriminators.judge(output[:, -judged:], target[:, -judged:])
        return {
            "adversarial": verdict.adversarial,
            "matching": verdict.matching,
            "taught": verdict.taught,
        }

    def _set_discriminator_gradients(self, taught: Tensor) -> None:
        """From the pass that the generator's losses come from too."""
        weights = list(self.discriminators.parameters())
        gradients = torch.autograd.grad(taught, weights, retain_graph=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient

    @torch.no_grad()
    def _follow(self) -> None:
        share = min(self.config.average, (self.step + 1) / (self.step + 10))
        for slow, fast in zip(self.average.parameters(), self.model.parameters(), strict=True):
            slow.lerp_(fast, 1 - share)
        self.average.quantizer.vectors.copy_(self.model.quantizer.vectors)

    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the end; after every 50 steps yields the means of what was measured."""
        self._batches = self.corpus.batches(self.config.items)
        means: dict[str, float] = {}
        begun, counted = time.monotonic(), 0
        before = self.seconds
        while self.step < self.config.steps:
            factor = rate_factor(self.step, self.config)
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.rate * factor
            for group in self.discriminator_optimizer.param_groups:
                group["lr"] = self.config.discriminator_rate * factor
            for name, value in self._pass().items():
                means[name] = means.get(name, 0.0) + value
            self._follow()
            self.step += 1
            counted += 1
            self.seconds = before + time.monotonic() - begun
            if self.step % SAVE_STEPS == 0 and self.resumable:
                self.save()
            if counted == 50 or self.step == self.config.steps:
                record = {name: value / counted for name, value in means.items()}
                record |= {
                    "step": self.step,
                    "seconds": round(self.seconds, 1),
                    "hours": round(self.heard_hours, 2),
                }
                last = self.step == self.config.steps
                if self._evaluation and (self.step % SAVE_STEPS == 0 or last):
                    record |= self._evaluation.measure(self.average)
                with open(self.folder / "log.jsonl", "a") as log:
                    log.write(json.dumps(record) + "\n")
                yield record
                means, counted = {}, 0
        self.save()

    @property
    def resumable(self) -> bool:
        """A run that resumes must still be able to gather the latents that k-means needs."""
        left = max(self.config.unquantized, self.config.tracked) - self.step
        return left < 0 or left >= BUFFERED_STEPS

    @property
    def heard_hours(self) -> float:
        """Hours of speech seen so far."""
        return self.step * self.config.items * self.config.frames * FRAME_SIZE / 16000 / 3600
