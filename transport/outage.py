"""What a link may have stored through an outage: a modem or a queue that lets go of it at once."""

from __future__ import annotations

from typing import Final

__all__ = ["Outage"]

_GAP: Final = 1.0
_RECENT: Final = 5.0
"""Seconds: a gap between packets that may be an outage, and how long after it stored ones come."""

_LONG_GAP: Final = 15.0
"""Seconds after which ticks, which wrap within 41 s, may have wrapped unseen."""

_AHEAD: Final = 1.0
_LIVE_PACE: Final = 0.7


class Outage:
    """The last gap between packets, and whether what came after it had been stored.

    After a long gap ticks do not tell how old a packet is; but what is let go of comes faster
    than it was spoken. Once that is a second ahead of time, all of it is taken for stored, up
    to a packet that comes about as late after the one before it as it was spoken.

    flooded: the newest packet was stored, through so long a gap that its tick tells nothing.
    """

    def __init__(self) -> None:
        self.flooded = False
        self._heard: float | None = None
        self._start = self._end = 0.0
        self._come = 0.0  # seconds of speech since the gap

    def add(self, length: float, *, longest: float, now: float) -> None:
        """Take the arrival of a packet.

        Args:
            length: seconds of speech in it, 0 for silence.
            longest: seconds of speech in a full packet.
        """
        before, self._heard = self._heard, now
        if before is None:
            return
        quiet = now - before
        if quiet > _GAP:
            self._start, self._end, self._come = before, now, -length
            self.flooded = False
        elif self.flooded:
            self.flooded = quiet < _LIVE_PACE * max(length, longest) or not length
            return
        self._come += length
        since = now - self._end
        self.flooded = (
            self._end - self._start > _LONG_GAP and since < _RECENT and self._come - since > _AHEAD
        )

    def explains(self, lateness: float, now: float) -> bool:
        """Whether a packet so many seconds late may have been stored in the last gap."""
        recent = now - self._end < _RECENT and self._end > self._start
        return recent and 0 < lateness <= now - self._start
