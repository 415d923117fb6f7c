"""Where slots begin in a stream of bits: the search from nothing, and the way back after a slip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from transport.slot import (
    SLOTS_KNOWN,
    START_BITS,
    START_WORD,
    SUPERFRAME,
    SYNC_WORDS,
    Header,
    SlotShape,
)

__all__ = ["BitHistory", "Lock", "Slip", "SlotHunter", "sync_matches"]

Bits = npt.NDArray[np.uint8]

_LONGEST: Final = 2 * SUPERFRAME
_MATCH: Final = np.int8(2)
_MISMATCH: Final = np.int8(-4)
_HEADER_SCORES: Final = (12, 7, 4, 1)
"""Bits of evidence: a random word matches a slot's sync with 1/4, and is a header with so many
errors with 2^-12, 2^-7 ..."""

_ENOUGH: Final = 26
"""Bits of evidence for a lock: random bits reach them about once in two hours."""

_START_ERRORS: Final = 3
_SLIP_SLOTS: Final = 8
_SLIPPED: Final = 18
"""Bits of evidence by which another place must be better than the one where slots were."""

_SEEN: Final = 14
"""Bits of evidence that the other place must have of its own."""

_HOPELESS: Final = -6
"""Bits of evidence below which another place is not looked at any further."""

_BYTE_SLIPS: Final = (8, -8, 16, -16, 24, -24)
_BIT_SLIPS: Final = (1, -1, 2, -2, 3, -3, 4, -4)


def _pair(word: int) -> int:
    """The same number, 0 to 3, for a sync word and its inverse."""
    return min(word, word ^ 7)


_MATCHES: Final = tuple(
    tuple(_pair(word) == _pair(expected) for word in range(8)) for expected in SYNC_WORDS
)


def sync_matches(word: int, index: int) -> bool:
    """Whether three bits are the sync of slot `index`, for speech or for a control word."""
    return _MATCHES[index][word]


_PAIRS: Final = np.array([_pair(word) for word in range(8)], np.uint8)
_EXPECTED: Final = np.array(
    [
        [_pair(SYNC_WORDS[(newest - back) % SUPERFRAME]) for back in range(_LONGEST)]
        for newest in range(SUPERFRAME)
    ],
    np.uint8,
)
"""Of the slot `back` slots before the newest one, by the index of the newest."""


_DIGITS: Final = 4 ** np.arange(SUPERFRAME)


@cache
def _promising() -> npt.NDArray[np.bool_]:
    """Whether eight slots, the newest first, may end a lock: by their pairs, to the base 4.

    What the eight slots before them can add at most is taken for granted.
    """
    pairs = np.arange(4**SUPERFRAME)[:, None] // _DIGITS % 4
    right = np.stack([(pairs == one[:SUPERFRAME]).sum(axis=1) for one in _EXPECTED])
    scores = right * _MATCH + (SUPERFRAME - right) * _MISMATCH
    most: npt.NDArray[np.int64] = scores.max(axis=0) + SUPERFRAME * _MATCH
    return most >= _ENOUGH - _HEADER_SCORES[0]


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Where a stream is.

    pending: bits after the last whole slot. number: of the slot that they begin, modulo
    128. quantizers: indices per frame in its superframe. at_start: found by a start slot.
    """

    pending: int
    number: int
    quantizers: int
    at_start: bool = False


@dataclass(frozen=True, kw_only=True)
class Slip:
    """What happened to a stream: so many bits too many (below 0: too few), or whole slots gone.

    again: slots up to the last one taken that are to be read again, in their right places.
    """

    bits: int
    missing: int
    again: int


class BitHistory:
    """The newest bits of a stream, a bounded number of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._bits = 0
        self.count = 0

    def push(self, data: bytes) -> None:
        """Add bytes."""
        self._bits = (self._bits << 8 * len(data) | int.from_bytes(data, "big")) & self._mask
        self.count = min(self.count + 8 * len(data), self._size)

    def word(self, *, behind: int, size: int) -> int:
        """`size` bits, with `behind` newer ones after them."""
        return self._bits >> behind & (1 << size) - 1

    def array(self) -> Bits:
        """All `count` bits, the oldest first."""
        data = self._bits.to_bytes(-(-self._size // 8), "big")
        return np.unpackbits(np.frombuffer(data, np.uint8))[-self.count :]

    def clear(self) -> None:
        """Forget everything."""
        self._bits = self.count = 0


class SlotHunter:
    """Finds slots in bits, errors or not.

    A lock needs the sync of eight slots or more, and the header of a whole superframe, to be
    right with few errors; or a start slot.

    alignment: 8 where slots begin with a byte, 1 where they may begin with any bit.
    """

    def __init__(self, shape: SlotShape, *, alignment: int) -> None:
        self._shape = shape
        self._alignment = alignment
        pattern = [START_WORD >> START_BITS - 1 - i & 1 for i in range(START_BITS)]
        self._start = 2.0 * np.array(pattern, np.float32) - 1.0
        self._slips = _BYTE_SLIPS if alignment == 8 else _BIT_SLIPS + _BYTE_SLIPS

    @property
    def history_bits(self) -> int:
        """Bits that a search looks at."""
        return (_LONGEST + 1) * self._shape.bits

    def find(self, history: BitHistory, fresh: int) -> Lock | None:
        """The best place where a slot ends within the newest `fresh` bits, if it is good enough."""
        bits = history.array()
        return self._find_start(bits, fresh) or self._find_superframe(bits, fresh)

    def _find_superframe(self, bits: Bits, fresh: int) -> Lock | None:
        size = self._shape.bits
        behind = np.arange(0, min(fresh, bits.size - SUPERFRAME * size + 1), self._alignment)
        if not behind.size:
            return None
        words = bits[:-2] << 2 | bits[1:-1] << 1 | bits[2:]
        newest = words[bits.size - behind[:, None] - size * np.arange(1, SUPERFRAME + 1)]
        behind = behind[_promising()[_PAIRS[newest] @ _DIGITS]]
        if not behind.size:
            return None
        places = bits.size - behind[:, None] - size * np.arange(1, _LONGEST + 1)
        pairs = np.where(places >= 0, _PAIRS[words[np.maximum(places, 0)]], 255)
        matches = np.where(pairs[:, None, :] == _EXPECTED, _MATCH, _MISMATCH)
        scores = matches.cumsum(axis=2, dtype=np.int8)  # -64 to 32
        sync = scores[:, :, SUPERFRAME - 1 :].max(axis=2)
        best, lock = _ENOUGH - 1, None
        for place, newest in np.argwhere(sync >= _ENOUGH - _HEADER_SCORES[0]).tolist():
            pending = int(behind[place])
            header, wrong = self._header(bits, pending, newest)
            since = (newest + 1) % SUPERFRAME
            right = (
                pairs[place, since : since + SUPERFRAME] == _EXPECTED[newest, since:][:SUPERFRAME]
            )
            if header is None or right.sum() < SUPERFRAME - 1:
                continue  # a header that began before the stream did says anything
            score = int(sync[place, newest]) + _HEADER_SCORES[wrong]
            if score > best:
                best = score
                number = (header.counter + 1) * SUPERFRAME + (newest + 1) % SUPERFRAME
                lock = Lock(
                    pending=pending,
                    number=number % SLOTS_KNOWN,
                    quantizers=header.quantizers,
                )
        return lock

    def _header(self, bits: Bits, pending: int, newest: int) -> tuple[Header | None, int]:
        """That of the last whole superframe, where slot `newest` of the next came last."""
        size = self._shape.bits
        end = bits.size - pending - (newest + 1) % SUPERFRAME * size
        if end < SUPERFRAME * size:
            return None, 0
        slots = bits[end - SUPERFRAME * size : end].reshape(SUPERFRAME, size)
        word = int("".join(map(str, slots[:, 3:6].ravel().tolist())), 2)
        return self._decode(word)

    def _decode(self, word: int) -> tuple[Header | None, int]:
        decoded = Header.decode(word)
        if decoded is None or decoded[0].quantizers > self._shape.most_quantizers:
            return None, 0
        return decoded

    def _find_start(self, bits: Bits, fresh: int) -> Lock | None:
        tail = self._shape.payload_bits - START_BITS
        window = bits[-(fresh + self._shape.payload_bits - 1) :]
        if window.size < self._shape.payload_bits:
            return None
        agreement = np.correlate(2.0 * window[: window.size - tail] - 1.0, self._start)
        for place in np.flatnonzero(agreement >= START_BITS - 2 * _START_ERRORS).tolist():
            pending = window.size - place - self._shape.payload_bits
            header_at = place + START_BITS
            bits_of_header = window[header_at : header_at + 24].tolist()
            told = self._shape.parse_start(int("".join(map(str, bits_of_header)), 2))
            if told is not None:
                return Lock(pending=pending, number=told[0], quantizers=told[1], at_start=True)
        return None

    def find_slip(
        self, *, pending: int, number: int, held: int, evidence: Callable[[int, int], int]
    ) -> Slip | None:
        """How a stream that was locked has slipped; None if it rather has not.

        pending: bits after the last slot taken; number: of the slot that they begin. held:
        bits of the history. evidence: tells how far the slot with so many bits after it looks
        like slot number so-and-so, in bits.
        """
        size = self._shape.bits
        stayed = [evidence(pending + back * size, number - 1 - back) for back in range(_SLIP_SLOTS)]
        best, found = _SLIPPED - 1, None
        ways = [(0, missing) for missing in range(1, SUPERFRAME)]
        for bits, missing in ways + [(bits, 0) for bits in self._slips]:
            behind, last = pending - bits, number + missing - 1
            if behind < 0:
                behind, last = behind + size, last - 1
            margin = total = 0
            for back in range(_SLIP_SLOTS):
                if behind + (back + 1) * size > held:
                    break
                here = evidence(behind + back * size, last - back)
                total += here
                if total < _HOPELESS:
                    break
                margin += here - stayed[back]
                if margin > best and total >= _SEEN:
                    best = margin
                    again = back + 1 + (number + missing - 1 - last)
                    found = Slip(bits=bits, missing=missing, again=again)
        return found
