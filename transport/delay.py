"""How late packets are: the statistics behind the jitter buffer's delay."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from operator import attrgetter
from typing import Final

from linkcodec.frame import FRAME_SECONDS
from transport.config import JitterConfig
from transport.drift import DriftEstimator
from transport.steering import SLACK

__all__ = ["DelayEstimator"]

_MOST_PACKETS: Final = 1600
_LEAST_PACKETS: Final = 10

_MARGIN: Final = 0.06
_REACH: Final = 0.085
_REACH_SLOPE: Final = 0.8
"""Seconds beyond the quantile that are spent, and that are spent where they catch all of the
recent packets; where that is too dear, so many times less than what is missing."""

_SPARE: Final = 0.01
_SPARE_FOR_DRIFT: Final = 6.0
"""Seconds beyond the latest packet, and that many times what clocks drift apart in a second:
speech runs a little below the target before it is slowed down."""

_YOUNG: Final = 200
_YOUNG_SHARE: Final = 0.3
"""Of so few packets the latest says little: up to this share of its delay is spent beyond it."""

_CALM_LESS: Final = 0.1
_CALM_PACKETS: Final = 40
_CALM_SECONDS: Final = 1.0
"""Jitter has become less where the quantile of the last quarter of the history, of at least so
many packets, lies below a quantile of all of it that is so much lower; looked at that often."""

_SHORT: Final = 0.12
_SHORT_IN_DRIFT: Final = 0.25
_DRIFT: Final = 50e-6
_LEAST_SLACK: Final = 0.02
_SLACK_FROM: Final = 0.045
_SLACK_SLOPE: Final = 4.0
"""Speech may run as much later than the target as `steering` allows where both together are
short, and not so short where the clocks' drift makes a narrow band costly; and else less by so
many times what the target lies more than 45 ms above the quantile."""

_PEAK: Final = 0.2
"""A packet this much later than the target was held up: what is let go with it is one event."""

_BURST_PACE: Final = 0.5
"""Packets that come twice as fast as they were spoken had been held up together."""

_LEVEL_SECONDS: Final = 0.5

_KNOWN_PACKETS: Final = 20
"""Of so many the fastest is nearly as fast as one can be."""

_SHIFT: Final = 0.06
_SHIFT_UP_SECONDS: Final = 0.7
_SHIFT_DOWN_SECONDS: Final = 0.25
_SHIFT_PACKETS: Final = 4
_SHIFT_MORE: Final = 12
_SHIFT_HISTORY: Final = 400
_SLOPE_SECONDS: Final = 3.0
"""Where the path gets shorter bit by bit, it is compared with what it was so long ago."""


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
    and 60 ms longer, or 85 ms where that catches the rest. Only packets of the full length
    count: short ones at the end of a spurt come earlier. Arrivals are forgotten after
    `history_seconds`, but the last ten never, and sooner where the last quarter of that time
    has had much less jitter. Three things are kept apart from the quantile (as the peak detector
    of WebRTC's NetEq does):

    - a stall: packets that were held up and came together count as the first of them, and so do
      those that a longer path lets go of, in order, when it becomes a shorter one;
    - a shift: where all packets of about a second are later, or earlier, than all before them,
      the path is another one, and what came before is moved there;
    - the drift of the clocks, which is taken off the offsets.

    base: smallest recent offset in seconds, None before the first packet.
    target: delay beyond `base` in seconds, between floor and ceiling of the settings.
    slack: seconds beyond the target that running speech may be late without being hurried.
    level: delay beyond `base` of the fastest packet of the last half second.
    full_frames: frames in a full packet. shifts: times that the path became another one.
    jitter: mean difference of neighbouring packets' delays in seconds, as in RFC 3550.
    hold: seconds by which repairs come after the packets that they repair, set by the owner.
    """

    def __init__(self, config: JitterConfig) -> None:
        self.base: float | None = None
        self.full_frames = 0
        self.level = 0.0
        self.shifts = 0
        self.hold = 0.0
        self.jitter = 0.0
        self.drift = DriftEstimator()
        self._arrivals: deque[_Arrival] = deque()
        self._lengths: Counter[int] = Counter()  # packets by their frames
        self._levelled: list[float] = []
        self._held: list[float] = []
        self._rate = 0.0
        self._wanted = self._quantile = 0.0
        self._since = self._looked = -math.inf
        self._young = True
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

    @property
    def slack(self) -> float:
        """Less where the target is dear, or little is known yet."""
        beyond = self._wanted - self._quantile - _SLACK_FROM
        most = _LEAST_SLACK if self._young else SLACK - _SLACK_SLOPE * beyond
        short = _SHORT_IN_DRIFT if abs(self._rate) > _DRIFT else _SHORT
        return min(max(most, _LEAST_SLACK, short - self._wanted), SLACK)

    def reset(self) -> None:
        """Forget all arrivals."""
        self._arrivals.clear()
        self._lengths.clear()
        self._levelled.clear()
        self._held.clear()
        self.drift.reset()
        self._since = self._looked = -math.inf
        self.base = None
        self.level = self._wanted = self._quantile = 0.0

    def add(self, *, offset: float, frames: int, now: float) -> None:
        """Take the arrival of a packet of `frames` frames."""
        if now - offset < self._since:
            return  # It took the path that is no more.
        if self._arrivals:
            self.jitter += (abs(offset - self._arrivals[-1].offset) - self.jitter) / 16
        held_up = self._held_up(offset, frames, now)
        arrival = _Arrival(now, frames, offset, now - offset, not held_up)
        self._arrivals.append(arrival)
        self._lengths[frames] += 1
        if frames == self.full_frames:
            insort(self._sorted(arrival), self._level(arrival))
        self._forget(now - self._config.history_seconds, least=_LEAST_PACKETS)
        full = max(self._lengths)
        if full != self.full_frames:
            self.full_frames = full
            self.drift.reset()
            self._level_all()
        if frames == full:
            self.drift.add(offset, now)
            if self._path_shifted(now):
                self.shifts += 1
                self.drift.reset()
        if self.drift.rate != self._rate:
            self._level_all()
        if now - self._looked >= _CALM_SECONDS:
            self._looked = now
            self._forget_wilder_times(now)
        self._measure(now)

    def _forget(self, before: float, *, least: int) -> None:
        """Forget what arrived before a time, and more than can be kept, but for the last few."""
        arrivals = self._arrivals
        while len(arrivals) > _MOST_PACKETS or (
            len(arrivals) > least and arrivals[0].time < before
        ):
            oldest = arrivals.popleft()
            self._lengths[oldest.frames] -= 1
            self._lengths += Counter()
            if oldest.frames == self.full_frames:
                levelled = self._sorted(oldest)
                del levelled[bisect_left(levelled, self._level(oldest))]

    def _sorted(self, one: _Arrival) -> list[float]:
        """Where the offsets without drift of full packets of its kind are kept, least first."""
        return self._levelled if one.counted else self._held

    def _level(self, one: _Arrival) -> float:
        """Its offset without the drift of the clocks."""
        return one.offset - self._rate * one.time

    def _level_all(self) -> None:
        self._rate = self.drift.rate
        self._levelled = sorted(self._level(one) for one in self._full() if one.counted)
        self._held = sorted(self._level(one) for one in self._full() if not one.counted)

    def _full(self) -> Iterator[_Arrival]:
        """Full packets, newest first."""
        return (one for one in reversed(self._arrivals) if one.frames == self.full_frames)

    def _forget_wilder_times(self, now: float) -> None:
        """Where the jitter has become much less, keep what has come since then."""
        history = self._config.history_seconds
        start = now - history / 4
        if self._arrivals[0].time >= start:
            return
        recent = takewhile(lambda one: one.time >= start, self._full())
        calm = sorted(self._level(one) for one in recent if one.counted)
        if len(calm) < _CALM_PACKETS:
            return
        share = self._config.quantile
        if _quantile(calm, share) < _quantile(self._levelled, share - _CALM_LESS):
            # The first of the quarter may still be of the wilder times.
            self._forget(now - history / 8, least=_CALM_PACKETS)

    def _held_up(self, offset: float, frames: int, now: float) -> bool:
        """Whether this packet came out of a stall together with the one before it.

        So do the last ones of a longer path with the first of a shorter one, where none overtakes
        another.
        """
        if not self._arrivals or self.base is None:
            return False
        before = self._arrivals[-1]
        together = (
            now - before.time < _BURST_PACE * frames * FRAME_SECONDS and offset < before.offset
        )
        return together and (
            not before.counted
            or before.offset - self.base > self.target + _PEAK
            or (offset < self.base - _SHIFT and len(self._arrivals) >= _KNOWN_PACKETS)
        )

    def _path_shifted(self, now: float) -> bool:
        """Notice a shift of all delays; whether there was one."""
        full = list(islice(self._full(), _SHIFT_HISTORY))
        slack = _SHIFT + abs(self.drift.rate) * (now - full[-1].time)
        # Where the path gets shorter, new packets overtake old ones for a while.
        full.sort(key=attrgetter("spoken"))
        for seconds, direction, between in (
            (_SHIFT_DOWN_SECONDS, -1, 0.0),
            (_SHIFT_DOWN_SECONDS, -1, _SLOPE_SECONDS),
            (_SHIFT_UP_SECONDS, 1, 0.0),
        ):
            split = len(full) - _SHIFT_PACKETS
            # In a stall much speech comes at once, and in a pause none comes for long.
            while split > 0 and seconds > min(
                full[-1].spoken - full[split].spoken, now - full[split].time
            ):
                split -= 1
            split = max(split, 0)
            bound = min(direction * one.offset for one in full[split:]) - slack
            if direction < 0:
                # Some of the new path may have come before this was sure.
                least = max(0, split - _SHIFT_MORE)
                while split > least and -full[split - 1].offset >= bound:
                    split -= 1
            before = full[split].spoken - between
            earlier = [one.offset for one in full[:split] if one.counted and one.spoken < before]
            # Neither a single packet of another speed, nor what one stall held up, nor a history
            # of one or two is a proof.
            events = sum(one.counted or direction < 0 for one in full[split:])
            known = _KNOWN_PACKETS if between else _SHIFT_PACKETS
            if len(earlier) < known or events < _SHIFT_PACKETS:
                continue
            share = self._config.quantile if direction > 0 else 1.0
            exceptions = len(earlier) - math.ceil(share * len(earlier))
            beyond = (1 for offset in reversed(earlier) if direction * offset >= bound)
            # Counted no farther than needed: mostly the newest few decide.
            if sum(islice(beyond, exceptions + 1)) <= exceptions:
                self._since = full[split].spoken
                self._move(direction, bound, before)
                return True
        return False

    def _move(self, direction: int, bound: float, before: float) -> None:
        """Take what came before a shift for what it would have been on the new path.

        before: media time up to which packets took the old one.
        """
        old = [one for one in self._arrivals if one.spoken < self._since and one.counted]
        new = [one for one in self._arrivals if one.spoken >= self._since]
        least = min(one.offset for one in new)
        moved = sorted(
            one.offset for one in old if direction * one.offset < bound and one.spoken < before
        )
        # The first packets of the new path may count as the last of the old one.
        step = least - moved[len(moved) // 50]
        kept = [
            replace(one, offset=one.offset + step)
            if direction * one.offset < bound and one.offset + step > least - _SHIFT
            else one
            for one in old
        ]
        self._arrivals = deque(kept + new)
        self._lengths = Counter(one.frames for one in self._arrivals)
        self._level_all()

    def _measure(self, now: float) -> None:
        least = min([*self._levelled[:1], *self._held[:1]])
        self.base = least + self._rate * now
        recent = takewhile(lambda one: one.time >= now - _LEVEL_SECONDS, self._full())
        self.level = min((self._level(one) for one in recent), default=least) - least
        # Packets that no permitted delay would have caught say nothing about the best one.
        hopeful = self._levelled[: bisect_right(self._levelled, least + self._ceiling)]
        quantile = _quantile(hopeful, self._config.quantile) - least if hopeful else 0.0
        latest = hopeful[-1] - least if hopeful else 0.0
        young = max(0.0, 1 - len(hopeful) / _YOUNG)
        spare = _SPARE + _SPARE_FOR_DRIFT * abs(self._rate) + _YOUNG_SHARE * young * latest
        missing = max(0.0, latest + _SPARE - quantile - _REACH)
        reach = max(_REACH - _REACH_SLOPE * missing, _MARGIN) * (1 + young)
        self._quantile = quantile
        self._wanted = latest + spare if not missing else min(latest + spare, quantile + reach)
        self._young = young > 0


def _quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return values[math.ceil(share * len(values)) - 1]
