"""Token files (`.lkc`): speech as codec frames, in a small container.

    offset  bytes  content
    0       4      magic "LKC1"
    4       4      length of the header, big-endian
    8       n      header: a msgpack map with exactly the fields below
    8+n     m      frames: quantizers x 11 bits each, see `linkcodec.frame_bits`
    8+n+m   4      CRC-32 (ISO-HDLC) of everything before it, big-endian

Header fields: format (1), codec, codec_version, weights_hash, sample_rate, frame_size,
quantizers, frames (their number), samples (of the original), delay.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from linkcodec.exceptions import TokenFileError
from linkcodec.frame import MAX_QUANTIZERS, Frame
from linkcodec.frame_bits import pack_frames, packed_size, unpack_frames

__all__ = [
    "TokenFile",
    "check_fields",
    "load_tokens",
    "parse_tokens",
    "save_tokens",
    "serialise_tokens",
]

_MAGIC: Final = b"LKC1"
_FORMAT: Final = 1
_CALL_FORMAT: Final = 2
"""See `linkcodec.callfile`."""

_PREFIX_BYTES: Final = 8
_CRC_BYTES: Final = 4
_MAX_HEADER_BYTES: Final = 1024
_MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""More than two days of speech with 16 indices per frame."""

_TEXT_LIMITS: Final = {"codec": 64, "weights_hash": 128}
_NUMBER_LIMITS: Final = {
    "codec_version": (0, 255),
    "sample_rate": (1000, 192_000),
    "frame_size": (1, 192_000),
    "quantizers": (1, MAX_QUANTIZERS),
    "frames": (0, _MAX_FILE_BYTES),
    "samples": (0, 2**53),
    "delay": (0, 192_000),
}


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
    header: dict[str, Any] = {"format": _FORMAT}
    for field in (*_TEXT_LIMITS, *_NUMBER_LIMITS):
        header[field] = len(tokens.frames) if field == "frames" else getattr(tokens, field)
    _check_header(header)
    packed: bytes = msgpack.packb(header)
    frames_size = packed_size(quantizers=tokens.quantizers, count=len(tokens.frames))
    if _PREFIX_BYTES + len(packed) + frames_size + _CRC_BYTES > _MAX_FILE_BYTES:
        raise TokenFileError(
            f"{len(tokens.frames)} frames are too many for one token file: "
            f"split the recording (the limit is {_MAX_FILE_BYTES >> 20} MiB)"
        )
    if any(len(frame.indices) != tokens.quantizers for frame in tokens.frames):
        raise TokenFileError(f"not all frames have {tokens.quantizers} indices, as quantizers says")
    data = _MAGIC + len(packed).to_bytes(4, "big") + packed + pack_frames(tokens.frames)
    return data + zlib.crc32(data).to_bytes(_CRC_BYTES, "big")


def parse_tokens(data: bytes) -> TokenFile:
    """The content of a token file.

    Raises:
        TokenFileError: anything about `data` is not as `serialise_tokens` makes it.
    """
    _check_magic(data)
    if len(data) > _MAX_FILE_BYTES:
        raise TokenFileError(f"not a token file: longer than {_MAX_FILE_BYTES >> 20} MiB")
    start = _PREFIX_BYTES + int.from_bytes(data[len(_MAGIC) : _PREFIX_BYTES], "big")
    if len(data) < _PREFIX_BYTES + _CRC_BYTES:
        raise TokenFileError("truncated inside the header: get a whole copy of the file")
    if start > _PREFIX_BYTES + _MAX_HEADER_BYTES:
        raise TokenFileError("damaged (absurd header length): get a whole copy of the file")
    body = memoryview(data)[:-_CRC_BYTES]
    if zlib.crc32(body) != int.from_bytes(data[-_CRC_BYTES:], "big"):
        raise TokenFileError("truncated or damaged (wrong check sum): get a whole copy of the file")
    if start > len(body):
        raise TokenFileError("damaged (the header is longer than the file)")
    header = _unpack_header(bytes(body[_PREFIX_BYTES:start]))
    _check_header(header)
    quantizers, count = header["quantizers"], header["frames"]
    packed = bytes(body[start:])
    if len(packed) != packed_size(quantizers=quantizers, count=count):
        raise TokenFileError(
            f"damaged: the header promises {count} frames of {quantizers} indices, "
            f"{len(packed)} bytes are there"
        )
    try:
        frames = tuple(unpack_frames(packed, quantizers=quantizers, count=count))
    except ValueError as error:
        raise TokenFileError(f"damaged: {error}") from error
    fields = {name: value for name, value in header.items() if name not in {"format", "frames"}}
    return TokenFile(**fields, frames=frames)


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
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TokenFileError("not a regular file")
            # The magic comes first, so that a huge file of another kind is not read.
            beginning = file.read(_PREFIX_BYTES)
            _check_magic(beginning)
            return parse_tokens(beginning + file.read(_MAX_FILE_BYTES))
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be read: {error.strerror}") from error
    except TokenFileError as error:
        raise TokenFileError(f"{path}: {error}") from error


def _check_magic(data: bytes) -> None:
    if not data:
        raise TokenFileError("the file is empty")
    magic = data[: len(_MAGIC)]
    if magic == _MAGIC:
        return
    if len(magic) < len(_MAGIC) and _MAGIC.startswith(magic):
        raise TokenFileError("truncated inside the header: get a whole copy of the file")
    if magic[:3] == _MAGIC[:3] and magic[3:].isdigit():
        raise _wrong_format(int(magic[3:]))
    raise TokenFileError("not a token file: make one with `linkcodec encode`")


def _wrong_format(number: object) -> TokenFileError:
    mend = "encode again with this version"
    if number == _CALL_FORMAT:
        mend = "it is a call's recording, which `linkcodec decode` plays"
    return TokenFileError(f"token file format {number} is not supported, only {_FORMAT}: {mend}")


def check_fields(packed: bytes, *, format_number: int, fields: Collection[str]) -> dict[str, Any]:
    """The header's fields, less "format": exactly these, each within its limits.

    Raises:
        TokenFileError: it is not so.
    """
    header = _unpack_header(packed)
    _check_values(header, format_number, fields)
    return {name: value for name, value in header.items() if name != "format"}


def _unpack_header(packed: bytes) -> dict[str, Any]:
    try:
        header = msgpack.unpackb(packed, raw=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise TokenFileError("damaged: the header is not a msgpack map") from error
    if not isinstance(header, dict):
        raise TokenFileError("damaged: the header is not a msgpack map")
    return header


def _check_header(header: dict[str, Any]) -> None:
    _check_values(header, _FORMAT, (*_TEXT_LIMITS, *_NUMBER_LIMITS))
    if header["samples"] > header["frames"] * header["frame_size"]:
        raise TokenFileError(
            f"header field samples = {header['samples']} is more than "
            f"{header['frames']} frames of {header['frame_size']} samples hold"
        )


def _check_values(header: dict[str, Any], format_number: int, fields: Collection[str]) -> None:
    number = header.get("format")
    if type(number) is not int or number != format_number:
        raise _wrong_format(repr(number)[:20])
    wrong = {"format", *fields}.symmetric_difference(header)
    if wrong:
        names = ", ".join(sorted(repr(name)[:40] for name in wrong)[:3])
        raise TokenFileError(f"the header lacks or has too much: {names}")
    for field, limit in _TEXT_LIMITS.items():
        value = header.get(field, "")
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            raise TokenFileError(f"header field {field} is not a text of at most {limit} letters")
    for field, (low, high) in _NUMBER_LIMITS.items():
        value = header.get(field, low)
        # A bool is an int to Python and none to the format.
        if type(value) is not int or not low <= value <= high:
            raise TokenFileError(
                f"header field {field} = {repr(value)[:20]} is no integer in {low}..{high}"
            )
