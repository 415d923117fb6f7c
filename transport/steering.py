"""When the delay of a talk spurt is corrected by playing faster or slower, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["SLACK", "Steering", "Stretch", "Urgency"]

_LOW: Final = -0.008
SLACK: Final = 0.078
"""Delay beyond the target, in seconds, that running speech may have. The band is so wide that
a clock 1000 ppm off, which is 60 ms in a minute, takes less than one correction per minute.
It hardly goes below the target: there packets come late, and a gap costs a whole frame."""

_LOW_GOAL: Final = 0.01
_HIGH_GOAL: Final = 0.056
_GOAL: Final = 0.012
"""Goals lie within the band by at least what one frame may be scaled."""

_DRIFT: Final = 50e-6
"""Seconds per second from which on the clocks' drift decides where in the band to stop."""

_AT_ONCE: Final = 0.2
_LEAST: Final = 0.0025

MOST_SHORTER: Final = 0.016
MOST_LONGER: Final = 0.02
"""A frame of 80 ms is played in 64 to 100 ms: at most 25 % faster or longer."""


class Urgency(Enum):
    """Where a correction may be made."""

    PAUSE = "only where nobody hears it"
    SPEECH = "in voiced speech or a pause, where waveforms fit together"
    AT_ONCE = "in any sound"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A wish: play an item this many seconds longer, or shorter if negative."""

    seconds: float = 0.0
    urgency: Urgency = Urgency.PAUSE


class Steering:
    """A controller with hysteresis: it corrects outside a band, and then well into it.

    corrections: times that it began to change the pace of running speech.
    """

    def __init__(self) -> None:
        self.corrections = 0
        self._direction = 0

    def reset(self) -> None:
        """A talk spurt begins."""
        self._direction = 0

    def wish(self, excess: float, *, drift: float, slack: float = SLACK) -> Stretch:
        """What to do about a delay `excess` seconds beyond the target.

        Args:
            drift: growth of the offsets in seconds per second, see `DriftEstimator`.
            slack: excess from which on running speech is hurried.
        """
        before = self._direction
        # A fast sender fills the buffer by itself, so the goal is the other edge.
        low = _LOW_GOAL if drift < -_DRIFT else _GOAL
        high = _HIGH_GOAL if drift > _DRIFT else _GOAL
        high = min(high, slack - MOST_LONGER)
        low = min(low, max(high, _LOW + MOST_SHORTER))
        if excess > slack:
            self._direction = -1
        elif excess < _LOW:
            self._direction = 1
        elif self._direction < 0:
            self._direction = -1 if excess > low else 0
        elif self._direction > 0:
            self._direction = 1 if excess < high else 0
        if self._direction not in (0, before):
            self.corrections += 1
        seconds = min(max(-excess, -MOST_SHORTER), MOST_LONGER)
        if not self._direction:
            return Stretch(seconds if abs(seconds) >= _LEAST else 0.0)
        # Up to the goal, although the target is reached on the way.
        full = MOST_LONGER if self._direction > 0 else -MOST_SHORTER
        urgency = Urgency.AT_ONCE if abs(excess) > _AT_ONCE else Urgency.SPEECH
        return Stretch(full, urgency)
