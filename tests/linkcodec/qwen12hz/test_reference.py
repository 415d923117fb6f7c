"""Streaming against what the reference makes of whole signals, in tiny shapes.

The vectors come from scripts/make_reference_vectors.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from qwencheckpoints import VECTORS, decoded, encoded, noise, tokens, write_mimi, write_qwen
from referencechecks import (
    Vectors,
    check_batch,
    check_books,
    check_decoder,
    check_encoder,
    read_vectors,
)

from linkcodec.mimi import NeuralCodec, load_mimi
from linkcodec.mimi.config import FRAME_SIZE
from linkcodec.qwen12hz import load_qwen12hz

NAMES = ("qwen", "mimi")


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NeuralCodec]:
    folder = tmp_path_factory.mktemp("weights")
    qwen, mimi = write_qwen(folder / "qwen"), write_mimi(folder / "mimi")
    return {
        "qwen": load_qwen12hz(weights=qwen, precision="fp32"),
        "mimi": load_mimi(weights=mimi, precision="fp32"),
    }


def vectors(name: str) -> Vectors:
    return read_vectors(VECTORS / f"{name}-tiny.npz")


def whole_window(name: str) -> int:
    """Frames of which the encoder can be compared: the pinned reference attends to the whole
    past, ours to its window."""
    return 24 if name == "mimi" else 4


@pytest.mark.parametrize("step", [1, 3, 4, 25])
@pytest.mark.parametrize("name", NAMES)
def test_decoder_equals_the_reference(codecs: dict[str, NeuralCodec], name: str, step: int) -> None:
    check_decoder(codecs[name], vectors(name), step=step)


@pytest.mark.parametrize(("name", "books"), [("qwen", 1), ("qwen", 4), ("qwen", 8), ("mimi", 8)])
def test_decoder_sums_the_books_it_gets(
    codecs: dict[str, NeuralCodec], name: str, books: int
) -> None:
    check_books(codecs[name], vectors(name), books=books)


@pytest.mark.parametrize("step", [1, 3, 4, 24])
@pytest.mark.parametrize("name", NAMES)
def test_encoder_equals_the_reference(codecs: dict[str, NeuralCodec], name: str, step: int) -> None:
    frames = whole_window(name)
    check_encoder(codecs[name], vectors(name), step=step, frames=frames)
    assert len(set(vectors(name)["encoded"][0, :frames].tolist())) > 2


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_equals_the_reference(codecs: dict[str, NeuralCodec], name: str, step: int) -> None:
    check_batch(codecs[name], vectors(name), step=step, frames=whole_window(name))


@pytest.mark.parametrize("name", NAMES)
def test_fewer_books_are_the_first_of_all(codecs: dict[str, NeuralCodec], name: str) -> None:
    pcm = noise()[:, : 6 * FRAME_SIZE]
    everything = encoded(codecs[name], pcm, step=2)
    for books in (1, 5):
        assert torch.equal(
            encoded(codecs[name], pcm, step=2, quantizers=books), everything[:, :books]
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_which_two_streams_start_again(
    codecs: dict[str, NeuralCodec], name: str
) -> None:
    codec, frames, half = codecs[name], 24, 11
    random = np.random.RandomState(9)
    indices = torch.from_numpy(random.randint(0, 64, (4, 16, frames)))
    pcm = torch.from_numpy(
        0.1 * random.standard_normal((4, frames * FRAME_SIZE)).astype(np.float32)
    )
    state, coder = codec.decoder_network.state(4), codec.encoder_network.state(4)
    samples, codes = [], []
    for frame in range(frames):
        if frame == half:
            state.reset([1, 3])
            coder.reset([1, 3])
        samples.append(codec.decoder_network(indices[:, :, frame : frame + 1], state))
        block = pcm[:, frame * FRAME_SIZE : (frame + 1) * FRAME_SIZE]
        codes.append(codec.encoder_network(block, coder, quantizers=16))
    together, all_codes = torch.cat(samples, dim=1), torch.cat(codes, dim=2)
    for stream in range(4):
        begin = half if stream in (1, 3) else 0
        alone = decoded(codec, indices[stream : stream + 1, :, begin:], step=1)
        assert (together[stream, begin * FRAME_SIZE :] - alone[0]).abs().max() < 1e-5
        alone = encoded(codec, pcm[stream : stream + 1, begin * FRAME_SIZE :], step=1)
        assert (all_codes[stream, :, begin:] == alone[0]).float().mean() >= 0.995


@pytest.mark.parametrize("name", NAMES)
def test_snapshots_go_back(codecs: dict[str, NeuralCodec], name: str) -> None:
    codec, indices = codecs[name], tokens()
    state = codec.decoder_network.state()
    for frame in range(8):
        codec.decoder_network(indices[:, :, frame : frame + 1], state)
    saved = state.copy()
    first = [codec.decoder_network(indices[:, :, f : f + 1], state) for f in range(8, 20)]
    state.restore(saved)
    second = [codec.decoder_network(indices[:, :, f : f + 1], state) for f in range(8, 20)]
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    with pytest.raises(ValueError, match="snapshot"):
        codec.decoder_network.state(2).restore(saved)


@pytest.mark.parametrize(("precision", "least_snr"), [("bf16", 20.0), ("int8", 20.0)])
def test_smaller_numbers_sound_alike(
    codecs: dict[str, NeuralCodec], tmp_path: Path, precision: str, least_snr: float
) -> None:
    small = load_qwen12hz(weights=write_qwen(tmp_path / "qwen"), precision=precision)
    exact = decoded(codecs["qwen"], tokens(), step=2)
    error = decoded(small, tokens(), step=2) - exact
    assert 10 * torch.log10(exact.square().mean() / error.square().mean()) > least_snr
