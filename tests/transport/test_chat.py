"""Dialogues with a modem, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import ConfigError
from transport.chat import ChatSession, Script

DIAL = "ABORT BUSY ABORT 'NO CARRIER' TIMEOUT 10 '' ATZ OK ATDT5551234 TIMEOUT 60 CONNECT"


def session(text: str) -> ChatSession:
    return ChatSession(Script.parse(text, "serial.chat"))


def test_a_call() -> None:
    chat = session(DIAL)
    assert chat.poll(0.0) == b"ATZ\r"
    assert chat.poll(0.1) == b""
    chat.receive(b"ATZ\r\r\nO")
    assert chat.poll(0.2) == b""
    chat.receive(b"K\r\n")
    assert chat.poll(0.3) == b"ATDT5551234\r"
    chat.receive(b"\r\nCONNECT 12")
    assert chat.poll(30.0) == b""
    assert chat.state.value == "talking"
    chat.receive(b"00\r\n\x01\x02\n\x03")
    assert chat.poll(30.1) == b""
    assert chat.state.value == "done"
    assert chat.rest == b"\x01\x02\n\x03"


def test_a_line_that_does_not_end_holds_nobody_up() -> None:
    chat = session("'' ATA CONNECT")
    chat.poll(0.0)
    chat.receive(b"CONNECT")
    chat.poll(1.0)
    assert chat.state.value == "talking"
    chat.poll(1.4)
    assert chat.state.value == "done"


@pytest.mark.parametrize("word", ["BUSY", "NO CARRIER"])
def test_abort(word: str) -> None:
    chat = session(DIAL)
    chat.poll(0.0)
    chat.receive(b"\r\nOK\r\n")
    chat.poll(0.1)
    chat.receive(f"\r\n{word}\r\n".encode())
    assert chat.poll(0.2) == b""
    assert chat.state.value == "failed"
    assert chat.problem == f"the modem said {word}"


def test_timeout() -> None:
    chat = session(DIAL)
    chat.poll(5.0)
    chat.poll(14.9)
    assert chat.state.value == "talking"
    chat.poll(15.0)
    assert chat.state.value == "failed"
    assert chat.problem == "the modem did not say OK within 10 s"


def test_waiting_for_a_call_takes_as_long_as_it_takes() -> None:
    chat = session("TIMEOUT 0 RING ATA TIMEOUT 30 CONNECT")
    chat.poll(0.0)
    chat.poll(1e6)
    chat.receive(b"\r\nRING\r\n")
    assert chat.poll(1e6) == b"ATA\r"


def test_pauses_and_no_carriage_return() -> None:
    chat = session(r"'' \d+++\d\c OK ATH OK")
    assert chat.poll(0.0) == b""
    assert chat.poll(0.9) == b""
    assert chat.poll(1.0) == b"+++"
    chat.receive(b"\r\nOK\r\n")
    assert chat.poll(1.9) == b""
    assert chat.poll(2.0) == b"ATH\r"
    chat.receive(b"\r\nOK\r\n")
    chat.poll(2.1)
    assert chat.state.value == "done"


def test_letters() -> None:
    assert session(r"'' a\sb\r\n\\\c").poll(0.0) == b"a b\r\n\\"
    assert session("'' 'two words'").poll(0.0) == b"two words\r"


def test_memory_is_bounded() -> None:
    chat = session("NEVER")
    for _ in range(100):
        chat.receive(bytes(1000))
    assert len(chat._heard) <= 4096


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("'' 'ATZ", "a quote is not closed"),
        ("TIMEOUT", "TIMEOUT at the end"),
        ("TIMEOUT soon OK", "TIMEOUT soon is no number of seconds"),
        ("ABORT", "ABORT at the end"),
        (r"OK a\q", r"\\q is not possible"),
        (r"O\dK", r"\\d is not possible"),
        ("OK café", "is not ASCII"),
    ],
)
def test_wrong_scripts(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"serial.chat.*{problem}"):
        Script.parse(text, "serial.chat")


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_script_or_an_error(text: str) -> None:
    try:
        script = Script.parse(text, "serial.chat")
    except ConfigError:
        return
    chat = ChatSession(script)
    chat.poll(0.0)
    chat.poll(1e9)
