"""Talks with a modem before and after a call, by a script in the manner of chat(8).

A script is pairs of what to expect and what to send then, such as

    ABORT BUSY ABORT 'NO CARRIER' TIMEOUT 60 '' ATZ OK ATDT5551234 CONNECT

`ABORT text` and `TIMEOUT seconds` (0 for none) may stand for a pair; '' expects nothing. What
is sent ends with a carriage return unless it ends with \\c; \\d waits 1 s, \\p 0.1 s.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from linkcodec.exceptions import ConfigError

__all__ = ["ChatSession", "ChatState", "Script"]

_WORD: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"|([^\s'\"]+)")
_ESCAPE: Final = re.compile(r"\\.")
_PAUSES: Final = {r"\d": 1.0, r"\p": 0.1}
_LETTERS: Final = {r"\r": "\r", r"\n": "\n", r"\s": " ", "\\\\": "\\"}
_DEFAULT_TIMEOUT: Final = 45.0
_MOST_HEARD: Final = 4096
_LINE_END_SECONDS: Final = 0.3


@dataclass(frozen=True, kw_only=True)
class _Step:
    """Wait for `expect` for at most `timeout` seconds, then send the pieces, with pauses."""

    expect: bytes
    timeout: float
    aborts: tuple[bytes, ...]
    send: tuple[bytes | float, ...]


@dataclass(frozen=True)
class Script:
    """The steps of a talk, in order."""

    steps: tuple[_Step, ...]

    @classmethod
    def parse(cls, text: str, field: str) -> Script:
        """
        Raises:
            ConfigError: `text` is no script; the message names `field`.
        """
        aborts: tuple[bytes, ...] = ()
        timeout = _DEFAULT_TIMEOUT
        steps = []
        words = iter(list(_words(text, field)))
        for word in words:
            following = next(words, None)
            if word in ("ABORT", "TIMEOUT") and following is None:
                raise ConfigError(f"{field}: {word} at the end of the script needs a value")
            if word == "ABORT":
                aborts += (_bytes(following or "", field),)
            elif word == "TIMEOUT":
                timeout = _seconds(following or "", field)
            else:
                send = _sending(following, field) if following is not None else ()
                expect = _bytes(word, field)
                steps.append(_Step(expect=expect, timeout=timeout, aborts=aborts, send=send))
        return cls(tuple(steps))


def _words(text: str, field: str) -> Iterator[str]:
    rest = _WORD.sub("", text)
    if rest.strip():
        raise ConfigError(f"{field} = {text!r}: a quote is not closed")
    for match in _WORD.finditer(text):
        yield next(group for group in match.groups() if group is not None)


def _seconds(word: str, field: str) -> float:
    if not (word.isascii() and word.isdecimal() and int(word) <= 3600):
        raise ConfigError(f"{field}: TIMEOUT {word} is no number of seconds from 0 to 3600")
    return float(word)


def _bytes(word: str, field: str) -> bytes:
    try:
        return _ESCAPE.sub(lambda match: _LETTERS[match[0]], word).encode("ascii")
    except KeyError as error:
        raise ConfigError(f"{field}: {error.args[0]} is not possible in '{word}'") from None
    except UnicodeEncodeError:
        raise ConfigError(f"{field}: '{word}' is not ASCII") from None


def _sending(word: str, field: str) -> tuple[bytes | float, ...]:
    word, end = (word[:-2], b"") if word.endswith(r"\c") else (word, b"\r")
    pieces: list[bytes | float] = []
    start = 0
    for match in _ESCAPE.finditer(word):
        if match[0] in _PAUSES:
            pieces += [_bytes(word[start : match.start()], field), _PAUSES[match[0]]]
            start = match.end()
    return (*pieces, _bytes(word[start:], field) + end)


class ChatState(Enum):
    """How far a talk is."""

    TALKING = "talking"
    DONE = "done"
    FAILED = "failed"


class ChatSession:
    """One run of a script. No I/O: bytes in by `receive`, bytes out by `poll`.

    state: how far it is. problem: in words, why it failed. rest: what came after the last
    answer's line: the call's first bytes.
    """

    def __init__(self, script: Script) -> None:
        self.state = ChatState.TALKING
        self.problem = ""
        self.rest = b""
        self._steps = deque(script.steps)
        self._sending: deque[bytes | float] = deque()
        self._heard = bytearray()
        self._deadline: float | None = None
        self._not_before = float("-inf")
        self._line_ends_by: float | None = None

    def receive(self, data: bytes) -> None:
        """Take what the modem says."""
        self._heard += data
        del self._heard[:-_MOST_HEARD]

    def poll(self, now: float) -> bytes:
        """Go on with the talk; gives what to tell the modem. To be called every 0.1 s or so."""
        told = b""
        while self.state is ChatState.TALKING and now >= self._not_before:
            if self._sending:
                piece = self._sending.popleft()
                if isinstance(piece, bytes):
                    told += piece
                else:
                    self._not_before = now + piece
            elif not self._advance(now):
                break
        return told

    def _advance(self, now: float) -> bool:
        """Begin to send what the next step says, or end the talk; False while it must wait."""
        if self._line_ends_by is not None or not self._steps:
            self._finish(now)
            return False
        step = self._steps[0]
        if self._deadline is None:
            self._deadline = now + step.timeout
        for abort in step.aborts:
            if abort in self._heard:
                self._fail(f"the modem said {abort.decode('ascii')}")
                return False
        place = self._heard.find(step.expect)
        if place < 0:
            if step.timeout and now >= self._deadline:
                wanted = step.expect.decode("ascii")
                self._fail(f"the modem did not say {wanted} within {step.timeout:.0f} s")
            return False
        del self._heard[: place + len(step.expect)]
        self._sending.extend(step.send)
        self._steps.popleft()
        self._deadline = None
        if not self._steps and step.expect and not step.send:
            self._line_ends_by = now + _LINE_END_SECONDS
        return True

    def _finish(self, now: float) -> None:
        """The last answer's line, such as "CONNECT 1200", is none of the call's bytes."""
        end = self._heard.find(b"\n")
        if self._line_ends_by is not None and end < 0 and now < self._line_ends_by:
            return
        self.rest = bytes(self._heard[end + 1 :] if self._line_ends_by is not None else b"")
        self.state = ChatState.DONE

    def _fail(self, problem: str) -> None:
        self.state = ChatState.FAILED
        self.problem = problem
