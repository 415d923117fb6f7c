"""Latents weighed by what they do to the speech, so that the books err where it is heard least.

A quantizer leaves the same error in every direction of the latents it is given. How much an
error in a direction changes the decoder's output is the quadratic form H, the mean of J'J over
frames, J being the derivative of the output (log Mel bands of the expected magnitudes, and the
pitch) by the latents. Turned by the square root of H, all directions matter alike. J'J is
estimated from gradients along random directions of the output (Hutchinson 1989).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from linkcodec.compact.layers import Context
from linkcodec.compact.model import CompactModel, ModelConfig
from linkcodec.compact.synthesis import SynthesisState
from linkcodec.compact.train.batches import Batch, Corpus, fill_pitch
from linkcodec.compact.train.codebooks import CodebookTrainer
from linkcodec.compact.train.losses import EnvelopeLoss
from linkcodec.exceptions import InputError

PITCH_WEIGHT = 24.0
"""What an octave of pitch counts against a neper of one Mel band: 15 cents in all of a frame's
steps are as bad as 0.04 nepers in all of its bands. More of it sounds closer to the original and
takes words (docs/training.md)."""

ERROR = 0.15
"""Of the latents, at which the derivative is taken: about what eight books leave."""

_SENSED = 40
"""Batches from which the sensitivity is taken."""

_PROBES = 3
_EDGE = 2
_LEAST = 0.02
"""Of the mean sensitivity: what directions without any are given, so that they stay."""


def sensitivity(model: CompactModel, batches: Iterator[Batch], *, count: int) -> Tensor:
    """H from `count` batches: (latent, latent)."""
    envelope = EnvelopeLoss()
    size = model.config.latent
    total, frames = torch.zeros(size, size), 0
    for _ in range(count):
        batch = next(batches)
        with torch.no_grad():
            latents = model.encoder(batch.heard, Context())
            pitch, voiced = fill_pitch(batch.pitch), (batch.pitch > 0).float()
            state = SynthesisState.zero(len(latents))
            voice, _ = model.synthesizer.excite(pitch, state)
        latents = (latents + ERROR * torch.randn_like(latents)).requires_grad_()
        hidden, octaves = model.trunk.hidden(latents, torch.zeros_like(latents[..., :1]), Context())
        filters = model.synthesizer.filters(model.trunk.leave(hidden))
        bands = envelope.bands(voice, *filters)
        for _ in range(_PROBES):
            along = (bands * torch.randn_like(bands)).sum()
            along = along + PITCH_WEIGHT * (octaves * torch.randn_like(octaves) * voiced).sum()
            (gradient,) = torch.autograd.grad(along, latents, retain_graph=True)
            rows = gradient[:, _EDGE:-_EDGE].reshape(-1, size)
            total += rows.t() @ rows
            frames += len(rows)
    return total / frames


@torch.no_grad()
def turn(model: CompactModel, matrix: Tensor, *, share: float) -> None:
    """Turn the latents by the square root of `matrix` ** `share`, (latent, latent); the network
    does what it did, except for its books, which have to be made anew."""
    values, directions = torch.linalg.eigh(matrix)
    values = values.clamp(min=_LEAST * float(values.mean()))
    roots = (values / values.mean()) ** (share / 2)
    there = directions @ torch.diag(roots) @ directions.t()
    back = directions @ torch.diag(1 / roots) @ directions.t()
    encoder, trunk = model.encoder, model.trunk
    writers, readers = [encoder.leave], [trunk.enter]
    if encoder.intonation is not None and trunk.intonation is not None:
        writers.append(encoder.intonation.leave)
        readers.append(trunk.intonation.read)
        mixed = trunk.intonation.mix.weight[:, -len(matrix) :]
        mixed.copy_(mixed @ back)
    for writer in writers:
        writer.weight.copy_(there @ writer.weight)
        writer.bias.copy_(there @ writer.bias)
    for reader in readers:
        reader.weight.copy_(reader.weight @ back)


def remake_books(
    *,
    source: Path,
    folder: Path,
    corpus: Path,
    share: float,
    batches: int,
    threads: int = 1,
    sizes: ModelConfig | None = None,
    items: int = 16,
    frames: int = 20,
    seed: int = 1,
) -> Iterator[str]:
    """Turn the latents of the run in `source` and make its books anew, from `batches` of
    `items` pieces of `frames`; writes a checkpoint that can be exported or trained on into
    `folder`, and yields lines that tell how far it is."""
    path = source / "checkpoint.pt"
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint; train first")
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    saved = torch.load(path, weights_only=True, map_location="cpu")
    model = CompactModel(sizes or ModelConfig())
    model.load_state_dict(saved["average"])
    model.eval()
    pieces = Corpus(corpus, frames=frames, seed=seed).batches(items)
    yield f"sensitivity of the latents, {_SENSED} batches ..."
    turn(model, sensitivity(model, pieces, count=_SENSED), share=share)
    heard: list[Tensor] = []
    for number in range(1, batches + 1):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            latents = model.encoder(next(pieces).heard, Context()).float()
        # The first frame of a piece lacks its past.
        heard.append(latents[:, 1:].reshape(-1, latents.shape[-1]))
        if number % 100 == 0 or number == batches:
            yield f"latents: {number} of {batches} batches"
    residual = torch.cat(heard)
    books = CodebookTrainer(model.quantizer)
    for book in range(model.config.books):
        residual = books.start_book(model.quantizer, book, residual, rounds=8)
        left = float(residual.square().mean())
        yield f"book {book + 1} of {model.config.books} leaves an error of {left:.4f}"
    saved |= {"average": model.state_dict(), "books": books.state_dict()}
    kept = ("average", "books", "guide", "discriminators", "step")
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({name: saved[name] for name in kept if name in saved}, folder / "checkpoint.pt")
