"""Recordings of calls (`.lkc`, format 2): the frames that were sent or that came, and what did not.

Of the container (`linkcodec.container`) the header has codec, codec_version, weights_hash,
sample_rate, frame_size and delay; the body is runs of items of 80 ms, each a byte of kind, two of
their number (big-endian, at least 1) and what the kind says:

    1 to 16  speech: frames of so many indices, see `linkcodec.frame_bits`
    0        speech that was lost
    32       silence: a byte of level (dB below full scale), two of colour
    255      the end, with the number 0; the check sum follows

The file is written while the call goes on: one that was cut off lacks the end, and is good up to
there. An hour of speech with 8 indices takes half a megabyte.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from linkcodec.codec import CodecInfo
from linkcodec.container import (
    CALL_FORMAT,
    CRC_BYTES,
    MAX_FILE_BYTES,
    PREFIX_BYTES,
    body_offset,
    check_magic,
    check_sum,
    magic,
    read_file,
    serialise_head,
    unpack_header,
)
from linkcodec.exceptions import TokenFileError
from linkcodec.frame import COLOUR_BITS, LOST, MAX_QUANTIZERS, Frame, PlayoutItem, Silence
from linkcodec.frame_bits import pack_frames, packed_size, unpack_frames

__all__ = ["CallFile", "CallWriter", "is_call", "load_call", "parse_call"]

_RUN_BYTES: Final = 3
_SILENCE_BYTES: Final = 3
_MOST_ITEMS: Final = 16 * 1024 * 1024
"""Two weeks, in which there may be little but silence; damaged runs could claim more."""

_LOST_KIND: Final = 0
_SILENCE_KIND: Final = 32
_END_KIND: Final = 255

_LONGEST_RUN: Final = 125
"""Items after which a run is written: a call that is cut off loses no more than 10 s."""

_FIELDS: Final = (
    "codec",
    "weights_hash",
    "codec_version",
    "sample_rate",
    "frame_size",
    "delay",
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
        TokenFileError: the file cannot be written, now or later, or is as long as can be read.
    """

    def __init__(self, path: str | os.PathLike[str], info: CodecInfo) -> None:
        self._path = path
        self._crc = self._size = self._items = 0
        self._run: list[PlayoutItem] = []
        self._failure: TokenFileError | None = None
        header: dict[str, object] = {
            "codec": info.name,
            "weights_hash": info.weights_hash,
            "codec_version": info.version,
            "sample_rate": info.sample_rate,
            "frame_size": info.frame_size,
            "delay": info.delay,
        }
        head = serialise_head(CALL_FORMAT, header)
        try:
            # Without a buffer: after an error nothing is left for `close` to write.
            self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from error
        self._write(head)

    def add(self, item: PlayoutItem) -> None:
        """Take the next 80 ms."""
        if isinstance(item, Silence):
            item = Silence(level_dbfs=float(_level(item)) * -1.0, colour=item.colour)
        if self._run and (len(self._run) >= _LONGEST_RUN or not _alike(self._run[0], item)):
            self._flush()
        self._run.append(item)

    def close(self) -> None:
        """Write the end; a second call does nothing, nor one after a failure."""
        if self._file.closed:
            return
        with self._file:
            self._flush()
            self._write_end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush(self) -> None:
        run, self._run = self._run, []
        if not run:
            return
        data = _pack(run)
        self._items += len(run)
        size = self._size + len(data) + _RUN_BYTES + CRC_BYTES
        if self._failure is None and (size > MAX_FILE_BYTES or self._items > _MOST_ITEMS):
            with self._file:
                self._write_end()
            self._failure = TokenFileError(f"{self._path}: is as long as a recording can be")
        self._write(data)

    def _write_end(self) -> None:
        self._write(bytes([_END_KIND, 0, 0]))
        self._write(self._crc.to_bytes(CRC_BYTES, "big"))

    def _write(self, data: bytes) -> None:
        if self._failure is not None:
            raise self._failure
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            # What comes after a gap could not be read.
            self._file.close()
            self._failure = self._failed(error)
            raise self._failure from error

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
    beginning = magic(CALL_FORMAT)
    if not Path(path).is_file():
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:
        return False


def load_call(path: str | os.PathLike[str]) -> CallFile:
    """Read a call's recording.

    Raises:
        TokenFileError: the file cannot be read, is damaged, or is no recording of a call.
    """
    return read_file(path, begins=_check_beginning, parse=parse_call)


def parse_call(data: bytes) -> CallFile:
    """The content of a call's recording.

    Raises:
        TokenFileError: it is not as `CallWriter` makes it, other than being cut off.
    """
    _check_beginning(data)
    if len(data) > MAX_FILE_BYTES:
        raise TokenFileError(f"no call's recording: longer than {MAX_FILE_BYTES >> 20} MiB")
    start = body_offset(data)
    if start > len(data):
        raise TokenFileError("truncated inside the header: get a whole copy of the file")
    header = unpack_header(data[PREFIX_BYTES:start], format_number=CALL_FORMAT, fields=_FIELDS)
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


def _check_beginning(data: bytes) -> None:
    refusal = "no call's recording: make one with `linkcodec talk --record NAME.lkc`"
    check_magic(data, format_number=CALL_FORMAT, refusal=refusal)


def _runs(data: bytes, start: int) -> Iterator[list[PlayoutItem] | None]:
    """The items run by run, None at the end; nothing of a run or an end that was cut off."""
    while start + _RUN_BYTES <= len(data):
        kind = data[start]
        count = int.from_bytes(data[start + 1 : start + _RUN_BYTES], "big")
        start += _RUN_BYTES
        size = _content_size(kind, count)
        content = data[start : start + size]
        if len(content) < size:
            return
        if kind == _END_KIND:
            _check_end(data, start)
            yield None
            return
        start += size
        yield _items(kind, count, content)


def _content_size(kind: int, count: int) -> int:
    if (count == 0) != (kind == _END_KIND):
        raise TokenFileError("damaged (an impossible number): get a whole copy of the file")
    if 1 <= kind <= MAX_QUANTIZERS:
        return packed_size(quantizers=kind, count=count)
    sizes = {_LOST_KIND: 0, _SILENCE_KIND: _SILENCE_BYTES, _END_KIND: CRC_BYTES}
    if kind not in sizes:
        raise TokenFileError(f"damaged (a run of the unknown kind {kind}): get a whole copy")
    return sizes[kind]


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


def _check_end(data: bytes, end: int) -> None:
    if len(data) != end + CRC_BYTES:
        raise TokenFileError("damaged (the end is not at the end): get a whole copy of the file")
    if check_sum(memoryview(data)[:end]) != data[end:]:
        raise TokenFileError("damaged (wrong check sum): get a whole copy of the file")
