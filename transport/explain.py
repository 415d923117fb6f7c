"""What the bytes of a packet mean, field by field, for people who look at a capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from linkcodec.exceptions import PacketError
from transport.packet import (
    CODEC_NUMBERS,
    TICKS,
    ByePacket,
    HelloPacket,
    LinkPacket,
    SidePacket,
    SilencePacket,
    VoicePacket,
    WirePacket,
    check_bytes,
    parse,
)
from transport.sealing import ANNOUNCEMENT
from transport.security import ANNOUNCEMENT_BYTES, Announcement
from transport.text import SideKind

__all__ = ["NO_PACKET", "Explanation", "explain"]

NO_PACKET: Final = "no packet"
"""Name of an explanation of bytes that are none."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A packet's name, and its fields in the order of the wire with their values in words."""

    name: str
    fields: tuple[tuple[str, str], ...]


def explain(data: bytes) -> Explanation:
    """Explain a packet (COBS removed); bytes that are none get the reason."""
    if data and data[0] & 0xF0 == ANNOUNCEMENT:
        return _announcement(data)
    try:
        packet = parse(data)
    except PacketError as error:
        return Explanation(name=NO_PACKET, fields=(("reason", str(error)),))
    fields = [*_fields(packet), ("CRC", f"{data[-2:].hex()}, right")]
    return Explanation(name=_name(packet), fields=tuple(fields))


def _announcement(data: bytes) -> Explanation:
    try:
        told = Announcement.parse(data[2:-2])
    except PacketError as error:
        return Explanation(name=NO_PACKET, fields=(("reason", str(error)),))
    right = check_bytes(data[:-2]) == data[-2:]
    fields = (
        ("tick", str(int.from_bytes(data[:2], "big") % TICKS)),
        ("security", str(told.suite)),
        ("station", str(told.station)),
        ("session", f"{told.session:012x}"),
        ("tick now", str(told.tick)),
        ("tag", data[2 + ANNOUNCEMENT_BYTES : -2].hex()),
        ("CRC", f"{data[-2:].hex()}, {'right' if right else 'wrong'}"),
    )
    return Explanation(name="SESSION", fields=fields)


def _name(packet: WirePacket) -> str:
    match packet:
        case VoicePacket(repair=True):
            return "REPAIR"
        case VoicePacket(parity=None):
            return "voice"
        case VoicePacket():
            return "VOICE WITH PARITY"
        case SidePacket(kind=kind):
            known = kind in set(SideKind)
            return f"SIDE {SideKind(kind).name if known else kind}"
    return type(packet).__name__.removesuffix("Packet").upper()


def _codec(number: int) -> str:
    names = {value: name for name, value in CODEC_NUMBERS.items()}
    return f"{number} ({names.get(number, 'another codec')})"


def _fields(packet: WirePacket) -> list[tuple[str, str]]:
    tick = ("tick", str(packet.tick))
    match packet:
        case VoicePacket():
            return _voice_fields(packet)
        case SilencePacket():
            level = f"{packet.level_dbfs:.0f} dB full scale"
            return [tick, ("level", level), ("colour", f"0x{packet.colour:03x}")]
        case HelloPacket():
            return [
                tick,
                ("format version", str(packet.format_version)),
                ("codec number", _codec(packet.codec_number)),
                ("codec version", str(packet.codec_version)),
                ("level", f"{packet.level_dbfs:.0f} dB full scale"),
            ]
        case LinkPacket():
            return [
                tick,
                ("codec number", _codec(packet.codec_number)),
                ("codec version", str(packet.codec_version)),
                ("weights", f"0x{packet.weights:04x}" if packet.weights else "not told"),
                ("books", str(packet.quantizers)),
                ("talker", str(packet.talker or "not told")),
            ]
        case SidePacket():
            return [tick, ("body", packet.body.hex())]
        case ByePacket():
            return [tick]


def _voice_fields(packet: VoicePacket) -> list[tuple[str, str]]:
    flags = [name for name, is_set in (("start", packet.start), ("end", packet.end)) if is_set]
    fields = [("tick", str(packet.tick))]
    if not packet.repair:
        fields.append(("flags", " and ".join(flags) or "none"))
    fields.append(("books", str(packet.quantizers)))
    for place, frame in enumerate(packet.frames):
        fields.append((f"frame {packet.tick + place}", " ".join(map(str, frame.indices))))
    if packet.parity is not None:
        distances = ", ".join(map(str, packet.parity.distances))
        fields.append(("parity", f"{packet.parity.width} books, distances {distances}"))
        for place, books in enumerate(packet.parity.books):
            fields.append((f"parity of {place}", " ".join(map(str, books.indices))))
    return fields
