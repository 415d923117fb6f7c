"""Redundancy of packets: first books of earlier packets, copied or combined, and their repair.

A packet that carries parity has, for each of its frames, the first books of frames in one or
more of the three packets before it, combined with exclusive or. One distance is a copy (as the
in-band copy of Opus); more are a sliding parity that repairs two losses in a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from linkcodec.frame import Frame
from transport.packet import MAX_DISTANCE, TICKS, Parity, VoicePacket

__all__ = ["ParityMaker", "Redundancy", "Repairer"]

_WINDOW: Final = TICKS // 2
"""Ticks that are remembered: as far back as parity may reach."""

_MOST_EQUATIONS: Final = 256
_MOST_TOGETHER: Final = 16
"""Frames that one repaired packet holds at most."""


@dataclass(frozen=True, kw_only=True)
class Redundancy:
    """How much of each frame is sent again, and when.

    books: number of first indices that are covered. distances: see `transport.packet.Parity`.
    """

    books: int
    distances: tuple[int, ...]


class ParityMaker:
    """The sender's side: remembers the packets of the running spurt."""

    def __init__(self) -> None:
        self._sent: deque[tuple[Frame, ...]] = deque(maxlen=MAX_DISTANCE)

    def start(self) -> None:
        """A new spurt begins."""
        self._sent.clear()

    def parity(self, frames: tuple[Frame, ...], redundancy: Redundancy) -> Parity | None:
        """What the next full packet carries for those before it; None if there are none."""
        back = {distance: self._back(distance) for distance in redundancy.distances}
        covered = {
            distance: sent
            for distance, sent in back.items()
            # A packet of another length or with fewer books cannot be combined.
            if len(sent) == len(frames) and len(sent[0].indices) >= redundancy.books
        }
        self._sent.append(frames)
        if not covered:
            return None
        books = []
        for place in range(len(frames)):
            value = [0] * redundancy.books
            for sent in covered.values():
                value = _combine(value, sent[place].indices)
            books.append(Frame(tuple(value)))
        return Parity(distances=tuple(covered), books=tuple(books))

    def _back(self, distance: int) -> tuple[Frame, ...]:
        return self._sent[-distance] if distance <= len(self._sent) else ()

    def tail(self, redundancy: Redundancy, last: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Frames at the end of a spurt that no packet covers, `last` (a short packet) included.

        Their first books only.
        """
        packets = [*self._sent, last] if last else list(self._sent)
        reach = redundancy.distances[-1] + bool(last)
        frames = [frame.coarse(redundancy.books) for sent in packets[-reach:] for frame in sent]
        return tuple(frame for frame in frames if len(frame.indices) == redundancy.books)


def _combine(one: Iterable[int], other: Iterable[int]) -> list[int]:
    return [left ^ right for left, right in zip(one, other, strict=False)]


@dataclass(slots=True)
class _Equation:
    """The exclusive or of the first books of the frames at `ticks` is `value`."""

    ticks: tuple[int, ...]
    value: tuple[int, ...]


@dataclass
class Repairer:
    """The receiver's side: finds frames that never came in the parity of others.

    Ticks come modulo `TICKS` and are unwrapped against the newest one. Memory is bounded by
    the window of 256 ticks.
    """

    _books: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _equations: deque[_Equation] = field(default_factory=lambda: deque(maxlen=_MOST_EQUATIONS))
    _newest: int | None = None

    def take(self, packet: VoicePacket) -> list[VoicePacket]:
        """Take a packet; gives those to play: itself, or what is new in it, and repaired ones."""
        first = self._unwrap(packet)
        ticks = range(first, first + len(packet.frames))
        fresh = [tick for tick in ticks if tick not in self._books]
        for tick, frame in zip(ticks, packet.frames, strict=True):
            if len(frame.indices) > len(self._books.get(tick, ())):
                self._books[tick] = frame.indices
        if packet.parity is not None:
            self._add_equations(first, packet.parity)
        repaired = {tick: self._books[tick] for tick in fresh} if packet.repair else {}
        while solved := self._solve():
            repaired |= solved
        packets = [] if packet.repair else [packet]
        return packets + _packets(repaired)

    def _unwrap(self, packet: VoicePacket) -> int:
        length = len(packet.frames)
        if self._newest is None:
            first = TICKS + packet.tick
        else:
            first = self._newest + (packet.tick - self._newest + TICKS // 2) % TICKS - TICKS // 2
            if abs(first - self._newest) >= _WINDOW:
                self._books.clear()
                self._equations.clear()
                self._newest = first
        self._newest = max(first + length - 1, self._newest or 0)
        oldest = self._newest - _WINDOW
        for tick in [tick for tick in self._books if tick <= oldest]:
            del self._books[tick]
        while self._equations and self._equations[0].ticks[0] <= oldest:
            self._equations.popleft()
        return first

    def _add_equations(self, first: int, parity: Parity) -> None:
        count = len(parity.books)
        for place, books in enumerate(parity.books):
            back = sorted(first + place - distance * count for distance in parity.distances)
            self._equations.append(_Equation(tuple(back), books.indices))

    def _solve(self) -> dict[int, tuple[int, ...]]:
        """Frames that one pass over the equations finds."""
        solved: dict[int, tuple[int, ...]] = {}
        kept = []
        for equation in self._equations:
            unknown = [tick for tick in equation.ticks if tick not in self._books]
            known = [self._books[tick] for tick in equation.ticks if tick in self._books]
            usable = all(len(books) >= len(equation.value) for books in known)
            if len(unknown) > 1:
                kept.append(equation)
            elif unknown and usable:
                value = list(equation.value)
                for books in known:
                    value = _combine(value, books)
                solved[unknown[0]] = self._books[unknown[0]] = tuple(value)
        if len(kept) < len(self._equations):
            self._equations = deque(kept, maxlen=_MOST_EQUATIONS)
        return solved


def _packets(books: dict[int, tuple[int, ...]]) -> list[VoicePacket]:
    """Repaired frames as packets of neighbours with the same number of indices."""
    runs: list[list[int]] = []
    for tick in sorted(books):
        run = runs[-1] if runs else []
        follows = bool(run) and tick == run[-1] + 1 and len(books[tick]) == len(books[run[-1]])
        if follows and len(run) < _MOST_TOGETHER:
            run.append(tick)
        else:
            runs.append([tick])
    return [
        VoicePacket(
            tick=run[0] % TICKS, frames=tuple(Frame(books[tick]) for tick in run), repair=True
        )
        for run in runs
    ]
