"""Captures of what went over a link: lines of JSON, the first one about the link.

    {"linkcodec_wire": 1, "mode": "packets", "framing": "sync", "rate": 1200, "datagram": false}
    {"t": 0.08, "data": "08802a210139498400"}

`t` is in seconds from the first record, `data` in hexadecimal: a datagram, or any stretch of a
byte pipe.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, TextIO, TypeVar

from linkcodec.exceptions import InputError, LinkError
from transport.config import WIRE_MODES
from transport.linerate import Framing
from transport.links import Link

__all__ = ["Capture", "CaptureHeader", "CaptureWriter", "RecordedLink", "RecordingLink", "Stretch"]

_VERSION: Final = 1
_MOST_BYTES: Final = 256 << 20
_MOST_DATA: Final = 1 << 16
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class CaptureHeader:
    """What one must know to read the bytes: mode, framing and rate as in a configuration."""

    mode: str
    framing: str
    rate: int
    datagram: bool

    def __post_init__(self) -> None:
        if self.mode not in WIRE_MODES or self.framing not in set(Framing) or self.rate < 1:
            raise ValueError("mode, framing or rate is unknown")


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Bytes that went over the link at `time` seconds."""

    time: float
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A capture as a whole."""

    header: CaptureHeader
    stretches: tuple[Stretch, ...]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file.

        Raises:
            InputError: the file is missing, too large or no capture; the text names the line.
        """
        try:
            if Path(path).stat().st_size > _MOST_BYTES:
                raise InputError(f"{path}: a capture has at most {_MOST_BYTES >> 20} MiB")
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except OSError as error:
            raise InputError(f"{path}: cannot read the capture: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: this is no capture of the wire (not ASCII text)") from None
        if not lines:
            raise InputError(f"{path}: the capture is empty: record one with --record-wire")
        header = _parsed(path, 1, lines[0], _header)
        stretches = [_parsed(path, n, line, _stretch) for n, line in enumerate(lines[1:], start=2)]
        return cls(header=header, stretches=tuple(stretches))


def _parsed(path: str | Path, number: int, line: str, parse: Callable[[Any], _T]) -> _T:
    try:
        return parse(json.loads(line))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{path}, line {number}: this is no capture of the wire") from None


def _header(fields: dict[str, Any]) -> CaptureHeader:
    if fields.pop("linkcodec_wire") != _VERSION:
        raise ValueError("another version")
    return CaptureHeader(**fields)


def _stretch(fields: dict[str, Any]) -> Stretch:
    data = bytes.fromhex(fields["data"])
    moment = float(fields["t"])
    if len(data) > _MOST_DATA or not 0 <= moment < 1e9:
        raise ValueError("too long")
    return Stretch(time=moment, data=data)


class CaptureWriter:
    """Writes a capture as it happens.

    Raises:
        LinkError: the file cannot be written.
    """

    def __init__(self, path: str | Path, header: CaptureHeader) -> None:
        self._path = path
        self._first: float | None = None
        try:
            # Line by line, so that a full disk is noticed where it happens.
            self._file: TextIO = Path(path).open("w", buffering=1, encoding="ascii")  # noqa: SIM115
        except OSError as error:
            raise self._cannot_write(error) from None
        self._write({"linkcodec_wire": _VERSION, **asdict(header)})

    def add(self, data: bytes, now: float) -> None:
        """Bytes went over the link at `now` (seconds of any clock).

        Raises:
            LinkError: the file cannot be written.
        """
        if self._first is None:
            self._first = now
        self._write({"t": round(now - self._first, 6), "data": data.hex()})

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as error:
            with suppress(OSError):  # what could not be written is tried once more
                self._file.close()
            raise self._cannot_write(error) from None

    def _cannot_write(self, error: OSError) -> LinkError:
        return LinkError(f"{self._path}: cannot write the capture: {error.strerror}")

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        self._file.close()


class RecordingLink(Link):
    """A link that captures what is sent and what arrives."""

    def __init__(self, link: Link, writer: CaptureWriter, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._link = link
        self._writer = writer
        self._clock = clock
        self.statistics = link.statistics
        self.datagram = link.datagram
        self.name = link.name
        self.half_duplex = link.half_duplex

    @property
    def up(self) -> bool:
        self.trouble = self._link.trouble
        return self._link.up

    def send(self, data: bytes) -> bool:
        self._writer.add(data, self._clock())
        return self._link.send(data)

    def over(self, talking: bool) -> None:
        self._link.over(talking)

    def receive(self, timeout: float) -> list[bytes]:
        chunks = self._link.receive(timeout)
        now = self._clock()
        for chunk in chunks:
            self._writer.add(chunk, now)
        return chunks

    def close(self) -> None:
        self._link.close()
        self._writer.close()


class RecordedLink(Link):
    """Gives what a capture holds, at the pace at which it was recorded; sends nothing.

    clock: seconds. sleep: waits for so many seconds.
    """

    def __init__(
        self,
        capture: Capture,
        *,
        name: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        super().__init__()
        self.datagram = capture.header.datagram
        self.name = name
        self._clock = clock
        self._sleep = sleep
        self._stretches = capture.stretches
        self._next = 0
        self._start: float | None = None

    @property
    def ended(self) -> bool:
        """True once all of the capture has been given."""
        return self._next == len(self._stretches)

    def send(self, data: bytes) -> bool:  # noqa: ARG002
        self.statistics.sends_dropped += 1
        return False

    def receive(self, timeout: float) -> list[bytes]:
        now = self._clock()
        if self._start is None:
            self._start = now
        due = self._start + self._stretches[self._next].time if not self.ended else now + timeout
        if due > now:
            self._sleep(min(due - now, timeout))
        now = self._clock()
        chunks = []
        while not self.ended and self._start + self._stretches[self._next].time <= now:
            chunks.append(self._stretches[self._next].data)
            self._next += 1
        self.statistics.bytes_received += sum(map(len, chunks))
        return chunks

    def close(self) -> None:
        self._next = len(self._stretches)
