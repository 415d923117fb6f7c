"""Whether two checkpoints share encoder and codebooks, so that tokens can be exchanged."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from linkcodec.exceptions import CodecError
from linkcodec.mimi.checkpoint import Checkpoint, open_checkpoint
from linkcodec.mimi.config import MimiConfig
from linkcodec.mimi.encoder import read_codebooks

__all__ = ["compare_codebooks"]

_SAME = 1e-5
_ENCODER_PARTS = ("encoder.", "encoder_transformer.", "downsample.")


def compare_codebooks(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> list[str]:
    """Lines that say what two checkpoints share; each is Mimi's or Qwen's.

    Differences are relative: the root of the mean square against that of the first.

    Raises:
        CodecError: a checkpoint is missing or of another kind.
    """
    ours, theirs = (_read(open_checkpoint(weights)) for weights in (first, second))
    lines = []
    encoder = [_distance(ours[0].get(name), theirs[0].get(name)) for name in {*ours[0], *theirs[0]}]
    lines.append(_line("encoder", encoder))
    common = min(len(ours[1]), len(theirs[1]))
    books = [_distance(mine, other) for mine, other in zip(ours[1], theirs[1], strict=False)]
    equal = sum(distance <= _SAME for distance in books)
    lines.append(_line(f"codebooks: {equal} of {common} equal;", books))
    same_tokens = max(encoder) <= _SAME and equal > 0
    same_books = next((n for n, distance in enumerate(books) if distance > _SAME), common)
    if same_books == common:
        verdict = f"all {common} codebooks are the same"
    else:
        verdict = f"the first {same_books} codebooks are the same"
    if same_tokens and same_books:
        lines.append(f"The encoders are one, {verdict}: the other can decode these tokens.")
    elif same_books:
        lines.append(f"{verdict.capitalize()}, the encoders differ: tokens can be tried, listen.")
    else:
        lines.append("Tokens of one mean nothing to the other: do not exchange them.")
    return lines


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The encoder's tensors by name, and all books with their input projection before them."""
    kind = checkpoint.config.get("model_type")
    if kind not in {"mimi", "qwen3_tts_tokenizer_12hz"}:
        raise CodecError(f"{checkpoint.folder}: model_type {kind!r} has no codebooks to compare")
    is_mimi = kind == "mimi"
    fields = checkpoint.config if is_mimi else checkpoint.config.get("encoder_config", {})
    config = MimiConfig.parse(fields, source=str(checkpoint.folder))
    tensors = checkpoint.tensors()
    part = tensors if is_mimi else tensors.below("encoder")
    projections, books = read_codebooks(config, part.below("quantizer"))
    # What a book does to a latent: its entries seen through the way into the quantiser.
    seen = [
        book @ projection
        for projection, chain in zip(projections, books, strict=True)
        for book in chain
    ]
    return part.named(_ENCODER_PARTS), seen


def _distance(first: Tensor | None, second: Tensor | None) -> float:
    if first is None or second is None or first.shape != second.shape:
        return float("inf")
    scale = first.float().square().mean().sqrt().clamp(min=1e-12)
    return float(torch.sqrt((first.float() - second.float()).square().mean()) / scale)


def _line(what: str, distances: list[float]) -> str:
    largest = max(distances)
    state = "the same" if largest <= _SAME else "different"
    return f"{what} {state}, largest relative difference {largest:.2g}"
