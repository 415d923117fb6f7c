"""Control words of slots: what a slot without speech, or the side channel, says.

A word is a kind (4 bits), a body of 4 or 6 bytes and a CRC-16. What does not fit into one
word, a *message*, travels as fragments. See docs/slots.md.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fastcrc import crc16

from linkcodec.exceptions import PacketError
from linkcodec.frame import COLOUR_BITS, Silence
from transport.protection import BchCode
from transport.slot import Sign, unverified
from transport.wire import LinkInformation

__all__ = [
    "MOST_MESSAGE",
    "Message",
    "MessageKind",
    "Outbox",
    "Reassembler",
    "Word",
    "WordCode",
    "WordKind",
    "background_word",
    "bye_word",
    "link_word",
    "parse_background",
    "parse_link",
    "parse_station",
    "station_words",
]

_CRC_BITS: Final = 16
_KIND_BITS: Final = 4
_MOST_ERRORS: Final = 8
_MESSAGES: Final = 4

MOST_MESSAGE: Final = 92
"""Most bytes of a message: in the smallest slots 32 fragments hold them."""

_ALPHABET: Final = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/."
"""The 40 characters of a call sign, as in M17; the space only fills up."""

_LONGEST_CALL_SIGN: Final = 9


class WordKind(IntEnum):
    """What a control word is about."""

    BACKGROUND = 0
    """Level and colour of the background: the talker is quiet."""
    LINK = 1
    """Format version, codec and weights; of the same form in every version of the format."""
    FRAGMENT = 2
    """A part of a message."""
    BYE = 3
    """The call ends with this slot."""
    REPORT = 4
    """How the far end's speech arrives here."""
    STATION = 5
    """A call sign."""
    STATION_BEGIN = 6
    """The first six characters of a call sign that goes on in `STATION_END`."""
    STATION_END = 7
    TALKER = 8
    """Who pressed or released the key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A control word: its kind (0 to 15, maybe one of a later version) and its body."""

    kind: int
    body: bytes


class WordCode:
    """Control words as bits, with the strongest BCH code that `size` bits allow.

    body_bytes: of every word. size: bits of a coded word, at least those of the word.
    """

    def __init__(self, *, body_bytes: int, size: int) -> None:
        self._body_bits = 8 * body_bytes
        message_bits = _KIND_BITS + self._body_bits + _CRC_BITS
        self._code = _strongest(message_bits, size)
        self._unused = size - (self._code.size if self._code else message_bits)

    @property
    def errors(self) -> int:
        """Wrong bits that are repaired."""
        return self._code.errors if self._code else 0

    def encode(self, word: Word, sign: Sign | None = None) -> int:
        """`size` bits; the body is filled up with zero bytes.

        sign: gives a keyed check of 16 bits in place of the CRC.
        """
        body = word.body.ljust(self._body_bits // 8, b"\0")
        message = word.kind << self._body_bits | int.from_bytes(body, "big")
        message = message << _CRC_BITS | _crc(word.kind, body, sign)
        coded = self._code.encode(message) if self._code else message
        return coded << self._unused

    def decode(self, bits: int, sign: Sign | None = None) -> Word:
        """The word in `size` bits; `sign` as in `encode`.

        Raises:
            PacketError: too many errors.
        """
        bits >>= self._unused
        if self._code is not None:
            decoded = self._code.decode(bits)
            if decoded is None or (decoded[1] and sign is unverified):
                raise PacketError("a control word has more errors than its code repairs")
            bits = decoded[0]
        check = bits & (1 << _CRC_BITS) - 1
        bits >>= _CRC_BITS
        kind = bits >> self._body_bits
        body = (bits & (1 << self._body_bits) - 1).to_bytes(self._body_bits // 8, "big")
        # Without a key the code alone tells a word from noise, if it had nothing to repair.
        proved = self._code is not None and sign is unverified
        if not proved and _crc(kind, body, sign) != check:
            raise PacketError("wrong CRC of a control word")
        return Word(kind=kind, body=body)

    def evidence(self, bits: int) -> int:
        """How much bits look like a word: log2 of the odds against random ones."""
        try:
            self.decode(bits)
        except PacketError:
            return -4
        return _CRC_BITS


def _strongest(message_bits: int, size: int) -> BchCode | None:
    for errors in range(_MOST_ERRORS, 0, -1):
        try:
            code = BchCode(message_bits=message_bits, errors=errors)
        except ValueError:
            continue
        if code.size <= size:
            return code
    return None


def _crc(kind: int, body: bytes, sign: Sign | None) -> int:
    content = bytes([kind]) + body
    return crc16.ibm_3740(content) if sign is None else sign(content)


def background_word(background: Silence) -> Word:
    """Level in whole dB below full scale (7 bits) and colour (12 bits)."""
    level = round(min(127.0, max(0.0, -background.level_dbfs)))
    return Word(
        kind=WordKind.BACKGROUND,
        body=(level << COLOUR_BITS | background.colour).to_bytes(3, "big"),
    )


def parse_background(body: bytes) -> Silence:
    """The background of a `BACKGROUND` word."""
    value = int.from_bytes(body[:3], "big")
    level = value >> COLOUR_BITS & 127
    return Silence(float(-level), colour=value & (1 << COLOUR_BITS) - 1)


def link_word(information: LinkInformation) -> Word:
    """Versions, codec and weights."""
    return Word(
        kind=WordKind.LINK,
        body=bytes(
            [
                information.format_version << 4 | information.codec_number,
                information.codec_version & 255,
            ]
        )
        + information.weights.to_bytes(2, "big"),
    )


def parse_link(body: bytes) -> LinkInformation:
    """What a `LINK` word says."""
    return LinkInformation(
        format_version=body[0] >> 4,
        codec_number=body[0] & 15,
        codec_version=body[1],
        weights=int.from_bytes(body[2:4], "big"),
    )


def bye_word() -> Word:
    """The end of a call."""
    return Word(kind=WordKind.BYE, body=b"")


def station_words(call_sign: str, *, body_bytes: int) -> list[Word]:
    """The word or words for a call sign of 1 to 9 characters of A to Z, 0 to 9, '-', '/', '.'.

    Raises:
        ValueError: another length or character.
    """
    if not 1 <= len(call_sign) <= _LONGEST_CALL_SIGN or any(
        letter not in _ALPHABET[1:] for letter in call_sign
    ):
        raise ValueError(
            f"'{call_sign}' is no call sign: 1 to 9 of A to Z, 0 to 9, '-', '/' and '.'"
        )
    length = _characters(body_bytes)
    if len(call_sign) <= length:
        return [_station_word(WordKind.STATION, call_sign, body_bytes)]
    return [
        _station_word(WordKind.STATION_BEGIN, call_sign[:length], body_bytes),
        _station_word(WordKind.STATION_END, call_sign[length:], body_bytes),
    ]


def _characters(body_bytes: int) -> int:
    return 9 if body_bytes >= 6 else 6


def _station_word(kind: WordKind, text: str, body_bytes: int) -> Word:
    value = 0
    for letter in text.ljust(_characters(body_bytes)):
        value = value * len(_ALPHABET) + _ALPHABET.index(letter)
    return Word(kind=kind, body=value.to_bytes(body_bytes, "big"))


def parse_station(body: bytes) -> str:
    """The characters of a station word.

    Raises:
        PacketError: the number is too large for that many characters.
    """
    value = int.from_bytes(body, "big")
    text = ""
    for _ in range(_characters(len(body))):
        value, letter = divmod(value, len(_ALPHABET))
        text = _ALPHABET[letter] + text
    if value:
        raise PacketError("a station word holds no call sign")
    return text.rstrip()


class MessageKind(IntEnum):
    """What a message is."""

    TEXT = 0
    """A short text, UTF-8."""
    ANNOUNCEMENT = 4
    """A session of `transport.security`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """Up to `MOST_MESSAGE` bytes that arrive whole or not at all; kind: 0 to 255."""

    kind: int
    body: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.body) <= MOST_MESSAGE:
            raise ValueError(f"a message has 1 to {MOST_MESSAGE} bytes, not {len(self.body)}")


class Outbox:
    """Messages on their way out, cut into fragment words; at most `limit` wait.

    body_bytes: of a word; a fragment has one byte less. copies: how often each message is
    sent, fragment after fragment.
    """

    def __init__(self, *, body_bytes: int, copies: int = 2, limit: int = 8) -> None:
        self._data_bytes = body_bytes - 1
        self._copies = copies
        self._limit = limit
        self._number = 0
        self._words: deque[Word] = deque()
        self._messages: deque[Message] = deque()

    def __len__(self) -> int:
        """Messages that are not wholly sent yet."""
        return len(self._messages) + bool(self._words)

    def put(self, message: Message) -> bool:
        """Queue a message; False if too many wait already."""
        if len(self._messages) >= self._limit:
            return False
        self._messages.append(message)
        return True

    def next(self) -> Word | None:
        """The next fragment; None if there is nothing to say."""
        if not self._words and self._messages:
            words = self._cut(self._messages.popleft())
            self._words.extend(words * self._copies)
        return self._words.popleft() if self._words else None

    def _cut(self, message: Message) -> list[Word]:
        content = bytes([message.kind, len(message.body)]) + message.body
        content += crc16.ibm_3740(content).to_bytes(2, "big")
        size = self._data_bytes
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        self._number = (self._number + 1) % _MESSAGES
        words = []
        for index, piece in enumerate(pieces):
            last = index == len(pieces) - 1
            head = self._number << 6 | last << 5 | index
            words.append(Word(kind=WordKind.FRAGMENT, body=bytes([head]) + piece))
        return words


class Reassembler:
    """Makes messages of fragments that come in any order, twice or not at all.

    Memory: four messages of 32 fragments. damaged: messages whose check failed.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._parts: list[dict[int, bytes]] = [{} for _ in range(_MESSAGES)]
        self._last: list[int | None] = [None] * _MESSAGES
        self._done: list[bytes] = [b""] * _MESSAGES

    def push(self, body: bytes) -> Message | None:
        """Take the body of a fragment word; gives the message that it completes."""
        number, last, index = body[0] >> 6, body[0] >> 5 & 1, body[0] & 31
        following = (number + 1) % _MESSAGES
        if self._parts[following] or self._done[following]:
            # The sender goes round: what had this number before is long past.
            self._clear(following)
            self._done[following] = b""
        parts = self._parts[number]
        parts[index] = body[1:]
        if last:
            self._last[number] = index
        end = self._last[number]
        if end is None or any(i not in parts for i in range(end + 1)):
            return None
        content = b"".join(parts[i] for i in range(end + 1))
        self._clear(number)
        if content == self._done[number]:
            return None
        message = _parse_message(content)
        if message is None:
            self.damaged += 1
            return None
        self._done[number] = content
        return message

    def _clear(self, number: int) -> None:
        self._parts[number].clear()
        self._last[number] = None


def _parse_message(content: bytes) -> Message | None:
    if len(content) < 5 or not 1 <= content[1] <= MOST_MESSAGE or len(content) < content[1] + 4:
        return None
    length = content[1] + 2
    check = int.from_bytes(content[length : length + 2], "big")
    if crc16.ibm_3740(content[:length]) != check or any(content[length + 2 :]):
        return None
    return Message(kind=content[0], body=content[2:length])
