"""The container of both kinds of `.lkc` file: tokens (format 1) and a call's recording (format 2).

offset  bytes  content
0       4      magic "LKC1" or "LKC2"
4       4      length of the header, big-endian
8       n      header: a msgpack map with "format" and exactly the fields of that format
8+n     m      body, see `linkcodec.tokenfile` and `linkcodec.callfile`
8+n+m   4      CRC-32 (ISO-HDLC) of everything before it, big-endian
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import msgpack  # type: ignore[import-untyped]

from linkcodec.exceptions import TokenFileError
from linkcodec.frame import MAX_QUANTIZERS

__all__ = [
    "CALL_FORMAT",
    "CRC_BYTES",
    "MAX_FILE_BYTES",
    "PREFIX_BYTES",
    "TOKEN_FORMAT",
    "body_offset",
    "check_magic",
    "check_sum",
    "check_values",
    "magic",
    "read_file",
    "serialise_head",
    "unpack_header",
    "wrong_format",
]

TOKEN_FORMAT: Final = 1
CALL_FORMAT: Final = 2

PREFIX_BYTES: Final = 8
CRC_BYTES: Final = 4
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""More than two days of speech with 16 indices per frame."""

_MAX_HEADER_BYTES: Final = 1024

_TEXT_LIMITS: Final = {"codec": 64, "weights_hash": 128}
_NUMBER_LIMITS: Final = {
    "codec_version": (0, 255),
    "sample_rate": (1000, 192_000),
    "frame_size": (1, 192_000),
    "quantizers": (1, MAX_QUANTIZERS),
    "frames": (0, MAX_FILE_BYTES),
    "samples": (0, 2**53),
    "delay": (0, 192_000),
}

_MENDS: Final[dict[tuple[int, int | str | None], str]] = {
    (TOKEN_FORMAT, CALL_FORMAT): "it is a call's recording, which `linkcodec decode` plays",
    (TOKEN_FORMAT, None): "encode again with this version",
    (CALL_FORMAT, TOKEN_FORMAT): "it is no call's recording, but tokens",
    (CALL_FORMAT, None): "decode it with the version that recorded it",
}

_T = TypeVar("_T")


def magic(format_number: int) -> bytes:
    """What a file of this format begins with."""
    return b"LKC%d" % format_number


def check_magic(data: bytes, *, format_number: int, refusal: str) -> None:
    """Check the first bytes of a file.

    refusal: what to say of a file of quite another kind.

    Raises:
        TokenFileError: they are not those of the format.
    """
    wanted = magic(format_number)
    if not data:
        raise TokenFileError("the file is empty")
    found = data[: len(wanted)]
    if found == wanted:
        return
    if len(found) < len(wanted) and wanted.startswith(found):
        raise TokenFileError("truncated inside the header: get a whole copy of the file")
    if found[:3] == wanted[:3] and found[3:].isdigit():
        raise wrong_format(int(found[3:]), wanted=format_number)
    raise TokenFileError(refusal)


def wrong_format(number: int | str, *, wanted: int) -> TokenFileError:
    """The error for a file of another format than `wanted`."""
    mend = _MENDS.get((wanted, number)) or _MENDS[wanted, None]
    return TokenFileError(f"token file format {number} is not supported, only {wanted}: {mend}")


def serialise_head(format_number: int, fields: Mapping[str, object]) -> bytes:
    """Magic, length and header.

    Raises:
        TokenFileError: a field is outside its limits.
    """
    header = {"format": format_number, **fields}
    check_values(header, format_number=format_number, fields=fields)
    packed: bytes = msgpack.packb(header)
    return magic(format_number) + len(packed).to_bytes(4, "big") + packed


def body_offset(data: bytes) -> int:
    """Where the body begins, by the length of the header; may lie beyond the end of `data`.

    Raises:
        TokenFileError: no header is so long.
    """
    length = int.from_bytes(data[PREFIX_BYTES - 4 : PREFIX_BYTES], "big")
    if length > _MAX_HEADER_BYTES:
        raise TokenFileError("damaged (absurd header length): get a whole copy of the file")
    return PREFIX_BYTES + length


def unpack_header(packed: bytes, *, format_number: int, fields: Collection[str]) -> dict[str, Any]:
    """The header's fields, less "format": exactly these, each within its limits.

    Raises:
        TokenFileError: it is not so.
    """
    try:
        header = msgpack.unpackb(packed, raw=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise TokenFileError("damaged: the header is not a msgpack map") from error
    if not isinstance(header, dict):
        raise TokenFileError("damaged: the header is not a msgpack map")
    check_values(header, format_number=format_number, fields=fields)
    return {name: value for name, value in header.items() if name != "format"}


def check_values(
    header: Mapping[str, object], *, format_number: int, fields: Collection[str]
) -> None:
    """Check that a header has exactly these fields and "format", each within its limits.

    Raises:
        TokenFileError: it is not so.
    """
    number = header.get("format")
    if type(number) is not int or number != format_number:
        raise wrong_format(repr(number)[:20], wanted=format_number)
    wrong = {"format", *fields}.symmetric_difference(header)
    if wrong:
        names = ", ".join(sorted(repr(name)[:40] for name in wrong)[:3])
        raise TokenFileError(f"the header lacks or has too much: {names}")
    for field in fields:
        value = header[field]
        if field in _TEXT_LIMITS:
            limit = _TEXT_LIMITS[field]
            if not isinstance(value, str) or len(value) > limit or not value.isprintable():
                raise TokenFileError(
                    f"header field {field} is not a text of at most {limit} letters"
                )
            continue
        low, high = _NUMBER_LIMITS[field]
        # A bool is an int to Python and none to the format.
        if type(value) is not int or not low <= value <= high:
            raise TokenFileError(
                f"header field {field} = {repr(value)[:20]} is no integer in {low}..{high}"
            )


def check_sum(data: bytes | memoryview) -> bytes:
    """The last bytes of a file, from all before them."""
    return zlib.crc32(data).to_bytes(CRC_BYTES, "big")


def read_file(
    path: str | os.PathLike[str],
    *,
    begins: Callable[[bytes], None],
    parse: Callable[[bytes], _T],
) -> _T:
    """What `parse` makes of a file, of which one byte more than the longest is read.

    begins: checks the first bytes, so that a huge file of another kind is not read.

    Raises:
        TokenFileError: the file cannot be read, or one of the two raised it; with the path.
    """
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TokenFileError("not a regular file")
            beginning = file.read(PREFIX_BYTES)
            begins(beginning)
            return parse(beginning + file.read(MAX_FILE_BYTES + 1 - PREFIX_BYTES))
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be read: {error.strerror}") from error
    except TokenFileError as error:
        raise TokenFileError(f"{path}: {error}") from error
