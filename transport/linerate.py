"""What a packet costs on each kind of line, everything included."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

__all__ = ["Framing", "capacity_bps", "line_bits", "wire_bits", "wire_bytes"]


class Framing(StrEnum):
    """How packets travel; the overhead of each is fixed, so that a budget can be hard."""

    SYNC = "sync"
    """Byte pipe over a synchronous line: COBS and a delimiter (2 bytes), 8 bit times per byte."""

    ASYNC_8N1 = "8n1"
    """Byte pipe over an asynchronous line: COBS and a delimiter, 10 bit times per byte."""

    UDP = "udp"
    """One packet per UDP datagram over IPv4: 28 bytes of headers (RFC 768, RFC 791)."""

    KISS = "kiss"
    """One packet per AX.25 UI frame on the air behind a KISS modem: 20 bytes (two flags, two
    addresses, control, PID, FCS) and HDLC bit stuffing at its mean of one bit in 62."""

    WEBRTC = "webrtc"
    """One packet per message of a data channel: 93 bytes (IPv4, UDP, DTLS 1.2 with AES-GCM,
    SCTP) and padding to a multiple of 4 (RFC 8831, RFC 9260)."""

    @property
    def stream(self) -> bool:
        """True for byte pipes, which need COBS to tell packets apart and keep their order."""
        return self in (Framing.SYNC, Framing.ASYNC_8N1)

    @property
    def bit_times(self) -> int:
        """Bit times that a byte takes on the line."""
        return 10 if self is Framing.ASYNC_8N1 else 8


_STREAM_BYTES: Final = 2
_UDP_BYTES: Final = 28
_AX25_BYTES: Final = 20
_STUFFING_MEAN: Final = 62
_WEBRTC_BYTES: Final = 93


def wire_bytes(packet_length: int, framing: Framing) -> int:
    """Bytes on the wire for a packet of `packet_length` bytes (before COBS)."""
    match framing:
        case Framing.SYNC | Framing.ASYNC_8N1:
            return packet_length + _STREAM_BYTES
        case Framing.UDP:
            return packet_length + _UDP_BYTES
        case Framing.KISS:
            frame = packet_length + _AX25_BYTES
            return frame + math.ceil(frame / _STUFFING_MEAN)
        case Framing.WEBRTC:
            return packet_length + -packet_length % 4 + _WEBRTC_BYTES


def wire_bits(packet_length: int, framing: Framing) -> int:
    """Bits on the wire, start and stop bits left out."""
    return 8 * wire_bytes(packet_length, framing)


def line_bits(packet_length: int, framing: Framing) -> int:
    """Bit times that the packet takes on the line, start and stop bits included."""
    return framing.bit_times * wire_bytes(packet_length, framing)


def capacity_bps(rate: int, framing: Framing) -> float:
    """Wire bits per second that a line of `rate` bit/s carries: 960 for 8N1 at 1200 baud."""
    return rate * 8 / framing.bit_times
