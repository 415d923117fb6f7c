"""Packets of wire format 2: values, `serialise` and `parse`. See docs/wire-format.md.

Header, 16 bits, most significant first:
    voice    0 | start | end | quantizers - 1 (4) | tick (9)
    control  1 | subtype (3) | argument (3)       | tick (9)
A body follows, then a CRC-16 (CRC-16/IBM-3740), most significant byte first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from fastcrc import crc16

from linkcodec.exceptions import PacketError
from linkcodec.frame import COLOUR_BITS, INDEX_BITS, MAX_QUANTIZERS, Frame
from linkcodec.frame_bits import pack_frames, unpack_frames

__all__ = [
    "CODEC_NUMBERS",
    "FORMAT_VERSION",
    "MAX_BOOKS",
    "MAX_DISTANCE",
    "MAX_PACKET",
    "MAX_SIDE_BODY",
    "TICKS",
    "ByePacket",
    "HelloPacket",
    "LinkPacket",
    "Packet",
    "Parity",
    "SidePacket",
    "SilencePacket",
    "VoicePacket",
    "WirePacket",
    "check_bytes",
    "foreign_version",
    "frames_that_fit",
    "other_format",
    "parse",
    "serialise",
    "voice_packet_length",
]

FORMAT_VERSION: Final = 2
"""Version of the wire format; part of the CRC of most packets, not transmitted."""

MAX_PACKET: Final = 254
"""Most bytes of a packet, so that COBS adds exactly one."""

TICKS: Final = 512
"""Ticks before the 9-bit count of 80 ms frames starts again at 0: 40.96 s."""

CODEC_NUMBERS: Final = {"compact": 1, "qwen3-12hz": 2, "mimi": 3}
"""Codec numbers on the wire; 0 stands for any other codec."""

MAX_BOOKS: Final = 4
"""Most codebooks that parity covers."""

MAX_DISTANCE: Final = 3
"""Parity reaches back over at most so many packets."""

MAX_SIDE_BODY: Final = 16
"""Most bytes of a packet of the side channel beyond header and CRC."""

_OVERHEAD: Final = 4
_VERSION_BYTE: Final = bytes([FORMAT_VERSION])
_CONTROL: Final = 0x8000
_START: Final = 0x4000
_END: Final = 0x2000
_TICK: Final = TICKS - 1
_HELLO: Final = 0
_BYE: Final = 1
_SILENCE: Final = 2
_LINK: Final = 3
_PARITY: Final = 4
_REPAIR: Final = 5
_SIDE: Final = 6
_OLDEST_PARITY: Final = TICKS // 2
"""Ticks that parity may reach back, so that 9 bits tell which frames it covers."""


def _check(name: str, value: int, high: int, low: int = 0) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} = {value} lies outside {low}..{high}")


def _check_level(level_dbfs: float) -> None:
    if math.isnan(level_dbfs):
        raise ValueError("level_dbfs is not a number")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """First indices of earlier frames, combined with exclusive or: one entry per own frame.

    Entry i covers the frames d * N ticks before own frame i, for each distance d; N is the
    number of frames of the packet. With one distance it is a plain copy. On the wire it follows
    own frame i.

    distances: which of 1, 2 and 3 packets back, ascending. books: shape (N, 1 to 4).

    Raises:
        ValueError: a distance or a number of books is not possible.
    """

    distances: tuple[int, ...]
    books: tuple[Frame, ...]

    def __post_init__(self) -> None:
        if self.distances not in _DISTANCES.values():
            raise ValueError(f"distances {self.distances} are not some of 1, 2, 3 in order")
        if not self.books:
            raise ValueError("parity covers at least one frame")
        if len({len(one.indices) for one in self.books}) > 1 or self.width > MAX_BOOKS:
            raise ValueError(f"parity covers 1 to {MAX_BOOKS} books, of every frame the same")

    @property
    def width(self) -> int:
        """Number of books that are covered."""
        return len(self.books[0].indices)


_DISTANCES: Final = {
    mask: tuple(d for d in range(1, MAX_DISTANCE + 1) if mask >> d - 1 & 1)
    for mask in range(1, 1 << MAX_DISTANCE)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class VoicePacket:
    """Consecutive frames of a talk spurt, all with the same number of indices.

    tick: media time of the first frame in frames of 80 ms, modulo `TICKS`.
    start, end: the first and the last packet of a talk spurt; one packet may be both.
    parity: of frames in earlier packets. repair: the frames have been sent before or were
    computed from parity; their time of arrival says nothing about the path.

    Raises:
        ValueError: no frames, mixed numbers of indices, too many bytes or a wrong tick.
    """

    tick: int
    frames: tuple[Frame, ...]
    start: bool = False
    end: bool = False
    parity: Parity | None = None
    repair: bool = False

    def __post_init__(self) -> None:
        _check("tick", self.tick, _TICK)
        if not self.frames:
            raise ValueError("a voice packet has at least one frame")
        if len({len(frame.indices) for frame in self.frames}) > 1:
            raise ValueError("all frames of a packet have the same number of indices")
        if self.repair and (self.start or self.end or self.parity or self.quantizers > 8):
            raise ValueError("a repair has 1 to 8 indices per frame, no flags and no parity")
        width = 0
        if self.parity is not None:
            width = self.parity.width
            if len(self.parity.books) != len(self.frames):
                raise ValueError("parity has one entry for each frame")
            if self.quantizers + width > MAX_QUANTIZERS:
                raise ValueError(f"{self.quantizers} indices and {width} of parity are too many")
            if self.parity.distances[-1] * len(self.frames) > _OLDEST_PARITY:
                raise ValueError("parity reaches back too far")
        if voice_packet_length(len(self.frames), self.quantizers, width) > MAX_PACKET:
            raise ValueError(
                f"{len(self.frames)} frames of {self.quantizers} indices do not fit "
                f"into {MAX_PACKET} bytes"
            )

    @property
    def quantizers(self) -> int:
        """Indices per frame."""
        return len(self.frames[0].indices)


@dataclass(frozen=True, kw_only=True, slots=True)
class SilencePacket:
    """The talker is quiet from `tick` on.

    level_dbfs: background level; the wire carries whole numbers from -127 to 0.
    colour: shape of the background's spectrum, see `linkcodec.frame.Silence`.

    Raises:
        ValueError: a field does not fit.
    """

    tick: int
    level_dbfs: float
    colour: int = 0

    def __post_init__(self) -> None:
        _check("tick", self.tick, _TICK)
        _check("colour", self.colour, (1 << COLOUR_BITS) - 1)
        _check_level(self.level_dbfs)


@dataclass(frozen=True, kw_only=True, slots=True)
class HelloPacket:
    """Who speaks: version of the wire format and codec.

    Its form never changes, so that ends of different versions can say so in words; it is
    version 1's SILENCE.

    Raises:
        ValueError: a field does not fit.
    """

    tick: int
    level_dbfs: float
    format_version: int = FORMAT_VERSION
    codec_number: int = 0
    codec_version: int = 0

    def __post_init__(self) -> None:
        _check("tick", self.tick, _TICK)
        _check("format_version", self.format_version, 15)
        _check("codec_number", self.codec_number, 15)
        _check("codec_version", self.codec_version, 255)
        _check_level(self.level_dbfs)


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkPacket:
    """Who speaks, in full.

    weights: 16-bit hash of the codec's weights, 0 if not known. quantizers: most indices per
    frame. talker: number of the talker, 0 if there is only one.

    Raises:
        ValueError: a field does not fit.
    """

    tick: int
    codec_number: int
    codec_version: int
    quantizers: int
    weights: int = 0
    talker: int = 0

    def __post_init__(self) -> None:
        _check("tick", self.tick, _TICK)
        _check("codec_number", self.codec_number, 15)
        _check("codec_version", self.codec_version, 255)
        _check("quantizers", self.quantizers, MAX_QUANTIZERS, low=1)
        _check("weights", self.weights, 0xFFFF)
        _check("talker", self.talker, 255)


@dataclass(frozen=True, kw_only=True, slots=True)
class SidePacket:
    """A packet of the side channel; `transport.text` gives its body a meaning.

    Raises:
        ValueError: a field does not fit.
    """

    tick: int
    kind: int
    body: bytes

    def __post_init__(self) -> None:
        _check("tick", self.tick, _TICK)
        _check("kind", self.kind, 7)
        _check("bytes of the body", len(self.body), MAX_SIDE_BODY, low=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ByePacket:
    """The call ends at this tick.

    Raises:
        ValueError: a wrong tick.
    """

    tick: int

    def __post_init__(self) -> None:
        _check("tick", self.tick, _TICK)


Packet = VoicePacket | SilencePacket | ByePacket
"""What decides what is played: a jitter buffer takes these."""

WirePacket = Packet | HelloPacket | LinkPacket | SidePacket
"""All packets."""


def voice_packet_length(frames: int, quantizers: int, parity_books: int = 0) -> int:
    """Bytes of a voice packet before COBS; parity takes one byte more of header."""
    indices = frames * (quantizers + parity_books)
    return _OVERHEAD + (1 if parity_books else 0) + (indices * INDEX_BITS + 7) // 8


def frames_that_fit(quantizers: int, parity_books: int = 0) -> int:
    """Most frames that a packet of `MAX_PACKET` bytes holds."""
    room = 8 * (MAX_PACKET - _OVERHEAD - (1 if parity_books else 0))
    return room // ((quantizers + parity_books) * INDEX_BITS)


def serialise(packet: WirePacket) -> bytes:
    """The bytes of a packet, before COBS."""
    header, body = _content(packet)
    content = (header | packet.tick).to_bytes(2, "big") + body
    return content + check_bytes(content)


def _content(packet: WirePacket) -> tuple[int, bytes]:
    """Header without the tick, and body."""
    match packet:
        case VoicePacket():
            return _voice_content(packet)
        case SilencePacket():
            background = _level(packet.level_dbfs) << 16 | packet.colour << 4
            return _control(_SILENCE), background.to_bytes(3, "big")
        case HelloPacket():
            versions = packet.format_version << 4 | packet.codec_number
            body = bytes([versions, packet.codec_version, _level(packet.level_dbfs)])
            return _control(_HELLO), body
        case LinkPacket():
            body = bytes([packet.codec_number, packet.codec_version])
            body += packet.weights.to_bytes(2, "big")
            return _control(_LINK), body + bytes([packet.quantizers - 1 << 4, packet.talker])
        case SidePacket():
            return _control(_SIDE, packet.kind), packet.body
        case ByePacket():
            return _control(_BYE), b""


def _voice_content(packet: VoicePacket) -> tuple[int, bytes]:
    quantizers = packet.quantizers - 1
    if packet.repair:
        return _control(_REPAIR, quantizers), pack_frames(packet.frames)
    flags = packet.start << 1 | packet.end
    if packet.parity is None:
        return flags << 13 | quantizers << 9, pack_frames(packet.frames)
    parity = packet.parity
    mask = sum(1 << distance - 1 for distance in parity.distances)
    third = flags << 6 | parity.width - 1 << 4 | quantizers
    both = [
        Frame(frame.indices + books.indices)
        for frame, books in zip(packet.frames, parity.books, strict=True)
    ]
    return _control(_PARITY, mask), bytes([third]) + pack_frames(both)


def _control(subtype: int, argument: int = 0) -> int:
    return _CONTROL | subtype << 12 | argument << 9


def _level(level_dbfs: float) -> int:
    return round(min(127.0, max(0.0, -level_dbfs)))


def parse(data: bytes) -> WirePacket:
    """The packet that these bytes are, COBS already removed.

    Raises:
        PacketError: wrong length, wrong CRC, an unknown subtype or bits that must be 0.
    """
    if not _OVERHEAD <= len(data) <= MAX_PACKET:
        raise PacketError(f"a packet has {_OVERHEAD} to {MAX_PACKET} bytes, not {len(data)}")
    content = data[:-2]
    if check_bytes(content) != data[-2:]:
        raise PacketError("wrong CRC, or a packet of another format version")
    header = int.from_bytes(content[:2], "big")
    body = content[2:]
    if not header & _CONTROL:
        return VoicePacket(
            tick=header & _TICK,
            frames=_frames(body, (header >> 9 & MAX_QUANTIZERS - 1) + 1),
            start=bool(header & _START),
            end=bool(header & _END),
        )
    subtype, argument, tick = header >> 12 & 7, header >> 9 & 7, header & _TICK
    match subtype:
        case 4:
            return _parse_parity(argument, tick, body)
        case 5:
            return VoicePacket(tick=tick, frames=_frames(body, argument + 1), repair=True)
        case 6 if 1 <= len(body) <= MAX_SIDE_BODY:
            return SidePacket(tick=tick, kind=argument, body=body)
    if argument:
        raise PacketError("reserved bits of a control packet are set")
    return _parse_control(subtype, tick, body)


def check_bytes(content: bytes, *, version: bytes = _VERSION_BYTE) -> bytes:
    """The check over a packet; hello and bye keep it from version to version."""
    known_to_all = content[0] & 0xE0 == _CONTROL >> 8
    check = crc16.ibm_3740(content if known_to_all else content + version)
    return check.to_bytes(2, "big")


def foreign_version(data: bytes) -> int | None:
    """The format version, not this one, whose check these bytes pass; None if there is none."""
    for version in range(1, 16):
        if check_bytes(data[:-2], version=bytes([version])) == data[-2:]:
            return version if version != FORMAT_VERSION else None
    return None


def other_format(theirs: int, own: int = FORMAT_VERSION) -> str:
    """In words, why a sender of another format version is not heard."""
    return (
        f"the sender uses wire format {theirs}, this receiver {own}: "
        "install the same version of linkcodec on both sides"
    )


def _frames(body: bytes, quantizers: int) -> tuple[Frame, ...]:
    """The frames of `quantizers` indices that fill `body`."""
    count, spare = divmod(8 * len(body), quantizers * INDEX_BITS)
    if count < 1 or spare >= 8 or (body[-1] & (1 << spare) - 1):
        raise PacketError(f"{len(body)} bytes are not whole frames of {quantizers} indices")
    return tuple(unpack_frames(body, quantizers=quantizers, count=count))


def _parse_parity(mask: int, tick: int, body: bytes) -> VoicePacket:
    if not body or not mask:
        raise PacketError("a packet with parity lacks distances or frames")
    first = body[0]
    quantizers, width = (first & 15) + 1, (first >> 4 & 3) + 1
    if quantizers + width > MAX_QUANTIZERS:
        raise PacketError(f"{quantizers} indices and {width} of parity are too many")
    both = _frames(body[1:], quantizers + width)
    if _DISTANCES[mask][-1] * len(both) > _OLDEST_PARITY:
        raise PacketError("parity reaches back too far")
    return VoicePacket(
        tick=tick,
        frames=tuple(Frame(one.indices[:quantizers]) for one in both),
        start=bool(first & 0x80),
        end=bool(first & 0x40),
        parity=Parity(
            distances=_DISTANCES[mask],
            books=tuple(Frame(one.indices[quantizers:]) for one in both),
        ),
    )


def _parse_control(
    subtype: int, tick: int, body: bytes
) -> SilencePacket | HelloPacket | LinkPacket | ByePacket:
    if subtype == _SILENCE and len(body) == 3 and body[0] < 128 and not body[2] & 15:
        colour = body[1] << 4 | body[2] >> 4
        return SilencePacket(tick=tick, level_dbfs=float(-body[0]), colour=colour)
    if subtype == _HELLO and len(body) == 3 and body[2] < 128:
        return HelloPacket(
            tick=tick,
            level_dbfs=float(-body[2]),
            format_version=body[0] >> 4,
            codec_number=body[0] & 15,
            codec_version=body[1],
        )
    if subtype == _LINK and len(body) == 6 and body[0] < 16 and not body[4] & 15:
        return LinkPacket(
            tick=tick,
            codec_number=body[0],
            codec_version=body[1],
            weights=int.from_bytes(body[2:4], "big"),
            quantizers=(body[4] >> 4) + 1,
            talker=body[5],
        )
    if subtype == _BYE and not body:
        return ByePacket(tick=tick)
    raise PacketError(f"control packet of subtype {subtype} with {len(body)} bytes is unknown")
