from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import ConfigError, PacketError
from transport.text import (
    MAX_TEXT,
    TextAssembler,
    parse_report,
    parse_station,
    parse_talker,
    report_body,
    station_body,
    talker_body,
    text_fragments,
)
from transport.wire import ReceiverReport, StationId, TalkerKey

texts = st.text(min_size=1, max_size=MAX_TEXT).filter(lambda text: len(text.encode()) <= MAX_TEXT)


@settings(deadline=None)
@given(texts, st.integers(0, 300), st.randoms(use_true_random=False))
def test_any_order_gives_the_text_once(text: str, number: int, rng: random.Random) -> None:
    bodies = text_fragments(text, number=number) * 2
    rng.shuffle(bodies)
    assembler = TextAssembler()
    assert [found for body in bodies if (found := assembler.take(body, 0.0))] == [text]


@settings(deadline=None)
@given(texts, st.data())
def test_without_one_fragment_there_is_nothing(text: str, data: st.DataObject) -> None:
    bodies = text_fragments(text, number=1)
    missing = data.draw(st.sampled_from(bodies))
    assembler = TextAssembler()
    assert [assembler.take(body, 0.0) for body in bodies if body != missing].count(None) == (
        len(bodies) - 1
    )


def test_copies_complete_each_other() -> None:
    bodies = text_fragments("one copy lacks this, the other that", number=1)
    assembler = TextAssembler()
    first = [assembler.take(body, 0.0) for body in bodies[1:]]
    second = [assembler.take(body, 9.0) for body in bodies[:1]]
    assert first == [None] * (len(bodies) - 1)
    assert second == ["one copy lacks this, the other that"]


def test_the_same_words_may_be_sent_again_later() -> None:
    assembler = TextAssembler()
    (body,) = text_fragments("QSL", number=1)
    (next_body,) = text_fragments("QSL", number=2)
    assert assembler.take(body, 0.0) == "QSL"
    assert assembler.take(body, 10.0) is None
    assert assembler.take(next_body, 20.0) == "QSL"
    assert assembler.take(body, 400.0) == "QSL"


def test_incomplete_texts_are_given_up() -> None:
    assembler = TextAssembler()
    first, second = text_fragments("more than one", number=1)
    assembler.take(first, 0.0)
    assert assembler.take(second, 301.0) is None
    for number in range(2, 6):
        assembler.take(text_fragments("more than one", number=number)[0], 301.0)
    assert assembler.take(first, 301.0) is None  # pushed out by the newer ones


def test_mixed_texts_are_refused() -> None:
    assembler = TextAssembler()
    assembler.take(text_fragments("more than one", number=1)[0], 0.0)
    with pytest.raises(PacketError, match="CRC"):
        assembler.take(text_fragments("other than one", number=1)[1], 0.0)


@pytest.mark.parametrize("text", ["", "x" * (MAX_TEXT + 1), "ü" * 64])
def test_impossible_texts(text: str) -> None:
    with pytest.raises(ConfigError, match=f"1 to {MAX_TEXT} bytes"):
        text_fragments(text, number=0)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=16), max_size=30))
def test_any_bodies_are_taken_or_refused(bodies: list[bytes]) -> None:
    assembler = TextAssembler()
    for body in bodies:
        for parse in (parse_station, parse_talker, parse_report):
            with contextlib.suppress(PacketError):
                parse(body)
        with contextlib.suppress(PacketError):
            assembler.take(body, 0.0)
        assert len(assembler._partial) <= 4


def test_stations_talkers_and_reports_come_back() -> None:
    assert parse_station(station_body("OE1/N0CALL")) == StationId(call_sign="OE1/N0CALL")
    key = TalkerKey(talker=200, down=False)
    assert parse_talker(talker_body(key)) == key
    report = ReceiverReport(loss=1.0, residual=0.0, burst=63.75)
    assert parse_report(report_body(report)) == report


def test_a_little_loss_is_not_told_as_none() -> None:
    told = parse_report(report_body(ReceiverReport(loss=0.0001, residual=2.0, burst=1000.0)))
    assert told == ReceiverReport(loss=1 / 255, residual=1.0, burst=63.75)


@pytest.mark.parametrize("body", [b"a", b"n0call", b"\xff", b"N0 CALL"])
def test_no_call_signs(body: bytes) -> None:
    with pytest.raises(PacketError, match="call sign"):
        parse_station(body)
