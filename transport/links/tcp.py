"""A byte pipe over TCP, to a modem program or a serial port server; comes back by itself."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Final

from linkcodec.exceptions import LinkError
from transport.links.base import Link

__all__ = ["TcpLink"]

_READ_SIZE: Final = 4096
_CONNECT_SECONDS: Final = 3.0
_RETRY_SECONDS: Final = 0.5


class TcpLink(Link):
    """A connection to a server, made again whenever it breaks.

    What the socket does not take at once waits here; while anything waits, further packets
    are dropped whole and counted, so that a stalled server costs packets and not delay.

    Raises:
        LinkError: the server cannot be reached the first time.
    """

    datagram = False

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.name = f"tcp {host}:{port}"
        self._address = (host, port)
        self._unsent = b""
        self._socket: socket.socket | None = None
        self._changed = threading.Condition()
        self._closed = False
        try:
            self._socket = self._connect()
        except OSError as error:
            raise LinkError(
                f"cannot reach {host}:{port}: {error.strerror or error}; start the modem program "
                "there, or name another address (--peer, or peer in [link])"
            ) from None
        self._thread = threading.Thread(target=self._keep_up, name="tcp link", daemon=True)
        self._thread.start()

    @property
    def up(self) -> bool:
        return self._socket is not None

    def send(self, data: bytes) -> bool:
        with self._changed:
            server = self._socket
            if server is not None:
                try:
                    self._unsent = self._flush(server, self._unsent)
                    if not self._unsent:
                        self._unsent = self._flush(server, data)
                        self.statistics.bytes_sent += len(data)
                        return True
                except OSError:
                    self._lost()
        self.statistics.sends_dropped += 1
        return False

    @staticmethod
    def _flush(server: socket.socket, data: bytes) -> bytes:
        """Give the socket what it takes without waiting; the rest."""
        while data:
            try:
                data = data[server.send(data) :]
            except BlockingIOError:
                break
        return data

    def receive(self, timeout: float) -> list[bytes]:
        server = self._socket
        if server is None:
            time.sleep(min(timeout, _RETRY_SECONDS))
            return []
        try:
            if not select.select([server], [], [], timeout)[0]:
                return []
            data = server.recv(_READ_SIZE)
        except BlockingIOError:
            return []
        except (OSError, ValueError):  # ValueError: closed by the sending side meanwhile
            data = b""
        if not data:
            with self._changed:
                if self._socket is server:
                    self._lost()
            return []
        self.statistics.bytes_received += len(data)
        return [data]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._lost()
        self._thread.join(_CONNECT_SECONDS + _RETRY_SECONDS)

    def _connect(self) -> socket.socket:
        server = socket.create_connection(self._address, timeout=_CONNECT_SECONDS)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        server.setblocking(False)
        return server

    def _lost(self) -> None:
        """The connection is gone; the caller holds the lock."""
        server, self._socket = self._socket, None
        self._unsent = b""
        if server is not None:
            with contextlib.suppress(OSError):
                server.close()
        self._changed.notify_all()

    def _keep_up(self) -> None:
        with self._changed:
            while not self._closed:
                if self._socket is not None:
                    self._changed.wait()
                    continue
                self._changed.wait(_RETRY_SECONDS)
                self._changed.release()
                try:
                    server = self._connect()
                except OSError:
                    server = None
                finally:
                    self._changed.acquire()
                if server is None:
                    continue
                if self._closed:
                    server.close()
                    return
                self._socket = server
                self.statistics.reopens += 1
