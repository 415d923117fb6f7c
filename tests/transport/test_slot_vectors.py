"""The test vectors of slot mode, against a decoder that shares no code with the package.

It follows docs/slots.md and works on strings of bits, slowly and plainly, without repair.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "tests/vectors/slot-format-2.json").read_text())

SYNC = ["001", "000", "000", "001", "010", "100", "010", "100"]
GENERATORS = {
    (6, 1): 0x43,
    (6, 2): 0x1539,
    (6, 3): 0x782CF,
    (7, 2): 0x4377,
    (7, 3): 0x26D9E3,
    (7, 4): 0x1C9C26B9,
    (7, 6): 0x58E24F9A4BB,
    (8, 2): 0x16F63,
}
CRC = ["", "1", "11", "011", "0011", "00101", "000011", "0001001", "00000111"]
ALPHABET = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/."
# K and line of the table in the document: covered indices, field, errors, check bits
SPEECH = {
    (89, 8): (2, 0, 0, 1),
    (89, 7): (4, 6, 2, 0),
    (89, 6): (6, 7, 3, 2),
    (89, 5): (5, 7, 4, 6),
    (66, 6): (2, 0, 0, 0),
    (66, 4): (4, 6, 3, 1),
    (145, 12): (4, 6, 2, 1),
}
WORDS = {89: (7, 3), 66: (7, 2), 96: (7, 4), 64: (6, 1)}


def remainder(bits: str, generator: str) -> str:
    work = [int(bit) for bit in bits]
    for start in range(len(bits) - len(generator) + 1):
        if work[start]:
            for i, bit in enumerate(generator):
                work[start + i] ^= int(bit)
    return "".join(map(str, work[len(bits) - len(generator) + 1 :]))


def whitening(count: int) -> str:
    bits = [1] * 15
    while len(bits) < 15 + count:
        bits.append(bits[-15] ^ bits[-14])
    return "".join(map(str, bits[15:]))


def xor(one: str, other: str) -> str:
    return "".join(str(int(a) ^ int(b)) for a, b in zip(one, other, strict=True))


def crc16(data: bytes) -> int:
    value = 0xFFFF
    for bit in "".join(f"{byte:08b}" for byte in data):
        feedback = (value >> 15) ^ int(bit)
        value = (value << 1) & 0xFFFF ^ (0x1021 if feedback else 0)
    return value


def golay(word: str) -> str:
    assert remainder(word[:23], f"{0xC75:b}") == "0" * 11
    assert word.count("1") % 2 == 0
    return word[:12]


def speech(word: str, quantizers: int) -> list[int]:
    covered, field, errors, check = SPEECH[len(word), quantizers]
    message = 11 * covered + check
    parity = f"{GENERATORS[field, errors]:b}" if field else "1"
    coded = message + len(parity) - 1
    assert remainder(word[:coded], parity) in ("", "0" * (len(parity) - 1))
    fine = 11 * (quantizers - covered)
    assert "1" not in word[coded + fine :]
    if check:
        assert remainder(word[:22] + word[11 * covered : message], "1" + CRC[check]) == "0" * check
    indices = word[: 11 * covered] + word[coded : coded + fine]
    return [int(indices[i : i + 11], 2) for i in range(0, len(indices), 11)]


def control(word: str, body_bits: int) -> tuple[int, bytes]:
    if len(word) == 145:
        message = word[: 4 + body_bits + 16]  # m 8, 8 errors: the generator is not in the table
    else:
        generator = f"{GENERATORS[WORDS[len(word)]]:b}"
        size = 4 + body_bits + 16 + len(generator) - 1
        assert remainder(word[:size], generator) == "0" * (len(generator) - 1)
        assert "1" not in word[size:]
        message = word[: 4 + body_bits + 16]
    kind = int(message[:4], 2)
    body = int(message[4 : 4 + body_bits], 2).to_bytes(body_bits // 8, "big")
    assert crc16(bytes([kind]) + body) == int(message[-16:], 2)
    return kind, body


def station(body: bytes) -> str:
    value = int.from_bytes(body, "big")
    text = ""
    for _ in range(9 if len(body) == 6 else 6):
        value, letter = divmod(value, 40)
        text = ALPHABET[letter] + text
    return text.rstrip()


class Decoder:
    """Reads the slots of one vector."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self.slots = ["".join(f"{b:08b}" for b in bytes.fromhex(slot)) for slot in vector["slots"]]
        bits = len(self.slots[0])
        self.e = 1 if bits >= 96 else 0
        self.n = bits - 6 - self.e
        self.body_bits = 48 if self.e else 32
        self.depth = vector["interleaver_slots"]
        self.pn = whitening(8 * self.n)

    def start(self) -> tuple[int, int]:
        payload = self.slots[0][6 + self.e :]
        assert payload[:40] == f"{0xA66F3B1C5E:040b}"
        assert "1" not in payload[64:]
        word = golay(payload[40:64])
        assert word[11] == "0"
        return int(word[:7], 2), int(word[7:11], 2) + 1

    def words(self, first: int) -> list[str]:
        """Payload words, deinterleaved, by the slot that they begin in."""
        payloads = []
        for number, slot in enumerate(self.slots[1:], start=first):
            index = number % 8
            payload = slot[6 + self.e :]
            payloads.append(xor(payload, self.pn[index * self.n : (index + 1) * self.n]))
        return [
            "".join(payloads[i + j % self.depth][j] for j in range(self.n))
            for i in range(len(payloads) - self.depth + 1)
        ]


@pytest.mark.parametrize(
    "vector", VECTORS["calls"], ids=lambda v: f"{v['framing']}-{v['rate']}-{v['quantizers']}"
)
def test_every_slot_says_what_it_should(vector: dict[str, Any]) -> None:
    decoder = Decoder(vector)
    number, quantizers = decoder.start()
    number -= 128 if number >= 64 else 0
    assert quantizers == vector["quantizers"]
    words = decoder.words(number)
    frames: dict[str, list[int]] = {}
    kinds: dict[int, bytes] = {}
    for place, word in enumerate(words, start=number):
        sync = decoder.slots[1 + place - number][:3]
        if sync == SYNC[place % 8]:
            frames[str(place)] = speech(word, quantizers)
        else:
            assert xor(sync, "111") == SYNC[place % 8]
            kind, body = control(word, decoder.body_bits)
            kinds.setdefault(kind, body)
    assert frames == vector["frames"]
    assert kinds[0][:3] == (57 << 12 | 0xABC).to_bytes(3, "big")
    assert kinds[1][:4] == bytes([0x21, 1, 0xBE, 0xEF])
    assert 3 in kinds


@pytest.mark.parametrize(
    "vector", VECTORS["calls"], ids=lambda v: f"{v['framing']}-{v['rate']}-{v['quantizers']}"
)
def test_headers_and_side_channel(vector: dict[str, Any]) -> None:
    decoder = Decoder(vector)
    number, quantizers = decoder.start()
    number -= 128 if number >= 64 else 0
    first = -number % 8
    side = {}
    slots = decoder.slots[1:]
    for at in range(first, len(slots) - 7, 8):
        eight = slots[at : at + 8]
        superframe = (number + at) // 8
        word = golay("".join(slot[3:6] for slot in eight))
        assert int(word[:4], 2) == superframe % 16
        assert int(word[4:8], 2) + 1 == quantizers
        side[superframe] = word[8:] + "".join(slot[6 : 6 + decoder.e] for slot in eight)
    blocks = 8 if decoder.e else 16
    read = []
    for superframe in side:
        block = [side.get(superframe + i) for i in range(blocks)]
        if superframe % blocks == 0 and None not in block:
            bits = "".join(part for part in block if part is not None)
            read.append(control(bits, decoder.body_bits))
    assert read
    for kind, body in read:
        assert kind in (1, 5, 6, 7)
        if kind == 5:
            assert station(body) == "DL1ABC/P"
        elif kind == 1:
            assert body[0] == 0x21


def test_the_file_is_what_the_script_writes() -> None:
    path = ROOT / "scripts" / "make_slot_vectors.py"
    spec = importlib.util.spec_from_file_location("make_slot_vectors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.vectors() == VECTORS


def test_generators_and_words_stand_in_the_document() -> None:
    text = (ROOT / "docs" / "slots.md").read_text()
    for generator in GENERATORS.values():
        assert f"`{generator:#x}`" in text
    assert " ".join(SYNC) in text
    assert "A66F3B1C5E" in text
