"""A byte pipe over a serial port, with a radio's key or a modem's dialogue where there is one."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from dataclasses import dataclass
from typing import Final

import serial  # type: ignore[import-untyped]

from linkcodec.exceptions import LinkError
from transport.chat import ChatSession, ChatState, Script
from transport.feed import Feed
from transport.links.base import Link

__all__ = ["SerialLink", "SerialSettings"]

_READ_SIZE: Final = 4096
_REOPEN_SECONDS: Final = 0.5
_CHAT_STEP: Final = 0.1
_SHORTEST_WAIT: Final = 0.01
_LONGEST_WAIT: Final = 0.5
_HANG_UP_SECONDS: Final = 10.0
_LOST_CARRIER: Final = b"NO CARRIER"


@dataclass(frozen=True, kw_only=True)
class SerialSettings:
    """A serial port and what is behind it.

    byte_seconds: time of a byte on the line, which may be slower than the port; 0 stands for
    the port's own. parity: "N", "E" or "O". rtscts: the modem holds back by CTS.
    key: "rts" or "dtr", the line that keys a radio; "" for none. key_inverted: the radio is
    keyed while the line is low. lead, tail: seconds from the key to the first byte, and from
    the last byte to the key's release.
    chat: the dialogue that makes a call, hang_up: the one that ends it; a call that cannot be
    made, or is lost, is tried again after `redial` seconds.
    """

    port: str
    baud: int
    byte_seconds: float = 0.0
    parity: str = "N"
    stop_bits: int = 1
    rtscts: bool = False
    key: str = ""
    key_inverted: bool = False
    lead: float = 0.0
    tail: float = 0.0
    chat: Script | None = None
    hang_up: Script | None = None
    redial: float = 10.0

    @property
    def bits_per_byte(self) -> int:
        """Bit times of a byte on the port, start, parity and stop bits included."""
        return 9 + (self.parity != "N") + self.stop_bits


class SerialLink(Link):
    """A serial port that is opened again whenever it vanishes.

    A thread hands it bytes as the line carries them, never more than two frames (160 ms)
    ahead; a packet that comes while earlier ones would wait for longer is dropped whole and
    counted, so that no backlog adds delay.

    trouble: in words, why the link is down; empty if that is not known.

    Raises:
        LinkError: the port cannot be opened the first time.
    """

    datagram = False

    def __init__(self, settings: SerialSettings) -> None:
        super().__init__()
        self.name = f"serial {settings.port}"
        self.half_duplex = bool(settings.key)
        self._settings = settings
        port_byte = settings.bits_per_byte / settings.baud
        self._feed = Feed(
            byte_seconds=max(settings.byte_seconds, port_byte),
            keyed=bool(settings.key),
            lead=settings.lead,
            tail=settings.tail,
        )
        self._key_down: bool | None = None
        self._port: serial.Serial | None = None
        self._connected = False
        self._next_try = 0.0
        self._early = b""
        self._heard = b""
        self._closed = False
        self._changed = threading.Condition()
        try:
            self._open()
        except (OSError, ValueError) as error:
            raise LinkError(
                f"cannot open serial port {settings.port}: {_reason(error)}; plug the modem in "
                "or name another port (--port, or port in [link])"
            ) from None
        self._thread = threading.Thread(target=self._keep, name="serial link", daemon=True)
        self._thread.start()

    @property
    def up(self) -> bool:
        return self._port is not None and self._connected

    def send(self, data: bytes) -> bool:
        with self._changed:
            if self.up and self._feed.offer(data, time.monotonic()) and self._write():
                self.statistics.bytes_sent += len(data)
                self._changed.notify_all()
                return True
        self.statistics.sends_dropped += 1
        return False

    def over(self, talking: bool) -> None:
        with self._changed:
            if self.up:
                self._feed.over(talking, time.monotonic())
                self._write()
                self._changed.notify_all()

    def receive(self, timeout: float) -> list[bytes]:
        early, self._early = self._early, b""
        if early:
            return self._take(early)
        port = self._port if self._connected else None
        if port is None:
            time.sleep(min(timeout, _SHORTEST_WAIT * 5))
            return []
        try:
            if not select.select([port.fileno()], [], [], timeout)[0]:
                return []
            data = os.read(port.fileno(), _READ_SIZE)
        except BlockingIOError:
            return []
        except (OSError, ValueError):
            data = b""
        if not data:  # ready, yet nothing to read: the device is gone
            with self._changed:
                if self._port is port:
                    self._vanished()
            return []
        return self._take(data)

    def _take(self, data: bytes) -> list[bytes]:
        self.statistics.bytes_received += len(data)
        if self._settings.chat is not None:
            self._heard = (self._heard + data)[-(len(_LOST_CARRIER) + _READ_SIZE) :]
            if _LOST_CARRIER in self._heard:
                self._heard = b""
                self._hung_up("the modem lost the carrier")
        return [data]

    def close(self) -> None:
        """What was sent goes through first, and a call is hung up."""
        settings = self._settings
        deadline = time.monotonic() + 1.0 + settings.lead + settings.tail
        with self._changed:
            if self._closed:
                return
            self._feed.over(False, time.monotonic())
            self._changed.notify_all()
            while self.up and (len(self._feed) or self._feed.key_down):
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self.up and settings.hang_up is not None and self._port is not None:
            with contextlib.suppress(OSError, ValueError):
                self._talk(self._port, settings.hang_up, limit=_HANG_UP_SECONDS)
        self._vanished()

    def _open(self) -> None:
        settings = self._settings
        port = serial.Serial(
            baudrate=settings.baud,
            parity=settings.parity,
            stopbits=settings.stop_bits,
            rtscts=settings.rtscts,
            timeout=0,
        )
        port.port = settings.port
        # Before it opens, or the radio would be keyed until the first over.
        self._set_key(port, down=False)
        port.open()
        self._port = port
        self._connected = settings.chat is None
        self._feed.reset()

    def _set_key(self, port: serial.Serial, *, down: bool) -> None:
        if self._settings.key and self._key_down is not down:
            self._key_down = down
            setattr(port, self._settings.key, down != self._settings.key_inverted)

    def _write(self) -> bool:
        """Give the port what it may have now; False if it is gone. The caller holds the lock."""
        port = self._port
        if port is None or not self._connected:
            return False
        now = time.monotonic()
        try:
            self._set_key(port, down=self._feed.key_down)
            data = self._feed.poll(now, port.out_waiting)
            if data:
                with contextlib.suppress(BlockingIOError):
                    self._feed.given(os.write(port.fileno(), data), now)
            self._set_key(port, down=self._feed.key_down)
        except OSError:
            self._vanished()
            return False
        return True

    def _keep(self) -> None:
        """Feed the port; open it again, or make the call again, when it is time."""
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                if self.up:
                    self._write()
                    following = self._feed.next_time(now)
                    wait = _LONGEST_WAIT if following is None else following - now
                    self._changed.notify_all()
                    self._changed.wait(min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT))
                    continue
                if now < self._next_try:
                    self._changed.wait(self._next_try - now)
                    continue
                if self._port is None:
                    self._reopen()
                port, chat = self._port, self._settings.chat
            if port is not None and chat is not None:
                self._dial(port, chat)

    def _reopen(self) -> None:
        try:
            self._open()
            self.trouble = ""
            self.statistics.reopens += 1
        except (OSError, ValueError):
            self._next_try = time.monotonic() + _REOPEN_SECONDS

    def _dial(self, port: serial.Serial, script: Script) -> None:
        try:
            port.reset_input_buffer()
            session = self._talk(port, script)
        except (OSError, ValueError):
            with self._changed:
                self._vanished()
            return
        with self._changed:
            if session.state is ChatState.DONE:
                self._feed.reset()
                self._early = session.rest
                self.trouble = ""
                self._connected = True
            elif not self._closed:
                self.trouble = f"no call: {session.problem}"
                self._next_try = time.monotonic() + self._settings.redial

    def _talk(
        self, port: serial.Serial, script: Script, *, limit: float = float("inf")
    ) -> ChatSession:
        session = ChatSession(script)
        end = time.monotonic() + limit
        unsent = b""
        while session.state is ChatState.TALKING and time.monotonic() < end:
            if self._closed and limit == float("inf"):
                break
            unsent += session.poll(time.monotonic())
            with contextlib.suppress(BlockingIOError):
                unsent = unsent[os.write(port.fileno(), unsent) :]
            if select.select([port.fileno()], [], [], _CHAT_STEP)[0]:
                data = os.read(port.fileno(), _READ_SIZE)
                if not data:
                    raise OSError("the port is gone")
                session.receive(data)
        return session

    def _hung_up(self, trouble: str) -> None:
        with self._changed:
            self._connected = False
            self.trouble = trouble
            self._feed.reset()
            self._next_try = time.monotonic() + self._settings.redial
            self._changed.notify_all()

    def _vanished(self) -> None:
        port, self._port = self._port, None
        self._connected = False
        self._feed.reset()
        self._next_try = max(self._next_try, time.monotonic() + _REOPEN_SECONDS)
        if port is not None:
            with contextlib.suppress(OSError):
                self._set_key(port, down=False)
            with contextlib.suppress(OSError):
                port.close()
        self._key_down = None


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)
