"""The test vectors of slot mode, against a decoder that shares no code with the package.

It follows docs/slots.md and works on strings of bits, slowly and plainly, without repair.
"""

from __future__ import annotations

import hmac
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

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


SECURED_SPEECH = {(89, 7): (2, 0, 0), (89, 5): (5, 7, 3), (66, 5): (2, 0, 0)}
"""Covered indices, field and errors, with 11 bits of keyed check."""


class Keys:
    """The keys of its session, as docs/security.md says."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self.encrypts = vector["mode"] == "encrypted"
        self.session = bytes.fromhex(vector["session"])
        self.station = bytes([vector["station"]])
        suite = 8 * self.encrypts + 1
        info = b"linkcodec session" + bytes([1, suite]) + self.station
        secret = hmac.digest(self.session, bytes.fromhex(vector["key"]), "sha256")
        keys = block = b""
        for place in (1, 2, 3):
            block = hmac.digest(secret, block + info + bytes([place]), "sha256")
            keys += block
        self.masking, self.signing = keys[32:64], keys[64:]

    def mask(self, counter: int, size: int) -> str:
        if not self.encrypts:
            return "0" * size
        blocks = b"".join(counter.to_bytes(8, "big") + i.to_bytes(8, "big") for i in range(2))
        aes = Cipher(algorithms.AES(self.masking), modes.ECB()).encryptor()  # noqa: S305
        return "".join(f"{byte:08b}" for byte in aes.update(blocks))[:size]

    def check(self, domain: int, counter: int, content: bytes, size: int) -> str:
        mac = CMAC(algorithms.AES(self.signing))
        mac.update(bytes([domain]) + counter.to_bytes(8, "big") + content)
        return "".join(f"{byte:08b}" for byte in mac.finalize())[:size]

    def told(self, counter: int) -> str:
        content = self.session + self.station + (counter // 128 % 65536).to_bytes(2, "big")
        bits = "".join(f"{byte:08b}" for byte in content)
        return bits + self.check(3, counter, content, 16)


def secured_speech(word: str, quantizers: int, number: int, keys: Keys) -> tuple[list[int], str]:
    """The indices, and the piece of its session, empty outside of session superframes."""
    covered, field, errors = SECURED_SPEECH[len(word), quantizers]
    message = 11 * covered + 11
    parity = f"{GENERATORS[field, errors]:b}" if field else "1"
    coded = message + len(parity) - 1
    fine = 11 * (quantizers - covered)
    plain = xor(word, keys.mask(number + 65536, len(word)))
    piece, more = "", b""
    if number // 8 % 8 == 0:
        last = coded + fine - 11 if fine else 11 * covered - 11
        piece, more = word[last : last + 11], b"\1"
        plain = plain[:last] + "0" * 11 + plain[last + 11 :]
    assert remainder(plain[:coded], parity) in ("", "0" * (len(parity) - 1))
    assert "1" not in plain[coded + fine :]
    content = int(plain[:22], 2).to_bytes(4, "big") + more
    assert plain[11 * covered : message] == keys.check(0, number + 65536, content, 11)
    bits = plain[: 11 * covered] + plain[coded : coded + fine]
    indices = [int(bits[i : i + 11], 2) for i in range(0, len(bits), 11)]
    return indices[:-1] if piece else indices, piece


@pytest.mark.parametrize(
    "vector",
    VECTORS["secured"],
    ids=lambda v: f"{v['framing']}-{v['quantizers']}-{v['mode']}",
)
def test_every_secured_slot_says_what_it_should(vector: dict[str, Any]) -> None:
    decoder, keys = Decoder(vector), Keys(vector)
    number, quantizers = decoder.start()
    number -= 128 if number >= 64 else 0
    frames: dict[str, list[int]] = {}
    pieces: dict[int, str] = {}
    kinds: dict[int, int] = {}
    halves = ""
    for place, word in enumerate(decoder.words(number), start=number):
        if decoder.slots[1 + place - number][:3] == SYNC[place % 8]:
            frames[str(place)], piece = secured_speech(word, quantizers, place, keys)
            pieces[place // 8] = pieces.get(place // 8, "") + piece
        elif decoder.e and word[:56] == keys.told(place + 65536)[:56]:
            assert word == keys.told(place + 65536).ljust(len(word), "0")
            kinds[-1] = kinds.get(-1, 0) + 1
        elif not decoder.e and "1" not in word[45:]:
            assert word[0] == ("1" if halves else "0")
            halves += word[1:45]
            if word[0] == "1":
                assert halves == keys.told(place - 1 + 65536)
                halves = ""
                kinds[-1] = kinds.get(-1, 0) + 1
        else:
            plain = xor(word, keys.mask(place + 65536, len(word)))
            kind = int(plain[:4], 2)
            body = int(plain[4 : 4 + decoder.body_bits], 2).to_bytes(decoder.body_bits // 8, "big")
            check = plain[4 + decoder.body_bits :][:16]
            if check == keys.check(1, place + 65536, bytes([kind]) + body, 16):
                kinds[kind] = kinds.get(kind, 0) + 1
            else:
                # The announcement is a message in the clear.
                assert control(word, decoder.body_bits)[0] == 2
    assert frames == {
        tick: indices[:-1] if int(tick) // 8 % 8 == 0 else indices
        for tick, indices in vector["frames"].items()
    }
    whole = {superframe: bits for superframe, bits in pieces.items() if len(bits) == 88}
    assert whole
    assert all(bits == keys.told(8 * at + 65536) for at, bits in whole.items())
    assert kinds[-1] >= 1
    assert kinds[3] >= 3  # BYE


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
