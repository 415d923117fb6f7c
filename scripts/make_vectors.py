"""Write the test vectors of the wire format: python scripts/make_vectors.py

The file belongs into the repository. It changes only when the wire format does; the tests
compare it with this script's output and decode it with a decoder of their own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linkcodec.frame import Frame
from transport.framing import encode_stream
from transport.packet import ByePacket, Packet, SilencePacket, VoicePacket, serialise

VECTORS = Path(__file__).parent.parent / "tests" / "vectors" / "wire-format-1.json"


def _frames(count: int, quantizers: int) -> tuple[Frame, ...]:
    """Indices that look random and can be made anywhere: i-th index = 1103 i + 12 mod 2048."""
    indices = [(1103 * i + 12) % 2048 for i in range(count * quantizers)]
    return tuple(
        Frame(tuple(indices[i : i + quantizers])) for i in range(0, len(indices), quantizers)
    )


def packets() -> dict[str, Packet]:
    """The packets by name."""
    return {
        "one frame of one index": VoicePacket(tick=0, frames=(Frame((0,)),)),
        "one frame of one index, all bits set": VoicePacket(
            tick=511, frames=(Frame((2047,)),), start=True, end=True
        ),
        "spurt start, 7 frames of 8": VoicePacket(tick=300, frames=_frames(7, 8), start=True),
        "spurt middle, 6 frames of 6": VoicePacket(tick=17, frames=_frames(6, 6)),
        "spurt end, 3 frames of 12": VoicePacket(tick=256, frames=_frames(3, 12), end=True),
        "longest of 16, 11 frames": VoicePacket(tick=1, frames=_frames(11, 16)),
        "silence": SilencePacket(tick=42, level_dbfs=-57, codec_number=1, codec_version=1),
        "silence, level and version at their ends": SilencePacket(
            tick=511, level_dbfs=-127, format_version=15, codec_number=15, codec_version=255
        ),
        "bye": ByePacket(tick=409),
    }


def describe(packet: Packet) -> dict[str, Any]:
    """The fields of a packet as JSON has them."""
    match packet:
        case VoicePacket():
            return {
                "type": "voice",
                "tick": packet.tick,
                "start": packet.start,
                "end": packet.end,
                "frames": [list(frame.indices) for frame in packet.frames],
            }
        case SilencePacket():
            return {
                "type": "silence",
                "tick": packet.tick,
                "level_dbfs": packet.level_dbfs,
                "format_version": packet.format_version,
                "codec_number": packet.codec_number,
                "codec_version": packet.codec_version,
            }
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
    return {"format_version": 1, "valid": valid, "invalid": _invalid()}


def _invalid() -> list[dict[str, str]]:
    whole = serialise(packets()["spurt end, 3 frames of 12"])
    silence = serialise(packets()["silence"])
    bad = {
        "empty": b"",
        "header only": whole[:2],
        "last byte missing": whole[:-1],
        "one bit inverted": whole[:10] + bytes([whole[10] ^ 4]) + whole[11:],
        "silence that claims to be voice": bytes([silence[0] & 0x7F]) + silence[1:],
        "voice check without the version": bytes.fromhex("0000000084c0"),
        "spare bits of a voice packet set": bytes.fromhex("00000001321c"),
        "one byte more than the frames": bytes.fromhex("020000000000810c"),
        "voice without a frame": bytes.fromhex("0000dcbd"),
        "control packet with a reserved bit": bytes.fromhex("92006386"),
        "control packet of an unknown subtype": bytes.fromhex("a0000071"),
        "bye with a body": bytes.fromhex("900000b4a5"),
        "silence with a level above 127": bytes.fromhex("8000110180e536"),
        "too long": bytes(255),
    }
    return [{"name": name, "packet": data.hex()} for name, data in bad.items()]


if __name__ == "__main__":
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
