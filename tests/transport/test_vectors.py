"""The test vectors, against the package and against a decoder that shares no code with it.

The decoder below follows docs/wire-format.md and works on strings of bits, as slowly and
plainly as possible.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from linkcodec.exceptions import PacketError
from transport.framing import StreamDeframer
from transport.packet import parse, serialise

ROOT = Path(__file__).parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "tests/vectors/wire-format-2.json").read_text())


def load_script() -> Any:
    path = ROOT / "scripts" / "make_vectors.py"
    spec = importlib.util.spec_from_file_location("make_vectors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def crc(data: bytes) -> int:
    value = 0xFFFF
    for bit in "".join(f"{byte:08b}" for byte in data):
        feedback = (value >> 15) ^ int(bit)
        value = (value << 1) & 0xFFFF
        if feedback:
            value ^= 0x1021
    return value


def uncobs(stream: bytes) -> bytes:
    assert stream[-1] == 0
    assert 0 not in stream[:-1]
    data, position = b"", 0
    while position < len(stream) - 1:
        code = stream[position]
        data += stream[position + 1 : position + code]
        position += code
        if code < 255 and position < len(stream) - 1:
            data += b"\0"
    return data


def decode(packet: bytes) -> dict[str, Any] | None:
    """The fields of a packet, or None if it must be refused."""
    if not 4 <= len(packet) <= 254:
        return None
    bits = "".join(f"{byte:08b}" for byte in packet[:-2])
    header, body = bits[:16], bits[16:]
    voice, subtype = header[0] == "0", int(header[1:4], 2)
    for_all_versions = not voice and subtype < 2
    hidden = b"" if for_all_versions else b"\x02"
    if crc(packet[:-2] + hidden) != int.from_bytes(packet[-2:], "big"):
        return None
    tick = int(header[7:], 2)
    if not voice:
        return decode_control(subtype, header[4:7], tick, body)
    frames = decode_frames(body, int(header[3:7], 2) + 1)
    if not frames:
        return None
    return {
        "type": "voice",
        "tick": tick,
        "start": header[1] == "1",
        "end": header[2] == "1",
        "frames": frames,
    }


def decode_frames(bits: str, length: int) -> list[list[int]] | None:
    count = len(bits) // (11 * length)
    spare = bits[11 * length * count :]
    if count == 0 or len(spare) > 7 or "1" in spare:
        return None
    indices = [int(bits[i : i + 11], 2) for i in range(0, 11 * length * count, 11)]
    return [indices[i : i + length] for i in range(0, len(indices), length)]


def decode_control(subtype: int, argument: str, tick: int, body: str) -> dict[str, Any] | None:
    if subtype == 4:
        return decode_parity(argument, tick, body)
    if subtype == 5:
        frames = decode_frames(body, int(argument, 2) + 1)
        return {"type": "repair", "tick": tick, "frames": frames} if frames else None
    if subtype == 6 and 8 <= len(body) <= 8 * 16:
        content = int(body, 2).to_bytes(len(body) // 8, "big").hex()
        return {"type": "side", "tick": tick, "kind": int(argument, 2), "body": content}
    return decode_fixed(subtype, tick, body) if argument == "000" else None


def decode_fixed(subtype: int, tick: int, body: str) -> dict[str, Any] | None:
    if subtype == 0 and len(body) == 24 and body[16] == "0":
        return {
            "type": "hello",
            "tick": tick,
            "level_dbfs": -int(body[17:], 2),
            "format_version": int(body[:4], 2),
            "codec_number": int(body[4:8], 2),
            "codec_version": int(body[8:16], 2),
        }
    if subtype == 1 and not body:
        return {"type": "bye", "tick": tick}
    if subtype == 2 and len(body) == 24 and body[0] == "0" and body[20:] == "0000":
        level, colour = -int(body[1:8], 2), int(body[8:20], 2)
        return {"type": "silence", "tick": tick, "level_dbfs": level, "colour": colour}
    if subtype == 3 and len(body) == 48 and body[:4] == "0000" and body[36:40] == "0000":
        return {
            "type": "link",
            "tick": tick,
            "codec_number": int(body[4:8], 2),
            "codec_version": int(body[8:16], 2),
            "weights": int(body[16:32], 2),
            "quantizers": int(body[32:36], 2) + 1,
            "talker": int(body[40:], 2),
        }
    return None


def decode_parity(mask: str, tick: int, body: str) -> dict[str, Any] | None:
    distances = [3 - place for place, bit in enumerate(mask) if bit == "1"][::-1]
    if not distances or len(body) < 8:
        return None
    covered, quantizers = int(body[2:4], 2) + 1, int(body[4:8], 2) + 1
    if quantizers + covered > 16:
        return None
    both = decode_frames(body[8:], quantizers + covered)
    if both is None or distances[-1] * len(both) > 256:
        return None
    return {
        "type": "voice",
        "tick": tick,
        "start": body[0] == "1",
        "end": body[1] == "1",
        "frames": [one[:quantizers] for one in both],
        "distances": distances,
        "parity": [one[quantizers:] for one in both],
    }


def test_crc_is_the_published_one() -> None:
    assert crc(b"123456789") == 0x29B1


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_valid_vectors(vector: dict[str, Any]) -> None:
    packet, stream = bytes.fromhex(vector["packet"]), bytes.fromhex(vector["stream"])
    assert decode(packet) == vector["fields"]
    assert uncobs(stream) == packet
    assert load_script().describe(parse(packet)) == vector["fields"]
    assert serialise(parse(packet)) == packet
    assert StreamDeframer().push(stream) == [packet]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_invalid_vectors(vector: dict[str, Any]) -> None:
    packet = bytes.fromhex(vector["packet"])
    assert decode(packet) is None
    with pytest.raises(PacketError):
        parse(packet)


DAMAGED = {"too long", "empty", "header only", "last byte missing", "one bit inverted"}
DAMAGED |= {"silence that claims to be voice", "voice check without the version"}
DAMAGED |= {"voice of version 1"}


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS["invalid"] if vector["name"] not in DAMAGED],
    ids=lambda vector: vector["name"],
)
def test_invalid_vectors_with_a_good_check_are_refused_for_their_content(
    vector: dict[str, Any],
) -> None:
    with pytest.raises(PacketError) as caught:
        parse(bytes.fromhex(vector["packet"]))
    assert "CRC" not in str(caught.value)


def test_file_is_what_the_script_writes() -> None:
    assert load_script().vectors() == VECTORS


def test_documentation_shows_the_vectors() -> None:
    text = (ROOT / "docs" / "wire-format.md").read_text()
    shown = ["one frame of one index, all bits set", "spurt end, 3 frames of 12", "silence", "bye"]
    shown += ["hello", "link", "copy, 4 frames of 5 and 2 books of 2 packets before"]
    for vector in VECTORS["valid"]:
        if vector["name"] in shown:
            assert vector["packet"] in text
            assert vector["stream"] in text
