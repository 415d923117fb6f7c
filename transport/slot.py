"""Slots of wire format 2: one frame of 80 ms in a fixed number of bits. See docs/slots.md.

A slot, most significant bit first:
    sync (3) | header (3) | side (0 or 1) | payload
Eight slots are a superframe. Sync tells which of the eight a slot is, and whether its payload
is speech or a control word; the header bits of a superframe are one Golay word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_RATE, INDEX_BITS, MAX_QUANTIZERS, Frame
from transport.linerate import Framing
from transport.protection import (
    MOST_CRC_BITS,
    BchCode,
    crc_bits,
    golay_decode,
    golay_encode,
)

__all__ = [
    "COUNTERS",
    "SLOTS_KNOWN",
    "START_BITS",
    "START_WORD",
    "SUPERFRAME",
    "SYNC_WORDS",
    "Header",
    "Protection",
    "Sign",
    "SlotShape",
    "header_word",
    "protection",
    "slot_shape",
    "unverified",
]

SUPERFRAME: Final = 8
"""Slots of a superframe: 640 ms."""

COUNTERS: Final = 16
"""Superframes before their 4-bit counter starts again at 0: 10.24 s."""

SLOTS_KNOWN: Final = COUNTERS * SUPERFRAME
"""Slots that counter and sync together tell apart; a slot's number is known modulo this."""

SYNC_WORDS: Final = (0b001, 0b000, 0b000, 0b001, 0b010, 0b100, 0b010, 0b100)
"""Sync of each slot of a superframe where it carries speech; control words have it inverted.

Of the four pairs of a word and its inverse these are the sequence that agrees with itself,
shifted, in at most two of eight places."""

START_WORD: Final = 0xA6_6F_3B_1C_5E
START_BITS: Final = 40
"""The word that begins the payload of a start slot; a header follows."""

Sign = Callable[[bytes], int]
"""Gives a keyed check of some content."""


def unverified(_content: bytes) -> int:
    """The `Sign` of who has no key: what comes is taken without looking at its check."""
    raise AssertionError("without a key there is no check to compare with")


_SMALLEST: Final = 9
_LARGEST: Final = 31
_SIDE_FROM: Final = 12
_SYNC_BITS: Final = 3
_HEADER_BITS: Final = 3
_COARSE: Final = 4
_CHECKED: Final = 2
_MOST_ERRORS: Final = 8
_STRONG: Final = 3


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the 24 header bits of a superframe say.

    counter: of this superframe, modulo `COUNTERS`. quantizers: indices per frame in the next
    superframe. side: four bits of the side channel.
    """

    counter: int
    quantizers: int
    side: int

    def encode(self) -> int:
        """24 bits."""
        return header_word(self.counter, self.quantizers, self.side)

    @staticmethod
    def decode(word: int) -> tuple[Header, int] | None:
        """The header and the number of wrong bits (up to 3); None if there were more."""
        decoded = golay_decode(word)
        if decoded is None:
            return None
        value, wrong = decoded
        header = Header(counter=value >> 8, quantizers=(value >> 4 & 15) + 1, side=value & 15)
        return header, wrong


def header_word(counter: int, quantizers: int, side: int) -> int:
    """The 24 bits of a `Header` of these fields."""
    return golay_encode(counter << 8 | quantizers - 1 << 4 | side)


@dataclass(frozen=True, kw_only=True)
class SlotShape:
    """The slots of a line: fixed by its rate and framing, the same for every frame.

    size: bytes of a slot. side_bits: per slot, besides those of the header. payload_bits: of
    a slot. word_bytes: of a control word's body.
    """

    size: int
    side_bits: int
    payload_bits: int
    word_bytes: int

    @property
    def bits(self) -> int:
        """Bits of a slot."""
        return 8 * self.size

    @property
    def side_per_superframe(self) -> int:
        """Bits of the side channel in a superframe."""
        return 4 + SUPERFRAME * self.side_bits

    @property
    def side_superframes(self) -> int:
        """Superframes whose side bits together carry one control word."""
        return SUPERFRAME if self.side_bits else COUNTERS

    @property
    def most_quantizers(self) -> int:
        """Most indices per frame."""
        return min(MAX_QUANTIZERS, self.payload_bits // INDEX_BITS)

    def pack(self, *, sync: int, header: int, side: int, payload: int) -> bytes:
        """The bytes of a slot."""
        value = sync << _HEADER_BITS | header
        value = value << self.side_bits | side
        return (value << self.payload_bits | payload).to_bytes(self.size, "big")

    def split(self, slot: int) -> tuple[int, int, int, int]:
        """Sync, header bits, side bits and payload of a slot of `bits` bits."""
        payload = slot & (1 << self.payload_bits) - 1
        rest = slot >> self.payload_bits
        side = rest & (1 << self.side_bits) - 1
        rest >>= self.side_bits
        return rest >> _HEADER_BITS, rest & (1 << _HEADER_BITS) - 1, side, payload

    def start_payload(self, number: int, quantizers: int) -> int:
        """Payload of the slot that opens a call; `number` is that of the slot after it."""
        told = number % SLOTS_KNOWN << 5 | quantizers - 1 << 1
        return (START_WORD << 24 | golay_encode(told)) << self.payload_bits - START_BITS - 24

    def parse_start(self, word: int) -> tuple[int, int] | None:
        """Number (modulo 128) and quantizers of the 24 bits behind a start word, if they fit."""
        decoded = golay_decode(word)
        if decoded is None or decoded[1] > 2 or decoded[0] & 1:
            return None
        number, quantizers = decoded[0] >> 5, (decoded[0] >> 1 & 15) + 1
        return (number, quantizers) if quantizers <= self.most_quantizers else None

    def whitening(self, index: int) -> int:
        """Bits to be XORed onto the payload of slot `index` of a superframe."""
        return _whitening(self.payload_bits)[index]


@cache
def _whitening(payload_bits: int) -> tuple[int, ...]:
    """A superframe of the sequence of x^15 + x^14 + 1 (ITU-T O.150), begun with ones."""
    register = (1 << 15) - 1
    words = []
    for _ in range(SUPERFRAME):
        word = 0
        for _ in range(payload_bits):
            bit = (register >> 14 ^ register >> 13) & 1
            register = (register << 1 | bit) & (1 << 15) - 1
            word = word << 1 | bit
        words.append(word)
    return tuple(words)


def slot_shape(rate: int, framing: Framing) -> SlotShape:
    """The slots of a byte pipe: the most whole bytes that it carries in 80 ms, up to 31.

    Raises:
        ConfigError: `framing` is no byte pipe, or the line is too slow.
    """
    if not framing.stream:
        raise ConfigError(
            f"wire.mode = 'slots' does not go with framing {framing}, which has datagrams: "
            "use mode = 'packets'"
        )
    size = min(int(rate / FRAME_RATE) // framing.bit_times, _LARGEST)
    if size < _SMALLEST:
        slowest = int(_SMALLEST * framing.bit_times * FRAME_RATE)
        raise ConfigError(
            f"wire.mode = 'slots' needs {slowest} bit/s or more with framing {framing}, and the "
            f"line has {rate}: use mode = 'packets'"
        )
    side_bits = 1 if size >= _SIDE_FROM else 0
    payload_bits = 8 * size - _SYNC_BITS - _HEADER_BITS - side_bits
    return SlotShape(
        size=size,
        side_bits=side_bits,
        payload_bits=payload_bits,
        word_bytes=6 if side_bits else 4,
    )


@dataclass(frozen=True, kw_only=True)
class Protection:
    """How the payload of a slot is shared between indices, checks and parity.

    covered: indices, from the first, that the BCH code repairs; 0 without a code.
    check_bits: of a CRC over the first one or two indices. code: None without a code.
    Use `protection` to make one.
    """

    payload_bits: int
    quantizers: int
    covered: int
    check_bits: int
    code: BchCode | None

    def pack(self, frame: Frame, sign: Sign | None = None) -> int:
        """The payload: code word of covered indices and check, other indices, zero bits.

        sign: gives a keyed check of `check_bits` bits in place of the CRC.

        Raises:
            ValueError: the frame has another number of indices.
        """
        indices = frame.indices
        if len(indices) != self.quantizers:
            raise ValueError(f"a frame of {self.quantizers} indices is wanted, not {len(indices)}")
        message = _join(indices[: self._in_message])
        message = message << self.check_bits | self._check(indices, sign)
        word = self.code.encode(message) if self.code else message
        fine = indices[self._in_message :]
        word = word << INDEX_BITS * len(fine) | _join(fine)
        return word << self._unused

    def unpack(self, payload: int, sign: Sign | None = None) -> tuple[Frame, int] | None:
        """The frame, or what of it can be trusted, and how many bits were repaired.

        None if nothing can be trusted.
        """
        payload >>= self._unused
        fine_count = self.quantizers - self._in_message
        fine = payload & (1 << INDEX_BITS * fine_count) - 1
        word = payload >> INDEX_BITS * fine_count
        if self.code is None:
            frame = self._checked(word, fine, sign)
            return None if frame is None else (frame, 0)
        decoded = self.code.decode(word)
        if decoded is not None:
            frame = self._checked(decoded[0], fine, sign)
            return None if frame is None else (frame, decoded[1])
        if self.check_bits < _TRUSTED_CHECK or sign is unverified:
            return None
        # Too many errors for the code; a long check can still vouch for the first indices.
        frame = self._checked(word >> self.code.parity_bits, 0, sign)
        return None if frame is None else (frame.coarse(_CHECKED), self.code.errors + 1)

    def evidence(self, payload: int) -> int:
        """How much a payload looks like speech: log2 of the odds against random bits."""
        word = (payload >> self._unused) >> INDEX_BITS * (self.quantizers - self._in_message)
        if self.code is not None:
            return self.code.evidence(word)
        right = self._checked(word, 0, None) is not None
        return self.check_bits if right else -2 * bool(self.check_bits)

    def _checked(self, message: int, fine: int, sign: Sign | None) -> Frame | None:
        check = message & (1 << self.check_bits) - 1
        indices = _split(message >> self.check_bits, self._in_message)
        if sign is not unverified and self._check(indices, sign) != check:
            return None
        return Frame(indices + _split(fine, self.quantizers - self._in_message))

    def _check(self, indices: tuple[int, ...], sign: Sign | None) -> int:
        if not self.check_bits:
            return 0
        checked = indices[:_CHECKED]
        if sign is not None:
            return sign(_join(checked).to_bytes(4, "big"))
        return crc_bits(_join(checked), size=INDEX_BITS * len(checked), check=self.check_bits)

    def last(self, payload: int) -> int:
        """The bits at the place of the last index."""
        return payload >> self._last_at & (1 << INDEX_BITS) - 1

    def with_last(self, payload: int, value: int) -> int:
        """The payload with other bits at the place of the last index."""
        field = (1 << INDEX_BITS) - 1 << self._last_at
        return payload & ~field | value << self._last_at

    @property
    def _last_at(self) -> int:
        """Bits behind the last index."""
        if self.quantizers > self._in_message:
            return self._unused
        parity = self.code.parity_bits if self.code else 0
        return self._unused + parity + self.check_bits

    @property
    def _in_message(self) -> int:
        return self.covered or min(_CHECKED, self.quantizers)

    @property
    def _unused(self) -> int:
        parity = self.code.parity_bits if self.code else 0
        return self.payload_bits - INDEX_BITS * self.quantizers - self.check_bits - parity


_TRUSTED_CHECK: Final = 5


def _join(indices: tuple[int, ...]) -> int:
    word = 0
    for index in indices:
        word = word << INDEX_BITS | index
    return word


def _split(word: int, count: int) -> tuple[int, ...]:
    mask = (1 << INDEX_BITS) - 1
    return tuple(word >> INDEX_BITS * i & mask for i in range(count - 1, -1, -1))


@cache
def protection(payload_bits: int, quantizers: int, tag_bits: int = 0) -> Protection:
    """What the bits that `quantizers` indices leave of a payload are used for.

    A BCH code over all indices if it repairs three errors or more, else over the first four
    if that repairs one or more, else none; what is left is a check on the first two indices,
    of at most 8 bits. With security the check has `tag_bits` instead, and comes first.

    Raises:
        ValueError: the indices do not fit.
    """
    spare = payload_bits - INDEX_BITS * quantizers
    if not 1 <= quantizers <= MAX_QUANTIZERS or spare < tag_bits:
        raise ValueError(f"{quantizers} indices do not fit into {payload_bits} bits")
    coarse = min(_COARSE, quantizers)
    for covered, fewest in ((quantizers, _STRONG), (coarse, 1)):
        for errors in range(_MOST_ERRORS, fewest - 1, -1):
            for check in [tag_bits] if tag_bits else range(MOST_CRC_BITS, -1, -1):
                code = _code(INDEX_BITS * covered + check, errors)
                if code is not None and check + code.parity_bits <= spare:
                    return Protection(
                        payload_bits=payload_bits,
                        quantizers=quantizers,
                        covered=covered,
                        check_bits=check,
                        code=code,
                    )
    return Protection(
        payload_bits=payload_bits,
        quantizers=quantizers,
        covered=0,
        check_bits=tag_bits or min(MOST_CRC_BITS, spare),
        code=None,
    )


@cache
def _code(message_bits: int, errors: int) -> BchCode | None:
    try:
        return BchCode(message_bits=message_bits, errors=errors)
    except ValueError:
        return None
