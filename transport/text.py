"""The side channel: texts, station identification, who talks, and receiver reports.

Everything here travels in bodies of at most 16 bytes between the packets of speech
(`transport.packet.SidePacket`) or in the spare bits of slots.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from fastcrc import crc16

from linkcodec.exceptions import ConfigError, PacketError
from transport.wire import ReceiverReport, StationId, TalkerKey

__all__ = [
    "MAX_TEXT",
    "SideKind",
    "TextAssembler",
    "parse_report",
    "parse_station",
    "parse_talker",
    "report_body",
    "station_body",
    "talker_body",
    "text_fragments",
]

_FRAGMENT: Final = 8
_MOST_FRAGMENTS: Final = 16

MAX_TEXT: Final = _FRAGMENT * _MOST_FRAGMENTS - 2
"""Most bytes of a text in UTF-8."""

_PENDING: Final = 4
_PATIENCE: Final = 300.0
"""Seconds after which an incomplete text is given up, and a complete one may come again."""

_REMEMBERED: Final = 64
_SHARE: Final = 255
_BURST_UNIT: Final = 4


class SideKind(IntEnum):
    """What a packet of the side channel is."""

    TEXT = 0
    STATION = 1
    TALKER = 2
    REPORT = 3


def text_fragments(text: str, *, number: int) -> list[bytes]:
    """Bodies that carry `text`; `number` tells texts apart, modulo 256.

    Raises:
        ConfigError: the text is empty or too long.
    """
    content = text.encode()
    if not 1 <= len(content) <= MAX_TEXT:
        raise ConfigError(
            f"a text has 1 to {MAX_TEXT} bytes in UTF-8, not {len(content)}: send a shorter one"
        )
    content += crc16.ibm_3740(content).to_bytes(2, "big")
    pieces = [content[i : i + _FRAGMENT] for i in range(0, len(content), _FRAGMENT)]
    last = len(pieces) - 1
    return [bytes([place << 4 | last, number % 256]) + piece for place, piece in enumerate(pieces)]


@dataclass
class _Partial:
    last: int
    since: float
    pieces: dict[int, bytes] = field(default_factory=dict)


class TextAssembler:
    """Puts texts together; what is not whole is never given out, and a copy not twice.

    Memory is bounded: at most four texts wait for their rest, the oldest gives way.
    """

    def __init__(self) -> None:
        self._partial: OrderedDict[int, _Partial] = OrderedDict()
        self._given: OrderedDict[tuple[int, bytes], float] = OrderedDict()

    def take(self, body: bytes, now: float) -> str | None:
        """Take a fragment; gives the text that it completes.

        Raises:
            PacketError: the body is no fragment, or the text that it completes is damaged.
        """
        if not 3 <= len(body) <= 2 + _FRAGMENT:
            raise PacketError(f"a fragment of a text has 3 to {2 + _FRAGMENT} bytes")
        place, last, number = body[0] >> 4, body[0] & 15, body[1]
        if place > last or (place < last and len(body) < 2 + _FRAGMENT):
            raise PacketError("a fragment of a text does not fit the others")
        self._forget(now)
        partial = self._partial.get(number)
        if partial is None or partial.last != last:
            partial = self._partial[number] = _Partial(last, now)
            while len(self._partial) > _PENDING:
                self._partial.popitem(last=False)
        partial.pieces[place] = body[2:]
        if len(partial.pieces) <= last:
            return None
        del self._partial[number]
        content = b"".join(piece for _, piece in sorted(partial.pieces.items()))
        return self._complete(number, content, now)

    def _complete(self, number: int, content: bytes, now: float) -> str | None:
        raw, check = content[:-2], content[-2:]
        if not raw or crc16.ibm_3740(raw).to_bytes(2, "big") != check:
            raise PacketError("wrong CRC of a text")
        key = (number, check)
        known = key in self._given
        self._given[key] = now
        if len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        if known:
            return None
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise PacketError("a text is not UTF-8") from None

    def _forget(self, now: float) -> None:
        for number, partial in list(self._partial.items()):
            if now - partial.since > _PATIENCE:
                del self._partial[number]
        for key, then in list(self._given.items()):
            if now - then > _PATIENCE:
                del self._given[key]


def station_body(call_sign: str) -> bytes:
    """The body that identifies a station; `StationConfig` checks call signs."""
    return call_sign.encode("ascii")


def parse_station(body: bytes) -> StationId:
    """The station that identifies itself.

    Raises:
        PacketError: the body is no call sign.
    """
    if not all(48 <= byte <= 57 or 65 <= byte <= 90 or byte in b"/-" for byte in body):
        raise PacketError("a call sign has letters, digits, '/' and '-' only")
    return StationId(call_sign=body.decode("ascii"))


def talker_body(key: TalkerKey) -> bytes:
    """The body that tells that a talker pressed or released the key."""
    return bytes([key.down, key.talker])


def parse_talker(body: bytes) -> TalkerKey:
    """Who pressed or released the key.

    Raises:
        PacketError: the body is not that.
    """
    if len(body) != 2 or body[0] > 1:
        raise PacketError("a talker's key is told in two bytes")
    return TalkerKey(talker=body[1], down=bool(body[0]))


def report_body(report: ReceiverReport) -> bytes:
    """Three bytes: shares in 1/255, burst length in quarters."""
    burst = round(min(max(report.burst, 0.0) * _BURST_UNIT, 255.0))
    return bytes([_share(report.loss), _share(report.residual), burst])


def _share(value: float) -> int:
    # Rounded up, so that a little loss is not told as none.
    return min(_SHARE, -int(-_SHARE * min(max(value, 0.0), 1.0) // 1))


def parse_report(body: bytes) -> ReceiverReport:
    """A receiver's report.

    Raises:
        PacketError: the body is not three bytes.
    """
    if len(body) != 3:
        raise PacketError("a receiver's report has three bytes")
    return ReceiverReport(
        loss=body[0] / _SHARE, residual=body[1] / _SHARE, burst=body[2] / _BURST_UNIT
    )
