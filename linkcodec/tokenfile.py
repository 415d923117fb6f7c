"""Token files (`.lkc`, format 1): speech as codec frames, in a small container.

Of the container (`linkcodec.container`) the header has codec, codec_version, weights_hash,
sample_rate, frame_size, quantizers, frames (their number), samples (of the original) and delay;
the body is the frames, quantizers x 11 bits each, see `linkcodec.frame_bits`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from linkcodec.container import (
    CRC_BYTES,
    MAX_FILE_BYTES,
    PREFIX_BYTES,
    TOKEN_FORMAT,
    body_offset,
    check_magic,
    check_sum,
    read_file,
    serialise_head,
    unpack_header,
)
from linkcodec.exceptions import TokenFileError
from linkcodec.frame import Frame
from linkcodec.frame_bits import pack_frames, packed_size, unpack_frames

__all__ = ["TokenFile", "load_tokens", "parse_tokens", "save_tokens", "serialise_tokens"]

_FIELDS: Final = (
    *("codec", "weights_hash", "codec_version", "sample_rate", "frame_size"),
    *("quantizers", "frames", "samples", "delay"),
)


@dataclass(frozen=True, kw_only=True)
class TokenFile:
    """Speech as frames, with what is needed to decode it.

    `samples` is the length of the original at `sample_rate`; decoding gives `delay` samples
    more at the front. All frames have `quantizers` indices.
    """

    codec: str
    codec_version: int
    sample_rate: int
    frame_size: int
    quantizers: int
    samples: int
    delay: int
    frames: tuple[Frame, ...]
    weights_hash: str = ""


def serialise_tokens(tokens: TokenFile) -> bytes:
    """The bytes of a token file.

    Raises:
        TokenFileError: a field is outside what the format can hold.
    """
    header: dict[str, Any] = {field: getattr(tokens, field) for field in _FIELDS}
    header["frames"] = len(tokens.frames)
    head = serialise_head(TOKEN_FORMAT, header)
    _check_samples(header)
    frames_size = packed_size(quantizers=tokens.quantizers, count=len(tokens.frames))
    if len(head) + frames_size + CRC_BYTES > MAX_FILE_BYTES:
        raise TokenFileError(
            f"{len(tokens.frames)} frames are too many for one token file: "
            f"split the recording (the limit is {MAX_FILE_BYTES >> 20} MiB)"
        )
    if any(len(frame.indices) != tokens.quantizers for frame in tokens.frames):
        raise TokenFileError(f"not all frames have {tokens.quantizers} indices, as quantizers says")
    data = head + pack_frames(tokens.frames)
    return data + check_sum(data)


def parse_tokens(data: bytes) -> TokenFile:
    """The content of a token file.

    Raises:
        TokenFileError: anything about `data` is not as `serialise_tokens` makes it.
    """
    _check_beginning(data)
    if len(data) > MAX_FILE_BYTES:
        raise TokenFileError(f"not a token file: longer than {MAX_FILE_BYTES >> 20} MiB")
    if len(data) < PREFIX_BYTES + CRC_BYTES:
        raise TokenFileError("truncated inside the header: get a whole copy of the file")
    start = body_offset(data)
    body = memoryview(data)[:-CRC_BYTES]
    if check_sum(body) != data[-CRC_BYTES:]:
        raise TokenFileError("truncated or damaged (wrong check sum): get a whole copy of the file")
    if start > len(body):
        raise TokenFileError("damaged (the header is longer than the file)")
    header = unpack_header(data[PREFIX_BYTES:start], format_number=TOKEN_FORMAT, fields=_FIELDS)
    _check_samples(header)
    count = header.pop("frames")
    packed = bytes(body[start:])
    if len(packed) != packed_size(quantizers=header["quantizers"], count=count):
        raise TokenFileError(
            f"damaged: the header promises {count} frames of {header['quantizers']} indices, "
            f"{len(packed)} bytes are there"
        )
    try:
        frames = tuple(unpack_frames(packed, quantizers=header["quantizers"], count=count))
    except ValueError as error:
        raise TokenFileError(f"damaged: {error}") from error
    return TokenFile(**header, frames=frames)


def save_tokens(path: str | os.PathLike[str], tokens: TokenFile) -> None:
    """Write a token file.

    Raises:
        TokenFileError: a field is out of range, or the file cannot be written.
    """
    try:
        Path(path).write_bytes(serialise_tokens(tokens))
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be written: {error.strerror}") from error
    except TokenFileError as error:
        raise TokenFileError(f"{path}: {error}") from error


def load_tokens(path: str | os.PathLike[str]) -> TokenFile:
    """Read a token file.

    Raises:
        TokenFileError: the file is missing, damaged, of another version or no token file.
    """
    return read_file(path, begins=_check_beginning, parse=parse_tokens)


def _check_beginning(data: bytes) -> None:
    refusal = "not a token file: make one with `linkcodec encode`"
    check_magic(data, format_number=TOKEN_FORMAT, refusal=refusal)


def _check_samples(header: dict[str, Any]) -> None:
    if header["samples"] > header["frames"] * header["frame_size"]:
        raise TokenFileError(
            f"header field samples = {header['samples']} is more than "
            f"{header['frames']} frames of {header['frame_size']} samples hold"
        )
