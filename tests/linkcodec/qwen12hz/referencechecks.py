"""What must hold against the reference's vectors, for the tiny and for the real shape."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from qwencheckpoints import decoded, encoded, noise, tokens
from torch import Tensor

from linkcodec.mimi import NeuralCodec
from linkcodec.mimi.config import FRAME_SIZE

LARGEST_ERROR = 1e-4
LEAST_EQUAL = 0.995

Vectors = dict[str, Any]

_LOG = logging.getLogger(__name__)


def read_vectors(path: Path) -> Vectors:
    """The arrays of a file of scripts/make_reference_vectors.py."""
    with np.load(path) as file:
        return dict(file)


def _tokens(codec: NeuralCodec, vectors: Vectors) -> Tensor:
    seconds = len(vectors["decoded16"]) // 24_000
    return tokens(seconds, entries=codec.info.codebook_size)


def _noise(vectors: Vectors) -> Tensor:
    return noise(vectors["encoded"].shape[1] * FRAME_SIZE // 24_000)


def check_decoder(codec: NeuralCodec, vectors: Vectors, *, step: int) -> None:
    """Frame by frame as in one pass over the whole."""
    expected = torch.from_numpy(vectors["decoded16"])
    pcm = decoded(codec, _tokens(codec, vectors), step=step)[0]
    assert pcm.shape == expected.shape
    assert expected.std() > 0.01
    error = float((pcm - expected).abs().max())
    _LOG.info("%s decoder, steps of %d: largest error %.1e", codec.info.name, step, error)
    assert error < LARGEST_ERROR


def check_books(codec: NeuralCodec, vectors: Vectors, *, books: int) -> None:
    """The first `books` alone are the reference fed with the sum of their layers."""
    expected = torch.from_numpy(vectors[f"decoded{books}"])[: 50 * FRAME_SIZE]
    frames = expected.shape[0] // FRAME_SIZE
    few = _tokens(codec, vectors)[:, :books, :frames]
    pcm = decoded(codec, few, step=1)[0]
    error = float((pcm - expected).abs().max())
    _LOG.info("%s decoder, %d books: largest error %.1e", codec.info.name, books, error)
    assert error < LARGEST_ERROR
    absent = torch.full((1, 16 - books, frames), -1)
    assert torch.equal(decoded(codec, torch.cat((few, absent), dim=1), step=1)[0], pcm)


def check_encoder(
    codec: NeuralCodec, vectors: Vectors, *, step: int, frames: int | None = None
) -> None:
    """Frame by frame as in one pass over the whole; `frames`: of the first ones only."""
    expected = torch.from_numpy(vectors["encoded"])[:, :frames]
    count = expected.shape[1]
    indices = encoded(codec, _noise(vectors)[:, : count * FRAME_SIZE], step=step)[0]
    assert len(set(map(tuple, expected.T.tolist()))) > count // 2
    share = float((indices == expected).float().mean())
    _LOG.info("%s encoder, steps of %d: %.2f %% equal", codec.info.name, step, 100 * share)
    assert share >= LEAST_EQUAL


def check_batch(
    codec: NeuralCodec, vectors: Vectors, *, step: int, frames: int | None = None
) -> None:
    """Four streams, of which two hear something else until they start again half way.

    `frames`: as for `check_encoder`.
    """
    expected = torch.from_numpy(vectors["decoded16"])
    right = _tokens(codec, vectors)
    half = right.shape[2] // 2
    wrong = right.roll(1, dims=1)
    late = torch.cat((wrong[:, :, :half], right[:, :, : right.shape[2] - half]), dim=2)
    state = codec.decoder_network.state(4)
    streams = torch.cat((right, late, right, late))
    first = decoded(codec, streams[:, :, :half], step=step, state=state)
    state.reset([1, 3])
    together = torch.cat(
        (first, decoded(codec, streams[:, :, half:], step=step, state=state)), dim=1
    )
    for stream in range(4):
        heard = together[stream, half * FRAME_SIZE * (stream % 2) :]
        error = float((heard - expected[: len(heard)]).abs().max())
        _LOG.info("%s decoder, batch, %d: largest error %.1e", codec.info.name, stream, error)
        assert error < LARGEST_ERROR

    codes = torch.from_numpy(vectors["encoded"])[:, :frames]
    count = codes.shape[1]
    half = count // 2
    pcm = _noise(vectors)[:, : count * FRAME_SIZE]
    split = half * FRAME_SIZE
    late = torch.cat((pcm[:, -split:], pcm[:, : pcm.shape[1] - split]), dim=1)
    coder = codec.encoder_network.state(4)
    blocks = torch.cat((pcm, late, pcm, late))
    first = encoded(codec, blocks[:, :split], step=step, state=coder)
    coder.reset([1, 3])
    rest = encoded(codec, blocks[:, split:], step=step, state=coder)
    found = torch.cat((first, rest), dim=2)
    for stream in range(4):
        begin = half * (stream % 2)
        share = float((found[stream, :, begin:] == codes[:, : count - begin]).float().mean())
        _LOG.info("%s encoder, batch, %d: %.2f %% equal", codec.info.name, stream, 100 * share)
        assert share >= LEAST_EQUAL
