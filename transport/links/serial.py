"""A byte pipe over a serial port: 8 data bits, no parity, one stop bit, no flow control."""

from __future__ import annotations

import contextlib
import os
import select
import time

import serial  # type: ignore[import-untyped]

from linkcodec.exceptions import LinkError
from transport.links.base import Link

__all__ = ["SerialLink"]

_READ_SIZE = 4096
_REOPEN_SECONDS = 0.5
_MOST_WAITING_SECONDS = 0.5
_LEAST_WAITING_BYTES = 512
"""Two of the longest packets: what may wait in a slow port before packets are dropped."""


class SerialLink(Link):
    """A serial port that is opened again whenever it vanishes.

    Bytes that wait to be sent, here and in the operating system, are bounded to half a second
    of the port's rate (at least two packets), so that no backlog adds delay; a packet beyond
    that is dropped whole and counted.

    Raises:
        LinkError: the port cannot be opened the first time.
    """

    datagram = False

    def __init__(self, *, port: str, baud: int) -> None:
        super().__init__()
        self.name = f"serial {port}"
        self._path = port
        self._baud = baud
        self._limit = max(_LEAST_WAITING_BYTES, int(baud / 10 * _MOST_WAITING_SECONDS))
        self._unsent = bytearray()
        self._port: serial.Serial | None = None
        self._next_try = 0.0
        try:
            self._port = self._open()
        except (OSError, ValueError) as error:
            raise LinkError(
                f"cannot open serial port {port}: {_reason(error)}; plug the modem in or name "
                "another port (--port, or port in [link])"
            ) from None

    @property
    def up(self) -> bool:
        return self._port is not None

    def send(self, data: bytes) -> bool:
        port = self._ready_port()
        if port is not None:
            try:
                self._flush(port)
                if len(self._unsent) + port.out_waiting + len(data) <= self._limit:
                    self._unsent += data
                    self._flush(port)
                    self.statistics.bytes_sent += len(data)
                    return True
            except OSError:
                self._vanished()
        self.statistics.sends_dropped += 1
        return False

    def receive(self, timeout: float) -> list[bytes]:
        port = self._ready_port()
        if port is None:
            time.sleep(min(timeout, _REOPEN_SECONDS))
            return []
        try:
            self._flush(port)
            if not select.select([port.fileno()], [], [], timeout)[0]:
                return []
            data = os.read(port.fileno(), _READ_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:  # ready, yet nothing to read: the device is gone
            self._vanished()
            return []
        self.statistics.bytes_received += len(data)
        return [data]

    def close(self) -> None:
        self._next_try = float("inf")
        self._vanished()

    def _open(self) -> serial.Serial:
        return serial.Serial(port=self._path, baudrate=self._baud, timeout=0)

    def _ready_port(self) -> serial.Serial | None:
        if self._port is None and time.monotonic() >= self._next_try:
            try:
                self._port = self._open()
                self.statistics.reopens += 1
            except (OSError, ValueError):
                self._next_try = time.monotonic() + _REOPEN_SECONDS
        return self._port

    def _flush(self, port: serial.Serial) -> None:
        """Write what the port takes without waiting."""
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: os.write(port.fileno(), self._unsent)]

    def _vanished(self) -> None:
        port, self._port = self._port, None
        self._unsent.clear()
        self._next_try = max(self._next_try, time.monotonic() + _REOPEN_SECONDS)
        if port is not None:
            with contextlib.suppress(OSError):
                port.close()


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)
