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
VECTORS: dict[str, Any] = json.loads((ROOT / "tests/vectors/wire-format-1.json").read_text())


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
    voice = header[0] == "0"
    if crc(packet[:-2] + (b"\x01" if voice else b"")) != int.from_bytes(packet[-2:], "big"):
        return None
    tick = int(header[7:], 2)
    if not voice:
        return decode_control(header, tick, body)
    quantizers = int(header[3:7], 2) + 1
    count = len(body) // (11 * quantizers)
    spare = body[11 * quantizers * count :]
    if count == 0 or len(spare) > 7 or "1" in spare:
        return None
    indices = [int(body[i : i + 11], 2) for i in range(0, 11 * quantizers * count, 11)]
    return {
        "type": "voice",
        "tick": tick,
        "start": header[1] == "1",
        "end": header[2] == "1",
        "frames": [indices[i : i + quantizers] for i in range(0, len(indices), quantizers)],
    }


def decode_control(header: str, tick: int, body: str) -> dict[str, Any] | None:
    if header[4:7] != "000":
        return None
    if header[1:4] == "000" and len(body) == 24 and body[16] == "0":
        return {
            "type": "silence",
            "tick": tick,
            "level_dbfs": -int(body[17:], 2),
            "format_version": int(body[:4], 2),
            "codec_number": int(body[4:8], 2),
            "codec_version": int(body[8:16], 2),
        }
    if header[1:4] == "001" and not body:
        return {"type": "bye", "tick": tick}
    return None


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


@pytest.mark.parametrize(
    "name",
    [
        "spare bits of a voice packet set",
        "one byte more than the frames",
        "voice without a frame",
        "control packet with a reserved bit",
        "control packet of an unknown subtype",
        "bye with a body",
        "silence with a level above 127",
    ],
)
def test_invalid_vectors_with_a_good_check_are_refused_for_their_content(name: str) -> None:
    (packet,) = (bytes.fromhex(v["packet"]) for v in VECTORS["invalid"] if v["name"] == name)
    with pytest.raises(PacketError) as caught:
        parse(packet)
    assert "CRC" not in str(caught.value)


def test_file_is_what_the_script_writes() -> None:
    assert load_script().vectors() == VECTORS


def test_documentation_shows_the_vectors() -> None:
    text = (ROOT / "docs" / "wire-format.md").read_text()
    shown = ["one frame of one index, all bits set", "spurt end, 3 frames of 12", "silence", "bye"]
    for vector in VECTORS["valid"]:
        if vector["name"] in shown:
            assert vector["packet"] in text
            assert vector["stream"] in text
