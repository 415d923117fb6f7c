"""Security of packets: what a transmitter seals and a receiver opens. See docs/security.md.

A sealed packet is header | sealed body | tag, and in authenticated mode the CRC of a plain packet
behind them. A sealed control packet has one byte before its body, its *copy number*, so that
several of one tick can be told apart; copy number 0 is a voice packet, whose tick is its own.
"""

from __future__ import annotations

from typing import Final

from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS
from transport.packet import (
    MAX_PACKET,
    TICKS,
    check_bytes,
    foreign_version,
    other_format,
    parse,
)
from transport.security import (
    ANNOUNCEMENT_BYTES,
    ENCRYPTED_UNHEARD,
    SIGNED_UNVERIFIED,
    Announcement,
    ReceiverSecurity,
    SenderSecurity,
    Suite,
)

__all__ = [
    "ANNOUNCEMENT",
    "PacketOpener",
    "PacketSealer",
    "announcement_length",
    "sealed_length",
]

_HEADER: Final = 2
_CHECK: Final = 2
_CONTROL: Final = 0x80
_SUBTYPE: Final = 0xF0
_PARITY: Final = 0xC0
ANNOUNCEMENT: Final = 0xF0
"""First byte of an announcement: control, subtype 7, no argument, first bit of the tick."""

_ARGUMENT: Final = 0x0E

_FRESH_TICKS: Final = 25
_COPIES: Final = 255
_LISTEN_SECONDS: Final = 30.0
"""How long after its announcement a station is taken to sign its packets."""


def sealed_length(length: int, suite: Suite | None) -> int:
    """Bytes of a sealed voice packet that has `length` bytes without security."""
    if suite is None:
        return length
    return length + suite.tag_bytes - (_CHECK if suite.encrypts else 0)


def announcement_length(suite: Suite) -> int:
    """Bytes of the packet that carries an announcement."""
    return _HEADER + ANNOUNCEMENT_BYTES + suite.tag_bytes + _CHECK


def _numbered(header: bytes) -> bool:
    """Whether packets of this header have a copy number: all but voice and voice with parity."""
    return bool(header[0] & _CONTROL) and header[0] & _SUBTYPE != _PARITY


def _checked(content: bytes) -> bytes:
    return content + check_bytes(content)


class PacketSealer:
    """Seals the packets of one sender, and announces its sessions.

    Args:
        announce_seconds: how often a session is announced.
    """

    def __init__(self, security: SenderSecurity, *, announce_seconds: float) -> None:
        self._security = security
        self._every = max(1, round(announce_seconds / FRAME_SECONDS))
        self._announce_at = 0
        self._copy = 0

    def length(self, length: int) -> int:
        """Bytes of a sealed voice packet; a control packet has one more."""
        return sealed_length(length, self._security.suite)

    def seal(self, packet: bytes, *, now_tick: int) -> bytes:
        """The sealed form of a plain packet (CRC included).

        now_tick: the sender's tick now, unwrapped; the packet's own is within 256 of it.

        Raises:
            ValueError: the sealed packet is too long, or a voice packet's tick comes twice.
        """
        header, body = packet[:_HEADER], packet[_HEADER:-_CHECK]
        low = int.from_bytes(header, "big") % TICKS
        tick = now_tick + (low - now_tick + TICKS // 2) % TICKS - TICKS // 2
        lane = 0
        if _numbered(header):
            lane = self._copy = self._copy % _COPIES + 1
            body = bytes([lane]) + body
        # The copy number is sent in the clear: the nonce is made of it.
        clear, body = (header + body[:1], body[1:]) if lane else (header, body)
        content = clear + self._security.seal(clear, body, tick=tick, lane=lane, at=now_tick)
        sealed = content if self._security.suite.encrypts else _checked(content)
        if len(sealed) > MAX_PACKET:
            raise ValueError(
                f"a sealed packet has {len(sealed)} bytes, more than {MAX_PACKET}: "
                "use fewer frames_per_packet"
            )
        return sealed

    def announcement(self, tick: int, *, fresh: bool = False) -> bytes | None:
        """The packet that announces the sender's session, if one is due at this tick (unwrapped).

        fresh: somebody may have begun to listen; the last one must not be older than 2 s.
        """
        early = self._every - _FRESH_TICKS if fresh else 0
        if tick < self._announce_at - max(0, early):
            return None
        self._announce_at = tick + self._every
        header = (ANNOUNCEMENT << 8 | tick % TICKS).to_bytes(_HEADER, "big")
        return _checked(header + self._security.announcement(tick))


class PacketOpener:
    """Gives plain packets of what comes, and nothing of strangers if there is security.

    Without security, packets of a station that signs them are opened unverified: they are in
    the clear so that anybody may listen.

    problem: in words, why packets cannot be opened; empty while all is well.
    """

    def __init__(self, security: ReceiverSecurity | None) -> None:
        self._security = security
        self._problem = ""
        self._signed_by: Suite | None = None
        self._signed_at = 0.0

    @property
    def problem(self) -> str:
        """In words, why packets cannot be opened; empty while all is well."""
        return self._problem if self._security is None else self._security.problem

    @property
    def notice(self) -> str:
        """In words, what to know of packets that are opened; empty if there is nothing."""
        return SIGNED_UNVERIFIED if self._signed_by is not None else ""

    def open(self, data: bytes, now: float) -> bytes | None:
        """The plain packet that came as `data`; None for an announcement.

        Raises:
            PacketError: it is no packet, or not of a holder of the key, or was heard before.
        """
        if not 2 * _CHECK <= len(data) <= MAX_PACKET:
            raise PacketError(f"a packet has at most {MAX_PACKET} bytes, not {len(data)}")
        if data[0] & _SUBTYPE == ANNOUNCEMENT:
            self._announce(data, now)
            return None
        if self._security is None:
            return self._listen(data, now)
        return self._verify(self._security, data, now)

    def _announce(self, data: bytes, now: float) -> None:
        content = data[:-_CHECK]
        if check_bytes(content) != data[-_CHECK:]:
            version = foreign_version(data)
            if version is None:
                raise PacketError("wrong CRC of an announcement")
            self._problem = other_format(version)
            if self._security is not None:
                self._security.refuse(self._problem)
            raise PacketError(self._problem)
        if data[0] & _ARGUMENT:
            raise PacketError("an announcement has no argument")
        if self._security is not None:
            if self._security.announce(content[_HEADER:], now) is None:
                raise PacketError(self._security.problem)
            return
        suite = Announcement.parse(content[_HEADER:]).suite
        if suite.encrypts:
            self._problem = ENCRYPTED_UNHEARD
        else:
            self._problem = ""
            self._signed_by, self._signed_at = suite, now

    def _listen(self, data: bytes, now: float) -> bytes:
        suite = self._signed_by
        if suite is None or now > self._signed_at + _LISTEN_SECONDS:
            self._signed_by = None
            return data
        content = data[:-_CHECK]
        if check_bytes(content) != data[-_CHECK:] or len(content) < _HEADER + suite.tag_bytes:
            raise PacketError("wrong CRC of a signed packet")
        header, body = content[:_HEADER], content[_HEADER : -suite.tag_bytes]
        return _checked(header + body[1:] if _numbered(header) else header + body)

    def _verify(self, security: ReceiverSecurity, data: bytes, now: float) -> bytes:
        sealed = data
        if not security.suite.encrypts:
            sealed = data[:-_CHECK]
            if check_bytes(sealed) != data[-_CHECK:]:
                raise PacketError("wrong CRC")
        header, lane, split = sealed[:_HEADER], 0, _HEADER
        if _numbered(header):
            split += 1
            if len(sealed) < split or not sealed[_HEADER]:
                raise PacketError("a control packet without a copy number")
            lane = sealed[_HEADER]
        opened = security.open(
            sealed[:split],
            sealed[split:],
            low=int.from_bytes(header, "big") % TICKS,
            modulus=TICKS,
            lane=lane,
            now=now,
        )
        if opened is None:
            self._note_unprotected(security, data)
            raise PacketError("a packet of a stranger, or one heard before")
        return _checked(header + opened.body)

    def _note_unprotected(self, security: ReceiverSecurity, data: bytes) -> None:
        try:
            parse(data)
        except PacketError:
            return
        security.unprotected()
