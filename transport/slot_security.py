"""Security of slots: keyed checks in place of CRCs, and a mask over every payload.

A frame has a check of `TAG_BITS` bits on its first indices, a control word one of 16, keyed with
session and slot number; so each slot proves by itself who sent it. One short check alone is a weak
proof: a receiver lets nothing through before it has seen `_CONFIRMED` bits of right checks within
`_MEMORY` slots, and asks for them anew when there are less. See docs/security.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from linkcodec.frame import FRAME_SECONDS
from transport.security import ReceiverSecurity, SenderSecurity, Session
from transport.slot import COUNTERS, SUPERFRAME, Sign

__all__ = ["TAG_BITS", "Part", "SlotOpener", "SlotSealer"]

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

_OVERDUE: Final = 6
"""Announcements that may fail to find a pause before one takes the place of speech."""

_Found = TypeVar("_Found")


class Part(IntEnum):
    """What of a slot is sealed. The numbers keep the checks of one slot apart."""

    SPEECH = 0
    WORD = 1
    SIDE = 2
    """A block of the side channel; its number is that of its first slot."""

    @property
    def tag_bits(self) -> int:
        """Bits of the check."""
        return TAG_BITS if self is Part.SPEECH else 16


def _mask(session: Session, part: Part, counter: int, size: int) -> int:
    return session.mask(counter + (_SIDE_COUNTER if part is Part.SIDE else 0), size)


def _signer(session: Session, part: Part, counter: int) -> Sign:
    return lambda content: session.sign(part, counter, content, bits=part.tag_bits)


class SlotSealer:
    """Checks and masks of a sender's slots; numbers are those of slots, unwrapped.

    Args:
        announce_seconds: how often its session is announced where there is room.
    """

    def __init__(self, security: SenderSecurity, *, announce_seconds: float) -> None:
        self._security = security
        self._every = max(1, round(announce_seconds / FRAME_SECONDS))
        self._announced_at: int | None = None

    def sign(self, part: Part, number: int) -> Sign:
        """Gives the check of what a slot carries."""
        return _signer(self._security.at(number + _FIRST), part, number + _FIRST)

    def mask(self, part: Part, number: int, size: int) -> int:
        """`size` bits to be XORed to what a slot carries, its check included."""
        return _mask(self._security.at(number + _FIRST), part, number + _FIRST, size)

    def announcement(self, number: int, *, pause: bool) -> bytes | None:
        """What to announce in the slots from this one on, if it is time to.

        pause: nobody speaks. At the start of a call, and when it is long overdue, it is time
        even so.
        """
        last = self._announced_at
        wait = self._every if pause else self._every * _OVERDUE
        if last is not None and number < last + wait:
            return None
        self._announced_at = number
        return self._security.announcement(number + _FIRST)


@dataclass(eq=False)
class _Guess:
    """A session, and how far its counters are from this receiver's numbers of slots.

    proofs: number and bits of the right checks of late; guesses of the same offset share
    them, so that its session may change without a gap.
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
        sessions = self._security.sessions
        self._guesses = [one for one in self._guesses if one.session in sessions]
        announced = self._security.tick(session)
        nearest = announced + (number + _FIRST - announced) % _CYCLE
        for turn in range(_LATEST):
            self._guess(session, nearest + turn * _CYCLE - number)
        if self._guesses:
            self._guess(session, self._guesses[0].offset)

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
