"""Whole recordings to tokens and back: what `Codec.encode` and `Codec.decode` do.

Tokens are an array of shape (K, frames): K codebook indices for each 80 ms. Files are read
block by block, so that only the tokens grow with their length.
"""

from __future__ import annotations

import http.client
import os
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from linkcodec.exceptions import AudioFileError, InputError, TokenFileError
from linkcodec.frame import Frame
from linkcodec.tokenfile import TokenFile
from linkcodec.tokenfile import load_tokens as load_token_file
from linkcodec.tokenfile import save_tokens as save_token_file

if TYPE_CHECKING:
    from linkcodec.codec import Codec, Pcm

__all__ = ["Recording", "Tokens", "decode", "encode", "load_tokens", "save_tokens"]

Tokens = npt.NDArray[np.int64]
Recording = str | os.PathLike[str] | bytes | npt.NDArray[Any]

_BLOCK_SAMPLES: Final = 96_000
_URL_BEGINNINGS: Final = ("http://", "https://")
_URL_SECONDS: Final = 30.0
_PIECE_BYTES: Final = 1 << 18

MAX_URL_BYTES: Final = 2_000_000_000
"""The most that is fetched from an address, to a temporary file."""


def encode(
    codec: Codec, recording: Recording, *, sample_rate: int | None, num_quantizers: int | None
) -> Tokens:
    """One recording to tokens (K, frames); see `Codec.encode`."""
    quantizers = codec.check_quantizers(num_quantizers)
    blocks = _blocks(recording, sample_rate, codec.info.sample_rate)
    frames = codec.encode_blocks(blocks, quantizers=quantizers)
    return np.array([frame.indices for frame in frames], np.int64).T


def decode(codec: Codec, tokens: Any, *, target_sample_rate: int | None) -> Pcm:
    """Tokens (K, frames) to samples; see `Codec.decode`."""
    from linkcodec.audiofile import Resampler

    rate = codec.info.sample_rate
    resampler = Resampler(rate, target_sample_rate or rate)
    skip = codec.info.delay
    pieces = []
    for pcm in codec.decode_blocks(_checked(tokens)):
        pieces.append(resampler.push(pcm[min(skip, pcm.size) :]))
        skip -= min(skip, pcm.size)
    return np.concatenate([*pieces, resampler.flush()])


def _blocks(recording: Recording, sample_rate: int | None, wanted: int) -> Iterator[Pcm]:
    """Mono samples at the codec's rate, in blocks."""
    from linkcodec.audiofile import Resampler, stream_audio

    if isinstance(recording, np.ndarray):
        if sample_rate is None:
            raise InputError("an array of samples needs sample_rate=, its rate in Hz")
        pcm = recording if recording.ndim == 1 else recording.mean(axis=-1)
        resampler = Resampler(sample_rate, wanted)
        for start in range(0, pcm.size, _BLOCK_SAMPLES):
            yield resampler.push(pcm[start : start + _BLOCK_SAMPLES].astype(np.float32, copy=False))
        yield resampler.flush()
    elif isinstance(recording, bytes):
        with tempfile.NamedTemporaryFile() as file:
            file.write(recording)
            file.flush()
            yield from stream_audio(file.name, wanted, block=_BLOCK_SAMPLES)
    elif str(recording).startswith(_URL_BEGINNINGS):
        with tempfile.NamedTemporaryFile() as file:
            _fetch(str(recording), file)
            yield from stream_audio(file.name, wanted, block=_BLOCK_SAMPLES)
    else:
        yield from stream_audio(recording, wanted, block=_BLOCK_SAMPLES)


def _fetch(url: str, file: IO[bytes]) -> None:
    """What lies at an address, to a file on disk, however long it is up to the limit."""
    try:
        with urllib.request.urlopen(url, timeout=_URL_SECONDS) as answer:  # noqa: S310
            size = int(answer.headers.get("Content-Length", 0))
            piece = answer.read(_PIECE_BYTES)
            while piece:
                if max(size, file.tell() + len(piece)) > MAX_URL_BYTES:
                    raise AudioFileError(
                        f"{url}: is larger than {MAX_URL_BYTES / 1e9:g} GB: fetch it and give "
                        "the file, or a part of it"
                    )
                file.write(piece)
                piece = answer.read(_PIECE_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AudioFileError(f"{url}: cannot be fetched ({error})") from None
    if file.tell() < size:
        raise AudioFileError(
            f"{url}: the connection broke after {file.tell()} of {size} bytes: try again"
        )
    file.flush()


def _checked(tokens: Any) -> Tokens:
    if isinstance(tokens, TokenFile):
        return np.array([frame.indices for frame in tokens.frames], np.int64).T
    array = np.asarray(tokens)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"tokens are whole numbers of shape (codebooks, frames), not {array.dtype} of "
            f"shape {array.shape}"
        )
    return array.astype(np.int64)


def to_frames(tokens: Tokens) -> Iterable[Frame]:
    """The columns as frames.

    Raises:
        InputError: too many codebooks, or an index outside them.
    """
    try:
        return [Frame(tuple(column)) for column in tokens.T.tolist()]
    except ValueError as error:
        raise InputError(f"not tokens: {error}") from None


def save_tokens(
    path: str | os.PathLike[str], tokens: TokenFile | npt.ArrayLike, *, codec: Codec | None = None
) -> None:
    """Write tokens by the suffix: `.lkc`, `.npy` or `.pt` (an array of shape (K, frames)).

    A `.lkc` file says by which codec it was made: give a `TokenFile`, or an array and `codec`.

    Raises:
        TokenFileError: the file cannot be written, or the suffix or codec is missing.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind not in {".npy", ".pt"}:
        save_token_file(path, tokens if isinstance(tokens, TokenFile) else _named(tokens, codec))
        return
    array = _checked(tokens)
    try:
        if kind == ".npy":
            np.save(path, array, allow_pickle=False)
        else:
            import torch

            torch.save(torch.from_numpy(array), path)
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be written: {error.strerror}") from error


def load_tokens(path: str | os.PathLike[str]) -> TokenFile | Tokens:
    """Read tokens: a `TokenFile` from `.lkc`, an array (K, frames) from `.npy` and `.pt`.

    Raises:
        TokenFileError: the file is missing, damaged or of another kind.
    """
    kind = os.path.splitext(path)[1].lower()
    if kind not in {".npy", ".pt"}:
        return load_token_file(path)
    try:
        if kind == ".npy":
            return _checked(np.load(path, allow_pickle=False))
        import torch

        return _checked(torch.load(path, weights_only=True, map_location="cpu"))
    except FileNotFoundError:
        raise TokenFileError(f"{path}: cannot be read: no such file") from None
    # Both loaders raise whatever their parsers do on damaged bytes.
    except Exception as error:
        raise TokenFileError(f"{path}: no array of tokens ({type(error).__name__})") from None


def _named(tokens: npt.ArrayLike, codec: Codec | None) -> TokenFile:
    if codec is None:
        raise TokenFileError("a .lkc file names its codec: give codec=, or save as .npy or .pt")
    array = _checked(tokens)
    info = codec.info
    return TokenFile(
        codec=info.name,
        codec_version=info.version,
        weights_hash=info.weights_hash,
        sample_rate=info.sample_rate,
        frame_size=info.frame_size,
        quantizers=array.shape[0],
        samples=max(0, array.shape[1] * info.frame_size - info.delay),
        delay=info.delay,
        frames=tuple(to_frames(array)),
    )
