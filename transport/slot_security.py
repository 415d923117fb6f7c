"""Security of slots: keyed checks in place of CRCs, and a mask over every payload.

A frame has a check of `TAG_BITS` bits on its first indices, a control word one of 16, keyed with
session and slot number; so each slot proves by itself who sent it. One short check alone is a weak
proof: a receiver lets nothing through before it has seen `_CONFIRMED` bits of right checks within
`_MEMORY` slots, and asks for them anew when there are less. See docs/security.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from linkcodec.frame import FRAME_SECONDS
from transport.security import (
    ENCRYPTED_UNHEARD,
    SIGNED_UNVERIFIED,
    Announcement,
    ReceiverSecurity,
    SenderSecurity,
    Session,
)
from transport.slot import COUNTERS, SUPERFRAME, Sign, unverified

__all__ = [
    "TAG_BITS",
    "Part",
    "SlotListener",
    "SlotOpener",
    "SlotSealer",
    "piece_sign",
    "told_superframes",
]

TAG_BITS: Final = 11
"""Bits of the keyed check on the first indices of a frame: as many as one index, so that 1200
bit/s keep 7 codebooks on a synchronous line and 5 with start and stop bits."""

_CYCLE: Final = COUNTERS * SUPERFRAME
"""Slots before their number on the wire starts again: 10.24 s."""

_CONFIRMED: Final = 32
_MEMORY: Final = 12
"""Slots after which a right check counts no more: about a second."""

_LATEST: Final = 4
"""Cycles that an announcement may take to arrive: 41 s."""

_FIRST: Final = 1 << 16
"""Counter of slot 0: slots before a call's first tick have numbers below 0."""

_SIDE_COUNTER: Final = 1 << 48
"""Added to the counter of a block of the side channel, which needs a mask of its own."""

_LEAST_BETWEEN: Final = 62
"""Slots from one whole announcement to the next at least: those who have the key do not wait for
it."""

_OVERDUE: Final = 6
"""Announcements that may fail to find a pause before one takes the place of speech."""

_TAG_BITS: Final = 16
_SESSION_BYTES: Final = 9
"""Session (6), station (1), turn (2): the counter of the slot, divided by 128, modulo 65536."""

_TOLD_BITS: Final = 56
"""Session and station, which stay the same from one time to the next."""

_SESSION_BITS: Final = 8 * _SESSION_BYTES + _TAG_BITS
_HALF_BITS: Final = _SESSION_BITS // 2
"""Where a payload cannot hold a session, two slots do, with their place before it."""

_PIECE_BITS: Final = _SESSION_BITS // SUPERFRAME
"""Of a session superframe in each of its frames: one index."""

_LASTING_PIECES: Final = 8 * _SESSION_BYTES // _PIECE_BITS
"""Pieces without bits of the check; what they say changes at most once in eleven minutes."""

_TAILS: Final = (1, 2)
"""Superframes after one whose end is known in which its beginning may come again."""

_TOLD_PIECES: Final = _TOLD_BITS // _PIECE_BITS
"""Pieces that are whole within those bits."""

_EQUAL: Final = 2
"""What a piece that is as it was announced counts against others that are not."""

_SESSION_PAUSE: Final = 12
"""Slots from one session slot to the next while nobody speaks: about a second."""

_Found = TypeVar("_Found")


class Part(IntEnum):
    """What of a slot is sealed. The numbers keep the checks of one slot apart."""

    SPEECH = 0
    WORD = 1
    SIDE = 2
    """A block of the side channel; its number is that of its first slot."""
    SESSION = 3
    """A session slot or superframe; its number is that of the first slot."""

    @property
    def tag_bits(self) -> int:
        """Bits of the check."""
        return TAG_BITS if self is Part.SPEECH else _TAG_BITS


def _mask(session: Session, part: Part, counter: int, size: int) -> int:
    return session.mask(counter + (_SIDE_COUNTER if part is Part.SIDE else 0), size)


def _signer(session: Session, part: Part, counter: int) -> Sign:
    return lambda content: session.sign(part, counter, content, bits=part.tag_bits)


def piece_sign(sign: Sign) -> Sign:
    """The check of a frame whose last index made room for a piece of its session."""
    return sign if sign is unverified else lambda content: sign(content + b"\1")


def told_superframes(announce_seconds: float) -> int:
    """Superframes from one that tells of its session to the next, 1 to 16.

    A power of two, so that the counter on the wire goes round with it.
    """
    superframes = max(1.0, announce_seconds / (SUPERFRAME * FRAME_SECONDS))
    return min(COUNTERS, 1 << round(math.log2(superframes)))


class SlotSealer:
    """Checks and masks of a sender's slots; numbers are those of slots, unwrapped.

    Args:
        announce_seconds: how often frames tell of its session, and at least a whole announcement
            in pauses.
    """

    def __init__(self, security: SenderSecurity, *, announce_seconds: float) -> None:
        self._security = security
        self._every = max(_LEAST_BETWEEN, round(announce_seconds / FRAME_SECONDS))
        self._announced_at: int | None = None
        self._superframes = told_superframes(announce_seconds)
        self._told_at: int | None = None
        self._turns = 0

    def sign(self, part: Part, number: int) -> Sign:
        """Gives the check of what a slot carries."""
        return _signer(self._security.at(number + _FIRST), part, number + _FIRST)

    def mask(self, part: Part, number: int, size: int) -> int:
        """`size` bits to be XORed to what a slot carries, its check included."""
        return _mask(self._security.at(number + _FIRST), part, number + _FIRST, size)

    def announcement(self, number: int, *, pause: bool) -> bytes | None:
        """What to announce in the slots from this one on, if it is time to.

        pause: nobody speaks. When it is long overdue, it is time even so.
        """
        if self._announced_at is None:
            # Session slots at the start of a call say enough until the first pause.
            self._announced_at = number - (self._every if pause else 0)
        wait = self._every if pause else self._every * _OVERDUE
        if number < self._announced_at + wait:
            return None
        self._announced_at = number
        return self._security.announcement(number + _FIRST)

    def session_slots(self, number: int, size: int) -> list[int]:
        """Payloads of `size` bits for the slots of a pause, or the first ones of a call.

        Empty unless it is time to tell its session again.
        """
        if self._told_at is not None and number < self._told_at + _SESSION_PAUSE:
            return []
        self._told_at = number
        value = self._session_word(number)
        if size >= _SESSION_BITS:
            return [value << size - _SESSION_BITS]
        first, second = value >> _HALF_BITS, value & (1 << _HALF_BITS) - 1
        fill = size - _HALF_BITS - 1
        return [first << fill, (1 << _HALF_BITS | second) << fill]

    def session_pieces(self, number: int) -> tuple[int, ...]:
        """What the frames of the superframe that begins here carry in place of their last index.

        Empty for most superframes.
        """
        if number // SUPERFRAME % self._superframes:
            return ()
        return _pieces(self._session_word(number))

    def _session_word(self, number: int) -> int:
        counter = number + _FIRST
        # While the next session is announced, those who join need the one in use as well.
        self._turns += 1
        current, announced = self._security.at(counter), self._security.announced(counter)
        return _session_word(announced if self._turns % 2 else current, counter)


def _session_word(session: Session, counter: int) -> int:
    """What tells of a session from the slot of this counter on."""
    turn = counter // _CYCLE & 0xFFFF
    content = session.number.to_bytes(6, "big") + bytes([session.station])
    content += turn.to_bytes(2, "big")
    tag = _signer(session, Part.SESSION, counter)(content)
    return int.from_bytes(content, "big") << _TAG_BITS | tag


def _pieces(word: int) -> tuple[int, ...]:
    """What each frame of a session superframe carries of such a word."""
    return tuple(
        word >> _PIECE_BITS * place & (1 << _PIECE_BITS) - 1
        for place in range(SUPERFRAME - 1, -1, -1)
    )


@dataclass(eq=False)
class _Guess:
    """A session, and how far its counters are from this receiver's numbers of slots.

    proofs: number and bits of the right checks of late; guesses of the same offset share
    them, so that a sender may change its session without a gap.
    """

    session: Session
    offset: int
    proofs: deque[tuple[int, int]]

    def evidence(self, number: int) -> int:
        """Bits of right checks in the slots before this one."""
        while self.proofs and abs(number - self.proofs[0][0]) >= _MEMORY:
            self.proofs.popleft()
        return sum(bits for _, bits in self.proofs)


class SlotOpener:
    """Finds out which session slots belong to, and lets through what a holder of the key sent.

    Numbers are this receiver's, which are right modulo 128.
    """

    def __init__(self, security: ReceiverSecurity) -> None:
        self._security = security
        self._guesses: list[_Guess] = []
        self._half: tuple[int, int] | None = None
        self._pieces: dict[int, dict[int, int]] = {}

    @property
    def problem(self) -> str:
        """In words, why nothing is let through; empty while all is well."""
        return self._security.problem

    def in_use(self, number: int) -> bool:
        """Whether slots up to this one have proved who sends them."""
        return bool(self._guesses) and self._guesses[0].evidence(number) >= _CONFIRMED

    def unprotected(self) -> None:
        """Note a valid word without a keyed check, which is dropped."""
        self._security.unprotected()

    def announce(self, data: bytes, number: int, now: float) -> None:
        """Take an announcement that was complete with this slot."""
        session = self._security.announce(data, now)
        if session is None:
            return
        self._forget_sessions()
        announced = self._security.tick(session)
        nearest = announced + (number + _FIRST - announced) % _CYCLE
        for turn in range(_LATEST):
            self._guess(session, nearest + turn * _CYCLE - number)
        if self._guesses:
            self._guess(session, self._guesses[0].offset)

    def _forget_sessions(self) -> None:
        sessions = self._security.sessions
        self._guesses = [one for one in self._guesses if one.session in sessions]

    def session_slot(self, payload: int, number: int, now: float, *, size: int) -> bool:
        """Whether a payload is a session slot, or the first of two; takes what it tells."""
        if size >= _SESSION_BITS:
            fill = size - _SESSION_BITS
            return not payload & (1 << fill) - 1 and self._learn(payload >> fill, number, now)
        fill = size - _HALF_BITS - 1
        if payload & (1 << fill) - 1:
            return False
        value = payload >> fill
        if not value >> _HALF_BITS:
            self._half = (number, value)
            return True
        if self._half is None or self._half[0] != number - 1:
            return False
        value &= (1 << _HALF_BITS) - 1
        return self._learn(self._half[1] << _HALF_BITS | value, number - 1, now)

    def piece(self, value: int, number: int, now: float) -> bool:
        """Take what the frame in a slot may carry of its session; gives whether it is known now."""
        superframe, index = divmod(number, SUPERFRAME)
        if superframe not in self._pieces:
            self._pieces = {
                one: pieces
                for one, pieces in self._pieces.items()
                if 0 < superframe - one <= _TAILS[-1]
            }
            self._pieces[superframe] = {}
        pieces = self._pieces[superframe]
        pieces[index] = value
        if index == SUPERFRAME - 1:
            return self._join(pieces, superframe, now)
        if index >= _LASTING_PIECES or self.in_use(number):
            return False
        # Who came in the middle of one superframe has its end, and now the beginning of another.
        return any(
            self._join({**self._pieces[one], **pieces}, one, now)
            for one in (superframe - back for back in _TAILS)
            if one in self._pieces
        )

    def _join(self, pieces: dict[int, int], superframe: int, now: float) -> bool:
        """Take all pieces, if that they are; the check is that of this superframe."""
        if len(pieces) < SUPERFRAME:
            return False
        word = 0
        for index in range(SUPERFRAME):
            word = word << _PIECE_BITS | pieces[index]
        return self._learn(word, superframe * SUPERFRAME, now)

    def tells(self, value: int, number: int) -> bool:
        """Whether the bits at the place of a last index are a piece of a session that is known.

        Those of a session that is not are taken for an index: with a check that is right by
        chance at the same time, so rarely that no frame is given up for it.
        """
        superframe, index = divmod(number, SUPERFRAME)
        first = superframe * SUPERFRAME
        return any(
            _pieces(_session_word(one.session, max(first + one.offset, 0)))[index] == value
            for one in self._guesses
        )

    def _learn(self, word: int, number: int, now: float) -> bool:
        """Take a session that was told from this slot on; gives whether its tag is right."""
        content = (word >> _TAG_BITS).to_bytes(_SESSION_BYTES, "big")
        counter = int.from_bytes(content[7:], "big") * _CYCLE + number % _CYCLE
        announcement = Announcement(
            suite=self._security.suite,
            session=int.from_bytes(content[:6], "big"),
            station=content[6],
            tick=counter,
        )
        tag = word & (1 << _TAG_BITS) - 1
        session = self._security.hear(
            announcement, lambda one: _signer(one, Part.SESSION, counter)(content) == tag, now
        )
        if session is None:
            return False
        self._forget_sessions()
        self._guess(session, counter - number)
        return True

    def _guess(self, session: Session, offset: int) -> None:
        proofs: deque[tuple[int, int]] = deque(maxlen=_MEMORY)
        for guess in self._guesses:
            if guess.offset == offset and guess.session.station == session.station:
                proofs = guess.proofs
                if guess.session is session:
                    return
        # What has proved itself is in front; old guesses fall off the end.
        del self._guesses[3 * _LATEST :]
        self._guesses.append(_Guess(session, offset, proofs))

    def open(
        self,
        part: Part,
        number: int,
        bits: int,
        now: float,
        *,
        size: int,
        decode: Callable[[int, Sign], _Found | None],
        at: int | None = None,
    ) -> _Found | None:
        """What `decode` makes of `size` bits without their mask; None if it is not let through.

        decode: gives None where the check that the `Sign` gives is wrong. at: the slot now, if
        it is not `number`.
        """
        here = number if at is None else at
        for guess in self._tries(here):
            counter = number + guess.offset
            if counter < 0 or guess.session not in self._security.sessions:
                continue
            sign = _signer(guess.session, part, counter)
            found = decode(bits ^ _mask(guess.session, part, counter, size), sign)
            if found is None:
                continue
            # What was heard before proves nothing about who sends now.
            if (
                self._security.fresh(guess.session, counter, part)
                and self._prove(guess, part, here)
                and self._security.accept(guess.session, counter, part, now)
            ):
                return found
            return None
        self._security.statistics.refused += 1
        return None

    def _prove(self, guess: _Guess, part: Part, number: int) -> bool:
        """Note a right check; gives whether there are enough of them."""
        if part is not Part.SIDE:  # which is seconds old
            guess.proofs.append((number, part.tag_bits))
        if guess.evidence(number) < _CONFIRMED:
            return False
        self._guesses.remove(guess)
        self._guesses.insert(0, guess)
        return True

    def _tries(self, number: int) -> list[_Guess]:
        """The guess in use and its next session; unless it was right of late, all others."""
        if not self._guesses:
            return []
        first = self._guesses[0]
        if self.in_use(number):
            return [one for one in self._guesses if one.proofs is first.proofs]
        # The receiver may have lost count by a cycle.
        for turn in (-_CYCLE, _CYCLE):
            self._guess(first.session, first.offset + turn)
        return list(self._guesses)


class SlotListener:
    """Hears slots without the key: signed ones, for which nobody vouches, and no encrypted ones.

    It takes the place of a `SlotOpener`.

    announcement: of the station that is heard.
    """

    def __init__(self, announcement: Announcement) -> None:
        self._encrypted = announcement.suite.encrypts
        self.problem = ENCRYPTED_UNHEARD if self._encrypted else SIGNED_UNVERIFIED
        self._told = announcement.session << 8 | announcement.station
        # The whole pieces that a session superframe begins with.
        self._told_pieces = _pieces(self._told << _SESSION_BITS - _TOLD_BITS)[:_TOLD_PIECES]
        self._superframe = self._score = 0

    def tells(self, _value: int, number: int) -> bool:
        """Whether the last index of the frame in this slot is none, as `piece` has seen."""
        return self._superframe == number // SUPERFRAME and self._score > 0

    def in_use(self, _number: int) -> bool:
        """True: there is nothing to wait for."""
        return True

    def piece(self, value: int, number: int, _now: float) -> bool:
        """Note whether this superframe tells of its session, as the last indices say."""
        superframe, index = divmod(number, SUPERFRAME)
        if superframe != self._superframe:
            self._superframe, self._score = superframe, 0
        if index < _TOLD_PIECES:
            # An index is equal by chance once in 2048 frames; a piece is damaged more often.
            self._score += _EQUAL if value == self._told_pieces[index] else -1
        return False

    def session_slot(self, payload: int, _number: int, _now: float, *, size: int) -> bool:
        """Whether a payload is a session slot."""
        if size >= _SESSION_BITS:
            return payload >> size - _TOLD_BITS == self._told
        return not payload & (1 << size - _HALF_BITS - 1) - 1

    def open(
        self,
        _part: Part,
        _number: int,
        bits: int,
        _now: float,
        *,
        size: int,  # noqa: ARG002
        decode: Callable[[int, Sign], _Found | None],
        at: int | None = None,  # noqa: ARG002
    ) -> _Found | None:
        """What `decode` makes of the bits, whatever their check; None if they are encrypted."""
        return None if self._encrypted else decode(bits, unverified)
