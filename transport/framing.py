"""Packets in a byte pipe: COBS and a zero byte after each (Cheshire and Baker, 1999)."""

from __future__ import annotations

from typing import Final

from cobs import cobs  # type: ignore[import-untyped]

from transport.packet import MAX_PACKET

__all__ = ["StreamDeframer", "encode_stream"]

_DELIMITER: Final = b"\0"
_MAX_ENCODED: Final = MAX_PACKET + 1


def encode_stream(packet: bytes) -> bytes:
    """A packet of 1 to 254 bytes as it goes into a byte pipe: exactly 2 bytes longer.

    Raises:
        ValueError: the packet is empty or too long.
    """
    if not 1 <= len(packet) <= MAX_PACKET:
        raise ValueError(f"a packet has 1 to {MAX_PACKET} bytes, not {len(packet)}")
    encoded: bytes = cobs.encode(packet)
    return encoded + _DELIMITER


class StreamDeframer:
    """Finds packets in a byte pipe; holds at most one packet of memory.

    damaged: stretches between delimiters that were no packet (too long or broken COBS).
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._partial = bytearray()
        self._overrun = False

    def push(self, data: bytes) -> list[bytes]:
        """Take any number of bytes, give the packets completed by them, COBS removed.

        Empty stretches are line fill and ignored.
        """
        packets = []
        *finished, rest = data.split(_DELIMITER)
        for piece in finished:
            self._append(piece)
            packet = self._finish()
            if packet:
                packets.append(packet)
        self._append(rest)
        return packets

    def _append(self, piece: bytes) -> None:
        if len(self._partial) + len(piece) > _MAX_ENCODED:
            self._overrun = True
            self._partial.clear()
        elif not self._overrun:
            self._partial += piece

    def _finish(self) -> bytes | None:
        encoded, overrun = bytes(self._partial), self._overrun
        self._partial.clear()
        self._overrun = False
        if overrun:
            self.damaged += 1
            return None
        if not encoded:
            return None
        try:
            packet: bytes = cobs.decode(encoded)
        except cobs.DecodeError:
            self.damaged += 1
            return None
        return packet
