"""Packets of wire format 1: values, `serialise` and `parse`. See docs/wire-format.md.

Header, 16 bits, most significant first:
    voice    0 | start | end | quantizers - 1 (4) | tick (9)
    control  1 | subtype (3) | reserved, 0 (3)    | tick (9)
A body follows, then a CRC-16 (CRC-16/IBM-3740), most significant byte first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastcrc import crc16

from linkcodec.exceptions import PacketError
from linkcodec.frame import INDEX_BITS, MAX_QUANTIZERS, Frame
from linkcodec.frame_bits import pack_frames, unpack_frames

__all__ = [
    "FORMAT_VERSION",
    "MAX_PACKET",
    "TICKS",
    "ByePacket",
    "Packet",
    "SilencePacket",
    "VoicePacket",
    "frames_that_fit",
    "parse",
    "serialise",
    "voice_packet_length",
]

FORMAT_VERSION: Final = 1
"""Version of the wire format; part of every voice packet's CRC, not transmitted."""

MAX_PACKET: Final = 254
"""Most bytes of a packet, so that COBS adds exactly one."""

TICKS: Final = 512
"""Ticks before the 9-bit count of 80 ms frames starts again at 0: 40.96 s."""

CODEC_NUMBERS: Final = {"compact": 1, "qwen3-12hz": 2, "mimi": 3}
"""Codec numbers of the SILENCE packet; 0 stands for any other codec."""

_OVERHEAD: Final = 4
_VERSION_BYTE: Final = bytes([FORMAT_VERSION])
_CONTROL: Final = 0x8000
_START: Final = 0x4000
_END: Final = 0x2000
_RESERVED: Final = 0x0E00
_TICK: Final = TICKS - 1
_SILENCE: Final = 0
_BYE: Final = 1
_SILENCE_BODY: Final = 3


def _check(name: str, value: int, high: int) -> None:
    if not 0 <= value <= high:
        raise ValueError(f"{name} = {value} lies outside 0..{high}")


@dataclass(frozen=True, kw_only=True, slots=True)
class VoicePacket:
    """Consecutive frames of a talk spurt, all with the same number of indices.

    tick: media time of the first frame in frames of 80 ms, modulo `TICKS`.
    start, end: the first and the last packet of a talk spurt; one packet may be both.

    Raises:
        ValueError: no frames, mixed numbers of indices, too many bytes or a wrong tick.
    """

    tick: int
    frames: tuple[Frame, ...]
    start: bool = False
    end: bool = False

    def __post_init__(self) -> None:
        _check("tick", self.tick, _TICK)
        if not self.frames:
            raise ValueError("a voice packet has at least one frame")
        if len({len(frame.indices) for frame in self.frames}) > 1:
            raise ValueError("all frames of a packet have the same number of indices")
        if voice_packet_length(len(self.frames), self.quantizers) > MAX_PACKET:
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
    """The talker is quiet; also says what the speech is coded with.

    Its form never changes, so that ends of different versions can say so in words.
    level_dbfs: background level; the wire carries whole numbers from -127 to 0.

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
        if self.level_dbfs != self.level_dbfs:
            raise ValueError("level_dbfs is not a number")


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


def voice_packet_length(frames: int, quantizers: int) -> int:
    """Bytes of a voice packet before COBS."""
    return _OVERHEAD + (frames * quantizers * INDEX_BITS + 7) // 8


def frames_that_fit(quantizers: int) -> int:
    """Most frames that a packet of `MAX_PACKET` bytes holds."""
    return (MAX_PACKET - _OVERHEAD) * 8 // (quantizers * INDEX_BITS)


def serialise(packet: Packet) -> bytes:
    """The bytes of a packet, before COBS."""
    match packet:
        case VoicePacket():
            header = (packet.quantizers - 1) << 9 | packet.tick
            header |= (_START if packet.start else 0) | (_END if packet.end else 0)
            body = pack_frames(packet.frames)
        case SilencePacket():
            header = _CONTROL | _SILENCE << 12 | packet.tick
            level = round(min(127.0, max(0.0, -packet.level_dbfs)))
            versions = packet.format_version << 4 | packet.codec_number
            body = bytes([versions, packet.codec_version, level])
        case ByePacket():
            header = _CONTROL | _BYE << 12 | packet.tick
            body = b""
    content = header.to_bytes(2, "big") + body
    return content + _crc(content, voice=not header & _CONTROL)


def parse(data: bytes) -> Packet:
    """The packet that these bytes are, COBS already removed.

    Raises:
        PacketError: wrong length, wrong CRC, an unknown subtype or bits that must be 0.
    """
    if not _OVERHEAD <= len(data) <= MAX_PACKET:
        raise PacketError(f"a packet has {_OVERHEAD} to {MAX_PACKET} bytes, not {len(data)}")
    content = data[:-2]
    header = int.from_bytes(content[:2], "big")
    if _crc(content, voice=not header & _CONTROL) != data[-2:]:
        raise PacketError("wrong CRC, or a voice packet of another format version")
    if header & _CONTROL:
        return _parse_control(header, content[2:])
    return _parse_voice(header, content[2:])


def _crc(content: bytes, *, voice: bool) -> bytes:
    check = crc16.ibm_3740(content + _VERSION_BYTE if voice else content)
    return check.to_bytes(2, "big")


def _parse_voice(header: int, body: bytes) -> VoicePacket:
    quantizers = (header >> 9 & MAX_QUANTIZERS - 1) + 1
    bits = 8 * len(body)
    count, spare = divmod(bits, quantizers * INDEX_BITS)
    if count < 1 or spare >= 8 or (body[-1] & (1 << spare) - 1):
        raise PacketError(f"{len(body)} bytes are not whole frames of {quantizers} indices")
    return VoicePacket(
        tick=header & _TICK,
        frames=tuple(unpack_frames(body, quantizers=quantizers, count=count)),
        start=bool(header & _START),
        end=bool(header & _END),
    )


def _parse_control(header: int, body: bytes) -> SilencePacket | ByePacket:
    subtype = header >> 12 & 7
    if header & _RESERVED:
        raise PacketError("reserved bits of a control packet are set")
    if subtype == _SILENCE and len(body) == _SILENCE_BODY and body[2] < 128:
        return SilencePacket(
            tick=header & _TICK,
            level_dbfs=float(-body[2]),
            format_version=body[0] >> 4,
            codec_number=body[0] & 15,
            codec_version=body[1],
        )
    if subtype == _BYE and not body:
        return ByePacket(tick=header & _TICK)
    raise PacketError(f"control packet of subtype {subtype} with {len(body)} bytes is unknown")
