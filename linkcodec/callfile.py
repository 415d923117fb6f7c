"""Recordings of calls (`.lkc`, format 2): the frames that were sent or that came, and what did not.

    offset  bytes  content
    0       4      magic "LKC2"
    4       4      length of the header, big-endian
    8       n      header: a msgpack map with exactly the fields below
    8+n            runs of items of 80 ms, each a byte of kind, two of their number (big-endian)
                   and what the kind says:
                     1 to 16  speech: frames of so many indices, see `linkcodec.frame_bits`
                     0        speech that was lost
                     32       silence: a byte of level (dB below full scale), two of colour
                     255      the end, with the number 0
            4      CRC-32 (ISO-HDLC) of everything before it, big-endian

Header fields: format (2), codec, codec_version, weights_hash, sample_rate, frame_size, delay. The
file is written while the call goes on: one that was cut off lacks the end, and is good up to
there. An hour of speech with 8 indices takes half a megabyte.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgpack  # type: ignore[import-untyped]

from linkcodec.codec import CodecInfo
from linkcodec.exceptions import TokenFileError
from linkcodec.frame import COLOUR_BITS, LOST, MAX_QUANTIZERS, Frame, PlayoutItem, Silence
from linkcodec.frame_bits import pack_frames, packed_size, unpack_frames
from linkcodec.tokenfile import check_fields

__all__ = ["CallFile", "CallWriter", "is_call", "load_call", "parse_call"]

_MAGIC: Final = b"LKC2"
_FORMAT: Final = 2
_PREFIX_BYTES: Final = 8
_RUN_BYTES: Final = 3
_SILENCE_BYTES: Final = 3
_CRC_BYTES: Final = 4
_MAX_HEADER_BYTES: Final = 1024
_MAX_FILE_BYTES: Final = 64 * 1024 * 1024
_MOST_ITEMS: Final = 16 * 1024 * 1024
"""Two weeks; runs of silence could claim more in few bytes."""

_LOST_KIND: Final = 0
_SILENCE_KIND: Final = 32
_END_KIND: Final = 255

_LONGEST_RUN: Final = 125
"""Items after which a run is written: a call that is cut off loses no more than 10 s."""

_FIELDS: Final = (
    *("codec", "weights_hash"),
    *("codec_version", "sample_rate", "frame_size", "delay"),
)


@dataclass(frozen=True, kw_only=True)
class CallFile:
    """One direction of a call: items of 80 ms, and what is needed to decode them.

    complete: False for a recording that was cut off.
    """

    codec: str
    codec_version: int
    sample_rate: int
    frame_size: int
    delay: int
    frames: tuple[PlayoutItem, ...]
    weights_hash: str = ""
    complete: bool = True

    @property
    def quantizers(self) -> int:
        """Most indices of a frame; 1 where nobody speaks."""
        return max(
            (len(item.indices) for item in self.frames if isinstance(item, Frame)), default=1
        )

    @property
    def samples(self) -> int:
        """Length of the sound at `sample_rate`; decoding gives `delay` samples more."""
        return max(0, len(self.frames) * self.frame_size - self.delay)


class CallWriter:
    """Writes items as they come; a context manager.

    Raises:
        TokenFileError: the file cannot be written, now or later.
    """

    def __init__(self, path: str | os.PathLike[str], info: CodecInfo) -> None:
        self._path = path
        self._crc = 0
        self._run: list[PlayoutItem] = []
        header: dict[str, Any] = {
            "format": _FORMAT,
            "codec": info.name,
            "weights_hash": info.weights_hash,
            "codec_version": info.version,
            "sample_rate": info.sample_rate,
            "frame_size": info.frame_size,
            "delay": info.delay,
        }
        packed: bytes = msgpack.packb(header)
        try:
            self._file = Path(path).open("wb")  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from error
        self._write(_MAGIC + len(packed).to_bytes(4, "big") + packed)

    def add(self, item: PlayoutItem) -> None:
        """Take the next 80 ms."""
        if isinstance(item, Silence):
            item = Silence(level_dbfs=float(_level(item)) * -1.0, colour=item.colour)
        if self._run and (len(self._run) >= _LONGEST_RUN or not _alike(self._run[0], item)):
            self._flush()
        self._run.append(item)

    def close(self) -> None:
        """Write the end; a second call does nothing."""
        if self._file.closed:
            return
        self._flush()
        self._write(bytes([_END_KIND, 0, 0]))
        self._write(self._crc.to_bytes(_CRC_BYTES, "big"))
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush(self) -> None:
        run, self._run = self._run, []
        if run:
            self._write(_pack(run))

    def _write(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> TokenFileError:
        return TokenFileError(f"{self._path}: cannot be written: {error.strerror}")


def _level(item: Silence) -> int:
    return min(max(round(-item.level_dbfs), 0), 127)


def _alike(one: PlayoutItem, other: PlayoutItem) -> bool:
    """Whether two items go into one run."""
    if isinstance(one, Frame) and isinstance(other, Frame):
        return len(one.indices) == len(other.indices)
    return one == other


def _pack(run: list[PlayoutItem]) -> bytes:
    first = run[0]
    number = len(run).to_bytes(2, "big")
    if isinstance(first, Frame):
        frames = [item for item in run if isinstance(item, Frame)]
        return bytes([len(first.indices)]) + number + pack_frames(frames)
    if isinstance(first, Silence):
        content = bytes([_level(first)]) + first.colour.to_bytes(2, "big")
        return bytes([_SILENCE_KIND]) + number + content
    return bytes([_LOST_KIND]) + number


def is_call(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like a call's recording; False for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read(4) == _MAGIC
    except OSError:
        return False


def load_call(path: str | os.PathLike[str]) -> CallFile:
    """Read a call's recording.

    Raises:
        TokenFileError: the file cannot be read, is damaged, or is no recording of a call.
    """
    try:
        with open(path, "rb") as file:
            return parse_call(file.read(_MAX_FILE_BYTES + 1))
    except OSError as error:
        raise TokenFileError(f"{path}: cannot be read: {error.strerror}") from error
    except TokenFileError as error:
        raise TokenFileError(f"{path}: {error}") from error


def parse_call(data: bytes) -> CallFile:
    """The content of a call's recording.

    Raises:
        TokenFileError: it is not as `CallWriter` makes it, other than being cut off.
    """
    if len(data) > _MAX_FILE_BYTES:
        raise TokenFileError(f"no call's recording: longer than {_MAX_FILE_BYTES >> 20} MiB")
    if data[:4] != _MAGIC:
        raise TokenFileError("no call's recording: make one with `linkcodec talk --record`")
    start = _PREFIX_BYTES + int.from_bytes(data[4:_PREFIX_BYTES], "big")
    if start > _PREFIX_BYTES + _MAX_HEADER_BYTES:
        raise TokenFileError("damaged (absurd header length): get a whole copy of the file")
    if start > len(data):
        raise TokenFileError("truncated inside the header: get a whole copy of the file")
    header = check_fields(data[_PREFIX_BYTES:start], format_number=_FORMAT, fields=_FIELDS)
    items: list[PlayoutItem] = []
    complete = False
    for run in _runs(data, start):
        if run is None:
            complete = True
        else:
            items += run
        if len(items) > _MOST_ITEMS:
            raise TokenFileError("damaged (absurd length): get a whole copy of the file")
    return CallFile(**header, frames=tuple(items), complete=complete)


def _runs(data: bytes, start: int) -> Iterator[list[PlayoutItem] | None]:
    """The items run by run, None at the end; nothing of a run that was cut off."""
    while start + _RUN_BYTES <= len(data):
        kind = data[start]
        count = int.from_bytes(data[start + 1 : start + _RUN_BYTES], "big")
        start += _RUN_BYTES
        if kind == _END_KIND:
            _check_end(data, start, count)
            yield None
            return
        size = _content_size(kind, count)
        content = data[start : start + size]
        start += size
        if len(content) < size:
            return
        yield _items(kind, count, content)


def _content_size(kind: int, count: int) -> int:
    if 1 <= kind <= MAX_QUANTIZERS:
        return packed_size(quantizers=kind, count=count)
    if kind in (_LOST_KIND, _SILENCE_KIND):
        return _SILENCE_BYTES if kind == _SILENCE_KIND else 0
    raise TokenFileError(f"damaged (a run of the unknown kind {kind}): get a whole copy")


def _items(kind: int, count: int, content: bytes) -> list[PlayoutItem]:
    if kind == _LOST_KIND:
        lost: list[PlayoutItem] = [LOST] * count
        return lost
    if kind == _SILENCE_KIND:
        colour = int.from_bytes(content[1:], "big")
        if content[0] > 127 or colour >= 1 << COLOUR_BITS:
            raise TokenFileError("damaged (an impossible silence): get a whole copy of the file")
        return [Silence(level_dbfs=-float(content[0]), colour=colour)] * count
    try:
        return list(unpack_frames(content, quantizers=kind, count=count))
    except ValueError as error:
        raise TokenFileError(f"damaged: {error}") from error


def _check_end(data: bytes, start: int, count: int) -> None:
    crc = data[start : start + _CRC_BYTES]
    if count or len(data) != start + _CRC_BYTES:
        raise TokenFileError("damaged (the end is not at the end): get a whole copy of the file")
    if zlib.crc32(data[:start]) != int.from_bytes(crc, "big"):
        raise TokenFileError("damaged (wrong check sum): get a whole copy of the file")
