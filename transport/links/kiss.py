"""Packets through a KISS modem (TNC): a radio behind a serial port or a TCP socket.

KISS: M. Chepponis, P. Karn, "The KISS TNC", 1987. The modem owns the channel: it waits until
nobody else transmits (p-persistence), keys the radio, and drops what it hears damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linkcodec.exceptions import PacketError
from transport.ax25 import Station, UiFrame
from transport.links.base import Link

__all__ = ["KissDeframer", "KissLink", "KissSettings", "encode_kiss"]

_FEND: Final = b"\xc0"
_FESC: Final = b"\xdb"
_TFEND: Final = b"\xdc"
_TFESC: Final = b"\xdd"

_DATA: Final = 0
_TX_DELAY: Final = 1
_TX_TAIL: Final = 4

_MOST_BYTES: Final = 1024


def encode_kiss(data: bytes, *, port: int = 0, command: int = _DATA) -> bytes:
    """A frame or a command's argument between two delimiters; port 0 to 15."""
    body = bytes([port << 4 | command]) + data
    escaped = body.replace(_FESC, _FESC + _TFESC).replace(_FEND, _FESC + _TFEND)
    return _FEND + escaped + _FEND


class KissDeframer:
    """Finds frames in the bytes of a KISS modem; holds at most one frame of memory.

    damaged: stretches between delimiters that were too long or escaped wrongly.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.damaged = 0
        self._type = port << 4 | _DATA
        self._partial = bytearray()
        self._overrun = False

    def push(self, data: bytes) -> list[bytes]:
        """Take any number of bytes, give the frames that they complete.

        Frames of other ports, and answers to commands, are left out.
        """
        frames = []
        *finished, rest = data.split(_FEND)
        for piece in finished:
            self._append(piece)
            frame = self._finish()
            if frame is not None:
                frames.append(frame)
        self._append(rest)
        return frames

    def _append(self, piece: bytes) -> None:
        if len(self._partial) + len(piece) > 2 * _MOST_BYTES:
            self._overrun = True
            self._partial.clear()
        elif not self._overrun:
            self._partial += piece

    def _finish(self) -> bytes | None:
        raw, overrun = bytes(self._partial), self._overrun
        self._partial.clear()
        self._overrun = False
        if overrun:
            self.damaged += 1
            return None
        first, *rest = raw.split(_FESC)
        body = bytearray(first)
        for piece in rest:
            if piece[:1] not in (_TFEND, _TFESC):
                self.damaged += 1
                return None
            body += (_FEND if piece[:1] == _TFEND else _FESC) + piece[1:]
        if len(body) < 2 or body[0] != self._type:
            return None
        if len(body) > _MOST_BYTES:
            self.damaged += 1
            return None
        return bytes(body[1:])


@dataclass(frozen=True, kw_only=True)
class KissSettings:
    """How packets travel.

    source: this station; None sends packets bare, without AX.25 (Direwolf refuses those).
    destination: an address for all such packets; frames to others are not ours.
    port: of a modem with several radios. tx_delay_ms, tx_tail_ms: from keying the radio to
    the first byte, and from the last byte to letting go; -1 leaves the modem's own.
    """

    source: Station | None
    destination: Station
    port: int = 0
    tx_delay_ms: int = -1
    tx_tail_ms: int = -1

    @property
    def commands(self) -> bytes:
        """What the modem is told whenever it comes up."""
        told = b""
        for command, value in ((_TX_DELAY, self.tx_delay_ms), (_TX_TAIL, self.tx_tail_ms)):
            if value >= 0:
                # In units of 10 ms, rounded up.
                told += encode_kiss(bytes([-(-value // 10)]), port=self.port, command=command)
        return told


class KissLink(Link):
    """A KISS modem behind a byte pipe, which the link owns and closes.

    Radios take turns: nothing is sent between overs. With AX.25 every frame carries the
    station's call sign in clear.

    frames_ignored: frames of other stations and of other kinds.
    """

    datagram = True
    half_duplex = True

    def __init__(self, pipe: Link, settings: KissSettings) -> None:
        super().__init__()
        self.name = f"KISS modem at {pipe.name}"
        self.statistics = pipe.statistics
        self.frames_ignored = 0
        self._pipe = pipe
        self._settings = settings
        self._deframer = KissDeframer(port=settings.port)
        self._told_at_reopens = -1

    @property
    def up(self) -> bool:
        return self._pipe.up

    def send(self, data: bytes) -> bool:
        if self._told_at_reopens != self.statistics.reopens:
            # Also after the modem was unplugged: it forgets.
            commands = self._settings.commands
            if not commands or self._pipe.send(commands):
                self._told_at_reopens = self.statistics.reopens
        source = self._settings.source
        frame = data
        if source is not None:
            destination = self._settings.destination
            frame = UiFrame(destination=destination, source=source, info=data).serialise()
        return self._pipe.send(encode_kiss(frame, port=self._settings.port))

    def receive(self, timeout: float) -> list[bytes]:
        packets = []
        for chunk in self._pipe.receive(timeout):
            for frame in self._deframer.push(chunk):
                packet = self._unwrap(frame)
                if packet is None:
                    self.frames_ignored += 1
                else:
                    packets.append(packet)
        return packets

    def _unwrap(self, frame: bytes) -> bytes | None:
        """The packet in a frame; None if it is not for us."""
        if self._settings.source is None:
            return frame
        try:
            heard = UiFrame.parse(frame)
        except PacketError:
            return None
        return heard.info if heard.destination == self._settings.destination else None

    def close(self) -> None:
        self._pipe.close()
