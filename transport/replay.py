"""What was heard before: the replay window of a session, and the record of all sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Heard", "Ledger", "ReplayWindow"]

WINDOW_TICKS: Final = 256
"""How far behind the newest packet an older one may come: 20.5 s, half of what the 9 bits of a
tick on the wire tell apart."""

RESERVED_TICKS: Final = 50
"""Ticks that a record reserves ahead, so that it is written once in 4 s, not for each packet."""


class ReplayWindow:
    """Lets each (tick, lane) of a session pass once, in any order within `WINDOW_TICKS`.

    Args:
        floor: ticks below it are refused: they may have been heard before a restart.

    Memory is bounded by the window; only packets that passed their check come here.
    """

    def __init__(self, *, floor: int = 0) -> None:
        self.newest = -1
        self._floor = floor
        self._seen: dict[int, int] = {}

    def fresh(self, tick: int, lane: int) -> bool:
        """Whether `accept` would let this pass."""
        return tick >= self._floor and not self._seen.get(tick, 0) >> lane & 1

    def accept(self, tick: int, lane: int) -> bool:
        """Whether this is new; it is not from then on. `lane` is a small number, 0 or more."""
        if not self.fresh(tick, lane):
            return False
        self._seen[tick] = self._seen.get(tick, 0) | 1 << lane
        if tick > self.newest:
            self.newest = tick
            self._floor = max(self._floor, tick - WINDOW_TICKS)
        if len(self._seen) > 2 * WINDOW_TICKS:
            self._seen = {seen: lanes for seen, lanes in self._seen.items() if seen >= self._floor}
        return True


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The newest session of a station, and the newest tick in it that may have been heard."""

    session: int
    tick: int


class Ledger:
    """The newest session and tick of every station, kept over restarts.

    Args:
        stations: what was kept, by station.
        save: keeps the record; called before anything of a new session, or beyond the ticks
            reserved last, is let through. A record that cannot be kept should raise.
    """

    def __init__(
        self,
        stations: dict[int, Heard] | None = None,
        *,
        save: Callable[[dict[int, Heard]], None] | None = None,
    ) -> None:
        self._kept = dict(stations or {})
        self._heard = dict(self._kept)
        self._save = save

    def session(self, station: int) -> int:
        """The newest session of a station, -1 without any."""
        heard = self._heard.get(station)
        return -1 if heard is None else heard.session

    def floor(self, station: int, session: int) -> int:
        """The first tick of a session that was surely not heard yet."""
        heard = self._heard.get(station)
        return heard.tick + 1 if heard is not None and heard.session == session else 0

    def note(self, station: int, session: int, tick: int) -> None:
        """A packet of this session is let through; packets of older sessions change nothing."""
        heard = self._heard.get(station)
        if heard is not None and (session, tick) <= (heard.session, heard.tick):
            return
        kept = self._kept.get(station)
        if kept is None or (session, tick) > (kept.session, kept.tick):
            self._keep(station, Heard(session=session, tick=tick + RESERVED_TICKS))
        self._heard[station] = Heard(session=session, tick=tick)

    def _keep(self, station: int, heard: Heard) -> None:
        kept = {**self._kept, station: heard}
        if self._save is not None:
            self._save(kept)
        self._kept = kept

    def settle(self) -> None:
        """Keep exactly what was heard, without reserve: for an orderly end."""
        self._kept = dict(self._heard)
        if self._save is not None:
            self._save(self._kept)
