"""Write the test vectors of the wire format: python scripts/make_vectors.py

The file belongs into the repository. It changes only when the wire format does; the tests
compare it with this script's output and decode it with a decoder of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastcrc import crc16

from linkcodec.frame import Frame
from transport.framing import encode_stream
from transport.packet import (
    FORMAT_VERSION,
    ByePacket,
    HelloPacket,
    LinkPacket,
    Parity,
    SidePacket,
    SilencePacket,
    VoicePacket,
    WirePacket,
    serialise,
)
from transport.text import SideKind, report_body, station_body, talker_body, text_fragments
from transport.wire import ReceiverReport, TalkerKey

VECTORS = Path(__file__).parent.parent / "tests" / "vectors" / "wire-format-2.json"


def _frames(count: int, quantizers: int) -> tuple[Frame, ...]:
    """Indices that look random and can be made anywhere: i-th index = 1103 i + 12 mod 2048."""
    indices = [(1103 * i + 12) % 2048 for i in range(count * quantizers)]
    return tuple(
        Frame(tuple(indices[i : i + quantizers])) for i in range(0, len(indices), quantizers)
    )


def packets() -> dict[str, WirePacket]:
    """The packets by name."""
    return _speech() | _control()


def _speech() -> dict[str, WirePacket]:
    return {
        "one frame of one index": VoicePacket(tick=0, frames=(Frame((0,)),)),
        "one frame of one index, all bits set": VoicePacket(
            tick=511, frames=(Frame((2047,)),), start=True, end=True
        ),
        "spurt start, 7 frames of 8": VoicePacket(tick=300, frames=_frames(7, 8), start=True),
        "spurt middle, 6 frames of 6": VoicePacket(tick=17, frames=_frames(6, 6)),
        "spurt end, 3 frames of 12": VoicePacket(tick=256, frames=_frames(3, 12), end=True),
        "longest of 16, 11 frames": VoicePacket(tick=1, frames=_frames(11, 16)),
        "copy, 4 frames of 5 and 2 books of 2 packets before": VoicePacket(
            tick=508,
            frames=_frames(4, 5),
            end=True,
            parity=Parity(distances=(2,), books=_frames(4, 2)),
        ),
        "parity of the packets 1 and 3 before, 2 frames of 12 and 4 books": VoicePacket(
            tick=9,
            frames=_frames(2, 12),
            start=True,
            parity=Parity(distances=(1, 3), books=_frames(2, 4)),
        ),
        "repair, 8 frames of 2": VoicePacket(tick=100, frames=_frames(8, 2), repair=True),
    }


def _control() -> dict[str, WirePacket]:
    report = ReceiverReport(loss=0.1, residual=0.02, burst=2.25)
    sides = {
        "text, its only fragment": (SideKind.TEXT, text_fragments("QSY 7", number=3)[0]),
        "text, the second of three fragments": (
            SideKind.TEXT,
            text_fragments("MEET AT THE LAKE 1800", number=255)[1],
        ),
        "station": (SideKind.STATION, station_body("N0CALL/P")),
        "talker presses the key": (SideKind.TALKER, talker_body(TalkerKey(talker=7, down=True))),
        "receiver's report": (SideKind.REPORT, report_body(report)),
    }
    return {
        "silence": SilencePacket(tick=42, level_dbfs=-57, colour=0xABC),
        "silence, level and colour at their ends": SilencePacket(
            tick=511, level_dbfs=-127, colour=4095
        ),
        "hello": HelloPacket(tick=42, level_dbfs=-57, codec_number=1, codec_version=1),
        "hello, level and version at their ends": HelloPacket(
            tick=511, level_dbfs=-127, format_version=15, codec_number=15, codec_version=255
        ),
        "link": LinkPacket(
            tick=43, codec_number=1, codec_version=2, quantizers=8, weights=0xBEEF, talker=7
        ),
        "bye": ByePacket(tick=409),
        **{name: SidePacket(tick=44, kind=kind, body=body) for name, (kind, body) in sides.items()},
    }


def describe(packet: WirePacket) -> dict[str, Any]:
    """The fields of a packet as JSON has them."""
    match packet:
        case VoicePacket():
            fields: dict[str, Any] = {
                "type": "repair" if packet.repair else "voice",
                "tick": packet.tick,
                "frames": [list(frame.indices) for frame in packet.frames],
            }
            if not packet.repair:
                fields |= {"start": packet.start, "end": packet.end}
            if packet.parity is not None:
                fields["distances"] = list(packet.parity.distances)
                fields["parity"] = [list(books.indices) for books in packet.parity.books]
            return fields
        case SilencePacket():
            return {
                "type": "silence",
                "tick": packet.tick,
                "level_dbfs": packet.level_dbfs,
                "colour": packet.colour,
            }
        case HelloPacket():
            return {
                "type": "hello",
                "tick": packet.tick,
                "level_dbfs": packet.level_dbfs,
                "format_version": packet.format_version,
                "codec_number": packet.codec_number,
                "codec_version": packet.codec_version,
            }
        case LinkPacket():
            return {
                "type": "link",
                "tick": packet.tick,
                "codec_number": packet.codec_number,
                "codec_version": packet.codec_version,
                "weights": packet.weights,
                "quantizers": packet.quantizers,
                "talker": packet.talker,
            }
        case SidePacket():
            body = packet.body.hex()
            return {"type": "side", "tick": packet.tick, "kind": packet.kind, "body": body}
        case ByePacket():
            return {"type": "bye", "tick": packet.tick}


def vectors() -> dict[str, Any]:
    """The content of the vector file."""
    valid = []
    for name, packet in packets().items():
        data = serialise(packet)
        valid.append(
            {
                "name": name,
                "packet": data.hex(),
                "stream": encode_stream(data).hex(),
                "fields": describe(packet),
            }
        )
    return {"format_version": FORMAT_VERSION, "valid": valid, "invalid": _invalid()}


def _checked(content: str, *, version: bytes = bytes([FORMAT_VERSION])) -> bytes:
    """The content with its CRC, whatever sense it makes."""
    raw = bytes.fromhex(content)
    return raw + crc16.ibm_3740(raw + version).to_bytes(2, "big")


def _invalid() -> list[dict[str, str]]:
    whole = serialise(packets()["spurt end, 3 frames of 12"])
    silence = serialise(packets()["silence"])
    wrong = {
        "empty": b"",
        "header only": whole[:2],
        "last byte missing": whole[:-1],
        "one bit inverted": whole[:10] + bytes([whole[10] ^ 4]) + whole[11:],
        "silence that claims to be voice": bytes([silence[0] & 0x7F]) + silence[1:],
        "voice check without the version": _checked("00000000", version=b""),
        "voice of version 1": _checked("00000000", version=b"\x01"),
        "too long": bytes(255),
    }
    # These have a good check and are refused for their content.
    contents = {
        "spare bits of a voice packet set": "00000001",
        "one byte more than the frames": "020000000000",
        "voice without a frame": "0000",
        "parity without distances": "c0000000000000",
        "parity and indices beyond 16": "c2003f" + 26 * "00",
        "repair without a frame": "d000",
        "silence with a spare bit": "a0003c0001",
        "silence with a level above 127": "a000800000",
        "link with a spare bit": "b00001010000f100",
        "side channel without a body": "e000",
        "side channel with 17 bytes": "e000" + 17 * "00",
        "packet of an unknown subtype": "f000",
        "silence with an argument": "a2003c0000",
    }
    bad = wrong | {name: _checked(content) for name, content in contents.items()}
    bad |= {
        "hello with an argument": _checked("820021013c", version=b""),
        "hello with a level above 127": _checked("8000210180", version=b""),
        "bye with a body": _checked("900000", version=b""),
    }
    return [{"name": name, "packet": data.hex()} for name, data in bad.items()]


if __name__ == "__main__":
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
