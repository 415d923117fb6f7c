from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.protection import (
    BchCode,
    Deinterleaver,
    Interleaver,
    crc_bits,
    field_bits,
    golay_decode,
    golay_encode,
)

CODES = [(44, 2), (68, 3), (47, 6), (61, 4), (52, 2), (44, 1), (121, 8), (96 - 28, 4), (132, 6)]


def flip(word: int, places: list[int]) -> int:
    for place in places:
        word ^= 1 << place
    return word


def test_parity_of_known_codes() -> None:
    # Lin and Costello, table 6.4: (15,7) and (63,51) of two errors, (127,106) of three.
    assert BchCode(message_bits=51, errors=2).size == 63
    assert BchCode(message_bits=106, errors=3).size == 127
    # Generator of the (31,21) code: x^10 + x^9 + x^8 + x^6 + x^5 + x^3 + 1.
    assert BchCode(message_bits=21, errors=2).encode(1) == 1 << 10 | 0b1101101001


@pytest.mark.parametrize(("message_bits", "errors"), CODES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_repairs_up_to_its_errors(message_bits: int, errors: int, data: st.DataObject) -> None:
    code = BchCode(message_bits=message_bits, errors=errors)
    message = data.draw(st.integers(0, (1 << message_bits) - 1))
    places = data.draw(
        st.lists(st.integers(0, code.size - 1), max_size=errors, unique=True), label="places"
    )
    assert code.decode(flip(code.encode(message), places)) == (message, len(places))


@pytest.mark.parametrize(("message_bits", "errors"), CODES)
def test_more_errors_are_found_or_give_another_code_word(message_bits: int, errors: int) -> None:
    code = BchCode(message_bits=message_bits, errors=errors)
    rng = random.Random(message_bits)
    for _ in range(200):
        word = rng.getrandbits(code.size)
        decoded = code.decode(word)
        if decoded is not None:
            message, wrong = decoded
            assert wrong <= errors
            assert (code.encode(message) ^ word).bit_count() == wrong


def test_evidence_is_high_for_code_words_and_low_for_random_ones() -> None:
    code = BchCode(message_bits=68, errors=3)
    rng = random.Random(1)
    assert code.evidence(code.encode(rng.getrandbits(68))) == 21
    assert code.evidence(flip(code.encode(rng.getrandbits(68)), [5])) == 15
    random_ones = [code.evidence(rng.getrandbits(89)) for _ in range(100)]
    assert sum(random_ones) / 100 < -2


def test_impossible_codes() -> None:
    with pytest.raises(ValueError, match="at least one error"):
        field_bits(message_bits=10, errors=0)
    with pytest.raises(ValueError, match="too many"):
        field_bits(message_bits=300, errors=1)


@settings(deadline=None)
@given(
    message=st.integers(0, 4095),
    places=st.lists(st.integers(0, 23), max_size=4, unique=True),
)
def test_golay_repairs_three_and_finds_four(message: int, places: list[int]) -> None:
    decoded = golay_decode(flip(golay_encode(message), places))
    assert decoded == ((message, len(places)) if len(places) < 4 else None)


def test_crc_is_the_published_one() -> None:
    text = int.from_bytes(b"123456789", "big")
    # Of the catalogue of parametrised CRC algorithms: SMBUS and MMC have no initial value.
    assert crc_bits(text, size=72, check=8) == 0xF4
    assert crc_bits(text, size=72, check=7) == 0x75
    assert crc_bits(0b1011, size=4, check=1) == 1
    assert crc_bits(0b1011, size=4, check=0) == 0


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_interleaver_and_back(depth: int) -> None:
    rng = random.Random(depth)
    out, back = Interleaver(size=89, depth=depth), Deinterleaver(size=89, depth=depth)
    words = [rng.getrandbits(89) for _ in range(40)]
    slots = [out.push(word) for word in words]
    assert [back.push(slot) for slot in slots][depth - 1 :] == words[: 40 - depth + 1]


def test_interleaver_spreads_a_burst() -> None:
    out, back = Interleaver(size=88, depth=4), Deinterleaver(size=88, depth=4)
    slots = [out.push(0) for _ in range(12)]
    slots[5] ^= 0xFFF << 30
    wrong = [back.push(slot).bit_count() for slot in slots]
    assert sorted(wrong, reverse=True)[:5] == [3, 3, 3, 3, 0]
