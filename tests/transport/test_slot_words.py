from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import PacketError
from linkcodec.frame import Silence
from transport.slot_words import (
    MOST_MESSAGE,
    Message,
    Outbox,
    Reassembler,
    Word,
    WordCode,
    WordKind,
    background_word,
    link_word,
    parse_background,
    parse_link,
    parse_station,
    station_words,
)
from transport.wire import LinkInformation

SIZES = [(6, 89, 3), (4, 66, 2), (6, 96, 4), (4, 64, 1)]


@pytest.mark.parametrize(("body_bytes", "size", "errors"), SIZES)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_word_there_and_back_over_errors(
    body_bytes: int, size: int, errors: int, data: st.DataObject
) -> None:
    code = WordCode(body_bytes=body_bytes, size=size)
    assert code.errors == errors
    body = data.draw(st.binary(min_size=body_bytes, max_size=body_bytes))
    word = Word(kind=data.draw(st.integers(0, 15)), body=body)
    bits = code.encode(word)
    assert bits < 1 << size
    places = data.draw(st.lists(st.integers(10, size - 1), max_size=errors, unique=True))
    for place in places:
        bits ^= 1 << place
    assert code.decode(bits) == word
    assert code.evidence(bits) == 16


@pytest.mark.parametrize(("body_bytes", "size", "errors"), SIZES)
def test_random_bits_are_no_word(body_bytes: int, size: int, errors: int) -> None:
    code = WordCode(body_bytes=body_bytes, size=size)
    rng = random.Random(size)
    for _ in range(300):
        bits = rng.getrandbits(size)
        with pytest.raises(PacketError):
            code.decode(bits)
        assert code.evidence(bits) < 0


def test_background_and_link_information() -> None:
    background = Silence(-57.0, colour=0xABC)
    word = background_word(background)
    assert parse_background(word.body) == background
    assert parse_background(background_word(Silence(-300.0)).body).level_dbfs == -127.0
    assert parse_background(background_word(Silence(3.0)).body).level_dbfs == 0.0
    information = LinkInformation(
        format_version=2, codec_number=1, codec_version=200, weights=0xBEEF
    )
    assert parse_link(link_word(information).body) == information


@pytest.mark.parametrize("body_bytes", [4, 6])
@pytest.mark.parametrize("call_sign", ["A", "DL1ABC", "DL1ABC/P", "W1AW-1.9Z"])
def test_call_signs(body_bytes: int, call_sign: str) -> None:
    words = station_words(call_sign, body_bytes=body_bytes)
    assert "".join(parse_station(word.body) for word in words) == call_sign
    kinds = [word.kind for word in words]
    if body_bytes == 6 or len(call_sign) <= 6:
        assert kinds == [WordKind.STATION]
    else:
        assert kinds == [WordKind.STATION_BEGIN, WordKind.STATION_END]


@pytest.mark.parametrize("call_sign", ["", "dl1abc", "DL1 ABC", "LONGER-THAN-9"])
def test_no_call_signs(call_sign: str) -> None:
    with pytest.raises(ValueError, match="is no call sign"):
        station_words(call_sign, body_bytes=6)


def test_a_number_that_is_no_call_sign() -> None:
    with pytest.raises(PacketError, match="no call sign"):
        parse_station(b"\xff" * 6)


@pytest.mark.parametrize("body_bytes", [4, 6])
@settings(deadline=None, max_examples=30)
@given(
    bodies=st.lists(st.binary(min_size=1, max_size=MOST_MESSAGE), min_size=1, max_size=4),
    rng=st.randoms(use_true_random=False),
)
def test_messages_arrive_whole_and_once(
    body_bytes: int, bodies: list[bytes], rng: random.Random
) -> None:
    messages = [Message(kind=number, body=body) for number, body in enumerate(bodies)]
    outbox, reassembler = Outbox(body_bytes=body_bytes), Reassembler()
    for message in messages:
        assert outbox.put(message)
    arrived = []
    while (word := outbox.next()) is not None:
        assert word.kind == WordKind.FRAGMENT
        assert len(word.body) <= body_bytes
        result = reassembler.push(word.body.ljust(body_bytes, b"\0"))
        arrived += [result] if result is not None else []
    assert arrived == messages
    assert len(outbox) == 0


def test_lost_fragments_come_with_the_copy_or_not_at_all() -> None:
    outbox, reassembler = Outbox(body_bytes=6, copies=2), Reassembler()
    message = Message(kind=0, body=b"thirty bytes of text, or so...")
    outbox.put(message)
    words = []
    while (word := outbox.next()) is not None:
        words.append(word)
    half = len(words) // 2
    kept = words[: half - 2] + words[half + 1 :]  # two lost in the first round, one in the second
    arrived = [reassembler.push(word.body.ljust(6, b"\0")) for word in kept]
    assert [one for one in arrived if one] == [message]
    lonely = Reassembler()
    assert all(lonely.push(word.body.ljust(6, b"\0")) is None for word in words[: half - 1])


def test_a_damaged_message_is_not_handed_on() -> None:
    outbox, reassembler = Outbox(body_bytes=6, copies=1), Reassembler()
    outbox.put(Message(kind=0, body=b"hello, world"))
    while (word := outbox.next()) is not None:
        body = bytearray(word.body.ljust(6, b"\0"))
        body[1] ^= 1
        assert reassembler.push(bytes(body)) is None
    assert reassembler.damaged == 1


@settings(deadline=None)
@given(bodies=st.lists(st.binary(min_size=6, max_size=6), max_size=200))
def test_any_fragments_at_all(bodies: list[bytes]) -> None:
    reassembler = Reassembler()
    for body in bodies:
        reassembler.push(body)


def test_an_outbox_is_bounded() -> None:
    outbox = Outbox(body_bytes=6, limit=2)
    assert [outbox.put(Message(kind=0, body=b"x")) for _ in range(3)] == [True, True, False]
    with pytest.raises(ValueError, match="1 to 92 bytes"):
        Message(kind=0, body=b"")
