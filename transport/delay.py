"""How late packets are: the statistics behind the jitter buffer's delay."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import islice, takewhile
from operator import attrgetter
from typing import Final

from linkcodec.frame import FRAME_SECONDS
from transport.config import JitterConfig
from transport.drift import DriftEstimator

__all__ = ["DelayEstimator"]

_MOST_PACKETS: Final = 400
_LEAST_PACKETS: Final = 10

_MARGIN: Final = 0.04
_REACH: Final = 0.06
"""Seconds beyond the quantile that are spent, and that may be spent where they catch all of the
recent packets: a quantile of some hundred packets is uncertain by a fifth of their mean delay."""

_SPARE: Final = 0.01
_SPARE_FOR_DRIFT: Final = 6.0
"""Seconds beyond the latest packet, and that many times what clocks drift apart in a second:
speech runs a little below the target before it is slowed down."""

_PEAK: Final = 0.2
"""A packet this much later than the target was held up: what is let go with it is one event."""

_BURST_PACE: Final = 0.5
"""Packets that come twice as fast as they were spoken had been held up together."""

_LEVEL_SECONDS: Final = 0.5

_SHIFT: Final = 0.06
_SHIFT_UP_SECONDS: Final = 0.7
_SHIFT_DOWN_SECONDS: Final = 0.25
_SHIFT_PACKETS: Final = 4


@dataclass(frozen=True, slots=True)
class _Arrival:
    time: float
    frames: int
    offset: float
    spoken: float  # media time of the packet's first frame
    counted: bool


class DelayEstimator:
    """Recent arrivals, as offsets between the receiver's clock and the sender's media time.

    An offset is (arrival - media time of the packet's first frame), so it holds the unknown
    clock difference, the time to collect and send a packet, and the path's delay. A frame
    played at `base + target` after its media time is there for the quantile of recent packets,
    and 40 ms longer where that catches the rest. Only packets of the full length count: short
    ones at the end of a spurt come earlier. Arrivals are forgotten after `history_seconds`, but
    the last ten never. Three things are kept apart from the quantile (as the peak detector of
    WebRTC's NetEq does):

    - a stall: packets that were held up and came together count as the first of them;
    - a shift: where all packets of about a second are later, or earlier, than all before them,
      the path is another one and what came before is forgotten;
    - the drift of the clocks, which is taken off the offsets.

    base: smallest recent offset in seconds, None before the first packet.
    target: delay beyond `base` in seconds, between floor and ceiling of the settings.
    level: delay beyond `base` of the fastest packet of the last half second.
    full_frames: frames in a full packet. shifts: times that the path became another one.
    hold: seconds by which repairs come after the packets that they repair, set by the owner.
    """

    def __init__(self, config: JitterConfig) -> None:
        self.base: float | None = None
        self.full_frames = 0
        self.level = 0.0
        self.shifts = 0
        self.hold = 0.0
        self.drift = DriftEstimator()
        self._arrivals: deque[_Arrival] = deque(maxlen=_MOST_PACKETS)
        self._wanted = 0.0
        self._since = -math.inf
        self.configure(config)

    def configure(self, config: JitterConfig) -> None:
        """Use other settings from now on."""
        self._config = config
        self._floor = config.floor_ms / 1000
        self._ceiling = config.ceiling_ms / 1000

    @property
    def target(self) -> float:
        """Delay beyond `base` in seconds that suits the recent packets."""
        return min(max(self._wanted, self._floor) + self.hold, self._ceiling)

    @property
    def present(self) -> float:
        """Delay that suits this moment: after a packet later than the target, at least that of
        the fastest of those that came with it."""
        return max(self.target, self.level)

    def reset(self) -> None:
        """Forget all arrivals."""
        self._arrivals.clear()
        self.drift.reset()
        self._since = -math.inf
        self.base = None
        self.level = self._wanted = 0.0

    def add(self, *, offset: float, frames: int, now: float) -> None:
        """Take the arrival of a packet of `frames` frames."""
        if now - offset < self._since:
            return  # It took the path that is no more.
        held_up = self._held_up(offset, frames, now)
        self._arrivals.append(_Arrival(now, frames, offset, now - offset, not held_up))
        oldest = now - self._config.history_seconds
        while len(self._arrivals) > _LEAST_PACKETS and self._arrivals[0].time < oldest:
            self._arrivals.popleft()
        full = max(one.frames for one in self._arrivals)
        if full != self.full_frames:
            self.full_frames = full
            self.drift.reset()
        if frames == full:
            self.drift.add(offset, now)
            if self._path_shifted(now):
                self.shifts += 1
                self.drift.reset()
        self._measure(now)

    def _held_up(self, offset: float, frames: int, now: float) -> bool:
        """Whether this packet came out of a stall together with the one before it."""
        if not self._arrivals or self.base is None:
            return False
        before = self._arrivals[-1]
        together = (
            now - before.time < _BURST_PACE * frames * FRAME_SECONDS and offset < before.offset
        )
        return together and (not before.counted or before.offset - self.base > self.target + _PEAK)

    def _path_shifted(self, now: float) -> bool:
        """Forget what came before a shift of all delays; whether there was one."""
        full = [one for one in self._arrivals if one.frames == self.full_frames]
        slack = _SHIFT + abs(self.drift.rate) * (now - full[0].time)
        # Where the path gets shorter, new packets overtake old ones for a while.
        full.sort(key=attrgetter("spoken"))
        for seconds, direction in ((_SHIFT_DOWN_SECONDS, -1), (_SHIFT_UP_SECONDS, 1)):
            split = len(full) - _SHIFT_PACKETS
            # In a stall much speech comes at once, and in a pause none comes for long.
            while split > 0 and seconds > min(
                full[-1].spoken - full[split].spoken, now - full[split].time
            ):
                split -= 1
            earlier = [one.offset for one in full[: max(split, 0)] if one.counted]
            # Neither a single packet of another speed nor a history of one or two is a proof.
            if len(earlier) < _SHIFT_PACKETS:
                continue
            share = self._config.quantile if direction > 0 else 1.0
            exceptions = len(earlier) - math.ceil(share * len(earlier))
            bound = min(direction * one.offset for one in full[split:]) - slack
            beyond = (1 for offset in reversed(earlier) if direction * offset >= bound)
            # Counted no farther than needed: mostly the newest few decide.
            if sum(islice(beyond, exceptions + 1)) <= exceptions:
                self._arrivals = deque(full[split:], maxlen=_MOST_PACKETS)
                self._since = full[split].spoken
                return True
        return False

    def _measure(self, now: float) -> None:
        rate = self.drift.rate
        full = [one for one in self._arrivals if one.frames == self.full_frames]
        self.base = base = min(one.offset - rate * one.time for one in full) + rate * now
        recent = takewhile(lambda one: one.time >= now - _LEVEL_SECONDS, reversed(full))
        self.level = min((one.offset + rate * (now - one.time) for one in recent), default=base)
        self.level -= base
        delays = sorted(
            [one.offset + rate * (now - one.time) - base for one in full if one.counted]
        )
        # Packets that no permitted delay would have caught say nothing about the best one.
        del delays[bisect_right(delays, self._ceiling) :]
        quantile = delays[math.ceil(self._config.quantile * len(delays)) - 1] if delays else 0.0
        latest = delays[-1] if delays else 0.0
        spare = _SPARE + _SPARE_FOR_DRIFT * abs(rate)
        catches_all = latest + _SPARE <= quantile + _REACH
        most = quantile + (_REACH if catches_all else _MARGIN)
        self._wanted = min(most, latest + spare) if delays else 0.0
