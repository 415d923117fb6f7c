"""The jitter buffer: the one owner of delay, the one judge of late and duplicate.

Ticks count frames of 80 ms of the sender's media time, unwrapped from the wire's 9 bits.
Inside a talk spurt each item given is one tick further; between spurts the delay is chosen
anew, as the 95 % quantile of recent arrivals with forgetting (the idea of WebRTC's NetEq).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from linkcodec.frame import FRAME_SECONDS, LOST, Frame, Lost, PlayoutItem, Silence
from transport.config import JitterConfig
from transport.delay import DelayEstimator
from transport.outage import Outage
from transport.packet import TICKS, ByePacket, Packet, SilencePacket, VoicePacket
from transport.statistics import DelayMeter, ReceiverStatistics
from transport.steering import Steering, Stretch

__all__ = ["JitterBuffer"]

_EPSILON: Final = 1e-6
_START_SLACK: Final = 0.002
"""Where silence can be cut to any length, a spurt begins this near to the time it is due."""

_TOLERANCE: Final = 0.02
"""Seconds that a spurt may run below the target without being delayed for it."""

_CATCH_UP: Final = 0.4
"""Seconds of delay beyond the target that are given back by playing faster; speech that is
older than that is thrown away."""

_MOST_LOSSES: Final = 5
"""Losses in a row after which silence is given: nobody can invent more speech."""

_SPEED_UP: Final = 0.2
"""So much above the ceiling is not thrown away either: where the path gets shorter, all that is on
its way is late for as long as it takes to notice that."""

_LATE_SLACK: Final = 1.0
_OLDEST_COPY: Final = 5.0
_COPYING: Final = 60.0
"""Copies come so late at most, and so long after one such is known they are expected."""

_SLOW_SLACK: Final = 2 * FRAME_SECONDS
_SLOW_SECONDS: Final = 1.0
"""After so long with only packets later than the ceiling the path itself is a longer one."""

_EARLY_SLACK: Final = 2.0
_PACKETISATION_SLACK: Final = 2.0
_BURST_PACE: Final = 0.2
_STORED_PACE: Final = 0.5
"""What comes so many times faster than it was spoken is what a link had stored; the stricter one
counts where an outage explains the delay."""

_SHRINK_AFTER: Final = 10.0
"""Seconds of steady excess delay after which a spurt that never ends loses one frame."""

_SHRINK_EXCESS: Final = 2 * FRAME_SECONDS
_DEAD_LINK: Final = 5.0
_SILENCE_TICKS: Final = 25
"""Ticks between SILENCE packets: one that is nearer to the last voice tells where it ended."""

_MOST_FATES: Final = 512
_MOST_MARKS: Final = 128
_LONG_AGO: Final = -(1 << 60)


class _Fate(Enum):
    """What became of a tick that is past."""

    PLAYED = "its frame was given out"
    LOST = "something else was given out"
    LATE = "something else was given out, then its frame came"
    SKIPPED = "its frame was thrown away to reduce the delay"


@dataclass(frozen=True, slots=True)
class _Slot:
    frame: Frame
    arrived: float
    first: bool


@dataclass(frozen=True, slots=True)
class _Misfit:
    """A voice packet that does not fit the timeline: a stray one, or the first of a new one."""

    packet: VoicePacket
    tick: int
    arrived: float
    late: bool
    copy: bool = False


class JitterBuffer:
    """Packets in at any time, exactly one playout item out per 80 ms of playout.

    statistics: counters, see `ReceiverStatistics`; damaged packets are counted by the owner.
    last_tick: media time of the item given last, in frames; None before the first packet and
        for items that have no place on the sender's time axis (inserted ones). Ticks start at
        the first packet's tick and go on without a jump when the sender restarts. At the
        start of a talk spurt they may jump: forward, where silence was shortened; back over
        silence given before, where it was lengthened.
    ended: True once everything up to a BYE has been given out.
    stretch: wish to play the item given last longer or shorter than 80 ms; 0 without `scaling`.
    buffer_delay: time from a packet's arrival to hearing its first frame.
    waited: the same of the item given last, in seconds; 0 for what was no frame.

    Args:
        scaling: the owner can play an item in more or less than 80 ms, and asks for the next
            one when it is due. Otherwise the delay of a spurt changes by whole frames.
    """

    def __init__(
        self,
        config: JitterConfig,
        *,
        statistics: ReceiverStatistics | None = None,
        scaling: bool = False,
    ) -> None:
        self.statistics = statistics if statistics is not None else ReceiverStatistics()
        self.buffer_delay = DelayMeter()
        self.waited = 0.0
        self.last_tick: int | None = None
        self.ended = False
        self.stretch = Stretch()
        self._scaling = scaling
        self._steering = Steering()
        self._delays = DelayEstimator(config)
        self.configure(config)
        self._frames: dict[int, _Slot] = {}
        self._starts: set[int] = set()
        self._ends: set[int] = set()  # first ticks after known ends of spurts
        self._fates: dict[int, _Fate] = {}
        self._come: dict[int, Frame] = {}  # to know copies by
        self._background = Silence()
        self._wire_shift = 0  # wire tick = tick + this, modulo TICKS
        self._reference: tuple[int, float] | None = None  # a tick and when it was current
        self._heard: float | None = None
        self._outage = Outage()
        self._misfit: _Misfit | None = None
        self._copied = -math.inf  # when a copy later than the ceiling was known for one
        self._slow_since: float | None = None
        self._resync_from: float | None = None
        self._bye: int | None = None
        # Playout
        self._speaking = False
        self._broken_off = False  # quiet, but in a spurt whose end is not known
        self._cursor = 0  # tick of the next item
        self._settled = _LONG_AGO  # frames below this tick are never given out any more
        self._newest = _LONG_AGO  # newest tick received as a frame
        self._misses = 0
        self._held_from: int | None = None  # first tick of a run of losses that may yet come
        self._excess_since: float | None = None

    def configure(self, config: JitterConfig) -> None:
        """Use other settings from now on."""
        self._ceiling = config.ceiling_ms / 1000
        self._capacity = int((self._ceiling + _EARLY_SLACK) / FRAME_SECONDS)
        self._delays.configure(config)

    @property
    def end_tick(self) -> int | None:
        """Tick of a BYE that has come: where the call ends on the axis of `last_tick`."""
        return self._bye

    @property
    def buffered(self) -> int:
        """Frames that wait to be played."""
        return len(self._frames)

    @property
    def delay(self) -> float:
        """Present target delay beyond the fastest recent packet, in seconds."""
        return self._delays.target

    @property
    def jitter(self) -> float:
        """Interarrival jitter in seconds, as in RFC 3550 and W3C's statistics."""
        return self._delays.jitter

    @property
    def drift_ppm(self) -> float:
        """How much faster the sender's clock runs than the receiver's, in parts per million."""
        return -1e6 * self._delays.drift.rate

    @property
    def corrections(self) -> int:
        """Times that the pace of running speech was changed."""
        return self._steering.corrections

    # Arrival

    def insert(self, packet: Packet, now: float) -> None:
        """Take a valid packet that arrived at `now` (seconds)."""
        if isinstance(packet, VoicePacket) and packet.repair:
            self._insert_repair(packet, now)
            return
        self.statistics.packets_received += 1
        length = len(packet.frames) if isinstance(packet, VoicePacket) else 0
        flooded = self._outage.flooded
        self._outage.add(
            FRAME_SECONDS * length,
            longest=FRAME_SECONDS * self._delays.full_frames,
            now=now,
        )
        if self._reference is None:
            tick = self._cursor = packet.tick
            expected = float(tick)
            self._reference = (tick + length, now)
        else:
            expected = self._expected(now) - length
            tick = self._unwrap(packet.tick, expected)
        slack = self._ceiling + _EARLY_SLACK + _PACKETISATION_SLACK
        plausible = abs(tick - expected) * FRAME_SECONDS <= slack and not self._outage.flooded
        dead = self._heard is not None and now - self._heard > _DEAD_LINK
        self._heard = now
        match packet:
            case VoicePacket():
                self.statistics.voice_packets += 1
                if flooded or self._outage.flooded:
                    self._insert_stored(_Misfit(packet, tick, now, late=False))
                else:
                    self._insert_voice(packet, tick, now, plausible=plausible, dead=dead)
            case SilencePacket():
                self._insert_silence(packet, tick, now, plausible=plausible)
            case ByePacket():
                self._insert_bye(tick, now, plausible=plausible)

    def _insert_repair(self, packet: VoicePacket, now: float) -> None:
        """Frames found by redundancy: welcome if they are in time, and no measure of the path."""
        if self._reference is None or self._outage.flooded:
            return
        tick = self._unwrap(packet.tick, self._expected(now) - len(packet.frames))
        if tick > self._newest + self._capacity:
            return
        fresh, _ = self._store(packet, tick, now)
        if fresh:
            self._newest = max(self._newest, tick + len(packet.frames) - 1)
            self.ended = False

    def hold(self, seconds: float) -> None:
        """Add so much delay, in which repairs may come."""
        self._delays.hold = seconds

    def _expected(self, now: float) -> float:
        """Tick whose frame would just be complete at the sender, as far as packets tell."""
        assert self._reference is not None
        tick, then = self._reference
        return tick + (now - then) / FRAME_SECONDS

    def _unwrap(self, wire_tick: int, expected: float) -> int:
        near = round(expected)
        return near + (wire_tick - self._wire_shift - near + TICKS // 2) % TICKS - TICKS // 2

    def _insert_silence(
        self, packet: SilencePacket, tick: int, now: float, *, plausible: bool
    ) -> None:
        self._background = Silence(packet.level_dbfs, packet.colour)
        if plausible:
            self._drop_misfit()
            self._reference = (tick, now)
            if self._bye is not None and tick > self._bye:
                self._bye = None
            self._end_at(tick)
        elif self.ended or self._delays.base is None:
            # Another sender, and nothing to lose: its ticks go on from here.
            self._bye = None
            tick = max(self._cursor, self._newest + 1)
            self._wire_shift = packet.tick - tick
            self._reference = (tick, now)
            self._delays.reset()

    def _insert_bye(self, tick: int, now: float, *, plausible: bool) -> None:
        if self._bye is not None:
            return
        self._drop_misfit()
        if plausible:
            self._reference = (tick, now)
        else:
            tick = self._cursor
        self._bye = max(tick, self._newest + 1)
        self._end_at(self._bye)

    def _insert_voice(
        self, packet: VoicePacket, tick: int, now: float, *, plausible: bool, dead: bool
    ) -> None:
        base = self._delays.base
        offset = now - tick * FRAME_SECONDS
        if base is None:
            early, late = not plausible, False
        else:
            shortfall = (self._delays.full_frames - len(packet.frames)) * FRAME_SECONDS
            early = offset + shortfall < base - self._ceiling - _EARLY_SLACK
            late = offset > base + self._ceiling + _LATE_SLACK
        misfit = _Misfit(packet, tick, now, late)
        if early or late:
            copies = 0.0 if base is None else self._copies(misfit, offset - base)
            misfit = replace(misfit, copy=copies > 0)
            if now - self._copied > _COPYING:
                copies = min(copies, _SLOW_SECONDS)
            stored = base is not None and self._outage.explains(offset - base, now)
            pace = _STORED_PACE if stored else _BURST_PACE
            if self._misfit and self._consistent(self._misfit, misfit, copies=copies, pace=pace):
                self._rebase([self._misfit, misfit])
            elif base is None or (packet.start and not copies and not stored):
                self._drop_misfit()
                self._rebase([misfit])
            else:
                self._drop_misfit()
                self._misfit = misfit
            return
        if self._misfit and self._misfit.copy:
            self._copied = now  # a new packet came after it: no restarted sender's
        self._drop_misfit()
        if base is not None and self._path_is_slower(misfit, offset - base):
            self._rebase([misfit])
            return
        if dead and self._resync_from is None:
            self.statistics.resyncs += 1
            self._resync_from = now
        self._accept(packet, tick, now)

    def _insert_stored(self, misfit: _Misfit) -> None:
        """Throw away what an outage had stored; the first packet after that is a new beginning."""
        self._drop_misfit()
        while self._frames:
            self._skip_oldest()
        if self._outage.flooded:
            self._misfit = misfit
        else:
            self._rebase([misfit])

    def _copies(self, misfit: _Misfit, lateness: float) -> float:
        """For how many seconds after the last new packet copies as late as this one may come; 0
        where its frames have not come before, or too long ago for a network's copy."""
        copied = 0 < lateness < _OLDEST_COPY and self._has_come(misfit.packet, misfit.tick)
        return lateness if copied else 0.0

    def _has_come(self, packet: VoicePacket, tick: int) -> bool:
        """Whether the same frames came before with the same ticks, as far as is remembered."""
        return all(self._come.get(t) == frame for t, frame in enumerate(packet.frames, tick))

    def _path_is_slower(self, misfit: _Misfit, lateness: float) -> bool:
        """Whether packets have long been later than the ceiling, without one in between."""
        if lateness <= self._ceiling + _SLOW_SLACK:
            self._slow_since = None
            return False
        if self._slow_since is None:
            self._slow_since = misfit.arrived
        copies = self._copies(misfit, lateness)
        return misfit.arrived - self._slow_since > max(_SLOW_SECONDS, copies)

    def _consistent(self, one: _Misfit, two: _Misfit, *, copies: float, pace: float) -> bool:
        """Whether two packets belong to one new timeline; copies do not while others come."""
        assert self._reference is not None
        if copies and two.arrived - self._reference[1] < max(_SLOW_SECONDS, copies):
            return False
        advance = (two.tick - one.tick) * FRAME_SECONDS
        elapsed = two.arrived - one.arrived
        # What comes much faster than it was spoken is what a link had stored.
        return elapsed > pace * advance > 0 and abs(advance - elapsed) <= self._ceiling + 1

    def _drop_misfit(self) -> None:
        """The packets before and after it agree: a stray packet was just that."""
        if self._misfit is None:
            return
        packet, tick, late = self._misfit.packet, self._misfit.tick, self._misfit.late
        self._misfit = None
        self.statistics.packets_late += 1
        if not late:
            self.statistics.frames_received += len(packet.frames)
            self.statistics.frames_skipped += len(packet.frames)
            return
        self._newest = max(self._newest, tick + len(packet.frames) - 1)
        for t in range(tick, tick + len(packet.frames)):
            self._count_late(t)

    def _rebase(self, misfits: list[_Misfit]) -> None:
        """Begin a new timeline with these packets."""
        first = misfits[0]
        shift = 0
        if first.tick <= self._newest or not (first.late or self._slow_since is not None):
            # Another sender: its ticks go on from here.
            while self._frames:
                self._skip_oldest()
            shift = max(self._cursor, self._newest + 1) - first.tick
            self._wire_shift -= shift
            self._settled = first.tick + shift
            self._speaking = self._broken_off = False
            self._starts.clear()
            self._ends.clear()
        elif first.tick < self._settled:
            # The same sender behind a longer path: go back to what was given up.
            self._settled = first.tick
            self._speaking = self._broken_off = False
        self._delays.reset()
        self._misfit = self._slow_since = self._bye = None
        self.statistics.resyncs += 1
        self._resync_from = first.arrived
        for misfit in misfits:
            self._accept(misfit.packet, misfit.tick + shift, misfit.arrived)

    def _accept(self, packet: VoicePacket, tick: int, now: float) -> None:
        stop = tick + len(packet.frames)
        offset = now - tick * FRAME_SECONDS
        if self._delays.base is None or not self._has_come(packet, tick):
            # A copy tells nothing of the delay that the first one had.
            self._reference = (stop, now)
            self._delays.add(offset=offset, frames=len(packet.frames), now=now)
        self._go_back(tick, stop)
        fresh, late = self._store(packet, tick, now)
        if fresh:
            if packet.start:
                self._mark(self._starts, tick)
            if self._bye is not None and tick >= self._bye:
                self._bye = None
            self.ended = False
        elif late:
            self.statistics.packets_late += 1
        else:
            self.statistics.packets_duplicate += 1
        self._newest = max(self._newest, stop - 1)
        if packet.end:
            self._end_at(stop)
        while min(self._frames, default=tick) < stop - self._capacity - len(packet.frames):
            self._skip_oldest()
        while len(self._frames) > self._capacity:
            self._skip_oldest()

    def _go_back(self, tick: int, stop: int) -> None:
        """Frames that were waited for have come, and nothing newer was played: play them."""
        if self._held_from is None:
            return
        first = max(tick, self._held_from)
        if first < min(stop, self._settled):
            self._count_inserted_instead(range(first, self._settled))
            self._settled = first
            if self._speaking:
                self._cursor = first
        if stop > self._settled:
            self._held_from = None

    def _store(self, packet: VoicePacket, tick: int, now: float) -> tuple[int, int]:
        """Buffer the frames that can still be played; gives their number and that of late ones."""
        fresh = late = 0
        for t, frame in enumerate(packet.frames, start=tick):
            if not packet.repair:
                self._remember(t, frame)
            if t in self._frames:
                self.statistics.frames_duplicate += 1
                if len(frame.indices) > len(self._frames[t].frame.indices):
                    self._frames[t] = _Slot(frame, now, t == tick)
            elif t < self._settled:
                late += self._count_late(t)
            else:
                fresh += 1
                self._frames[t] = _Slot(frame, now, t == tick)
        # After a rebase that went back over ticks already given up:
        self._count_inserted_instead(range(max(tick, self._settled), tick + len(packet.frames)))
        self.statistics.frames_received += fresh
        return fresh, late

    def _end_at(self, end: int) -> None:
        """Note that a spurt ends before tick `end`; correct what was given out past it."""
        if end <= self._newest:
            self._mark(self._ends, end)
        elif self._speaking and end < self._cursor:
            self._count_inserted_instead(range(end, self._cursor))
            self._speaking = False
            self._settled = end
        elif self._broken_off and not self._frames:
            self._close_gap(end)
        else:
            self._mark(self._ends, end)

    def _close_gap(self, end: int) -> None:
        """A spurt that broke off ended before tick `end`, or long before that."""
        self._broken_off = False
        if end - self._newest - 1 > _SILENCE_TICKS:
            return
        if end < self._settled:
            self._count_inserted_instead(range(end, self._settled))
        else:
            self._concede(self._settled, end)
        self._settled = end

    def _count_late(self, tick: int) -> bool:
        """Count a frame that cannot be played any more; False if it is only a duplicate."""
        fate = self._fates.get(tick)
        if fate not in (None, _Fate.LOST):
            self.statistics.frames_duplicate += 1
            return False
        self.statistics.frames_received += 1
        self.statistics.frames_late += 1
        if fate is _Fate.LOST:
            self.statistics.frames_lost -= 1
        else:  # silence was given although there was speech
            self.statistics.frames_concealed += 1
            self.statistics.frames_muted += 1
        self._set_fate(tick, _Fate.LATE)
        return True

    def _count_inserted_instead(self, ticks: range) -> None:
        """What was given for lost ones of these turns out to have been given between others."""
        for tick in ticks:
            if self._fates.get(tick) is _Fate.LOST:
                del self._fates[tick]
                self.statistics.frames_lost -= 1
                self.statistics.frames_inserted += 1

    def _set_fate(self, tick: int, fate: _Fate) -> None:
        self._fates[tick] = fate
        if len(self._fates) > _MOST_FATES:
            del self._fates[next(iter(self._fates))]

    def _remember(self, tick: int, frame: Frame) -> None:
        self._come[tick] = frame
        if len(self._come) > _MOST_FATES:
            del self._come[next(iter(self._come))]

    @staticmethod
    def _mark(marks: set[int], tick: int) -> None:
        marks.add(tick)
        if len(marks) > _MOST_MARKS:
            marks.remove(min(marks))

    # Playout

    def next(self, now: float) -> PlayoutItem:
        """The item to play now; to be called once per 80 ms of playout."""
        self.stretch = Stretch()
        self.waited = 0.0
        item = self._give(now)
        self.ended = (
            self._bye is not None
            and not self._speaking
            and not self._frames
            and self._cursor >= self._bye
        )
        return item

    def _due(self, tick: int) -> float:
        """When a spurt that begins with `tick` is to begin, if the target allows."""
        base = self._delays.base
        return _LONG_AGO if base is None else base + self._delays.present + tick * FRAME_SECONDS

    def _give(self, now: float) -> PlayoutItem:
        if self._reference is None:
            self.statistics.frames_silent += 1
            return self._background
        if not self._speaking:
            first = min(self._frames, default=None)
            slack = _START_SLACK if self._scaling else _EPSILON
            wait = None if first is None else self._start_time(first) - now
            if first is None or wait is None or wait > slack:
                if self._scaling and wait is not None and wait < FRAME_SECONDS:
                    self.stretch = Stretch(wait - FRAME_SECONDS)
                return self._give_silence(first)
            self._begin(first)
        self._shed(now)
        slot = self._frames.pop(self._cursor, None)
        if slot is not None:
            return self._play(slot, now)
        return self._give_substitute(now)

    def _start_time(self, first: int) -> float:
        """When the spurt that begins with tick `first` begins; its packet may be a late one."""
        return max(self._due(first), self._frames[first].arrived)

    def _begin(self, first: int) -> None:
        if self._broken_off:
            self._concede(self._settled, first)
        self._speaking, self._broken_off = True, False
        self._cursor = self._settled = first
        self._misses = 0
        self._held_from = None
        self._steering.reset()
        self._excess_since = None

    def _shed(self, now: float) -> None:
        """Throw frames away where the delay is above the ceiling, or above the target for long."""
        if self._delays.base is None:
            return  # frames of repairs alone: nothing is known of the path yet
        excess = now - self._due(self._cursor)
        most = self._ceiling + FRAME_SECONDS - self._delays.target
        if self._scaling:
            most = min(max(most, _SPEED_UP), _CATCH_UP)
        while excess > most + _EPSILON and len(self._frames) > 1:
            self._skip_oldest()
            excess = now - self._due(self._cursor)
        if self._scaling:
            return
        if excess <= _SHRINK_EXCESS:
            self._excess_since = None
        elif self._excess_since is None:
            self._excess_since = now
        elif now - self._excess_since >= _SHRINK_AFTER and len(self._frames) > 1:
            self._excess_since = None
            self._skip_oldest()

    def _play(self, slot: _Slot, now: float) -> Frame:
        self.statistics.frames_played += 1
        self._set_fate(self._cursor, _Fate.PLAYED)
        self._misses = 0
        self._held_from = None
        if self._scaling:
            excess = now - self._due(self._cursor)
            self.stretch = self._steering.wish(
                excess, drift=self._delays.drift.rate, slack=self._delays.slack
            )
        self.waited = now - slot.arrived
        if slot.first:
            self.buffer_delay.add(self.waited)
        if self._resync_from is not None:
            self.statistics.resync_ms.append(1000 * (now - self._resync_from))
            self._resync_from = None
        self._advance()
        return slot.frame

    def _give_substitute(self, now: float) -> Lost | Silence:
        """The frame at the cursor is missing: the spurt ended, or it is late, or lost."""
        if self._cursor in self._ends:
            self._speaking = False
            return self._give_silence(min(self._frames, default=None))
        more = self._more_of_spurt()
        if self._misses >= _MOST_LOSSES and not more:
            self._break_off()
            return self._give_silence(min(self._frames, default=None))
        self._misses += 1
        self.statistics.frames_concealed += 1
        if not more and now + _TOLERANCE < self._due(self._cursor):
            self.statistics.frames_inserted += 1
            self.last_tick = None
            return LOST
        self.statistics.frames_lost += 1
        self._set_fate(self._cursor, _Fate.LOST)
        if more:
            self._held_from = None
        elif self._held_from is None:
            # Nothing newer has come either: if it still does, nothing was lost (`_go_back`).
            self._held_from = self._cursor
        self._advance()
        return LOST

    def _more_of_spurt(self) -> bool:
        """Whether a newer frame is buffered that seems to belong to the spurt being played."""
        following = min(self._frames, default=None)
        return following is not None and following not in self._starts

    def _break_off(self) -> None:
        """Fall silent without knowing whether the spurt goes on."""
        self._speaking, self._broken_off = False, True
        end = min((end for end in self._ends if end > self._cursor), default=None)
        if end is not None and end > self._newest:
            self._close_gap(end)

    def _give_silence(self, following: int | None) -> Silence:
        """Silence, on the sender's time axis until the next spurt or the end is reached."""
        self.statistics.frames_silent += 1
        stops = [tick for tick in (following, self._bye) if tick is not None]
        if stops and self._cursor >= min(stops):
            self.last_tick = None
        else:
            self.last_tick = self._cursor
            self._cursor += 1
        return self._background

    def _advance(self) -> None:
        self.last_tick = self._cursor
        self._cursor += 1
        self._settled = self._cursor

    def _skip_oldest(self) -> None:
        """Throw the oldest frame away, and with it what is missing before it."""
        oldest = min(self._frames)
        if self._speaking or self._broken_off:
            self._concede(self._settled, oldest)
        del self._frames[oldest]
        self.statistics.frames_skipped += 1
        self._set_fate(oldest, _Fate.SKIPPED)
        self._settled = oldest + 1
        if self._speaking:
            self._cursor = self._settled

    def _concede(self, start: int, stop: int) -> None:
        """Count the ticks from `start` to `stop` or to the spurt's end as lost and unheard.

        Where `stop` starts a new spurt, nobody knows how far the old one went.
        """
        if stop in self._starts:
            return
        end = min((end for end in self._ends if start <= end < stop), default=stop)
        known = range(max(start, end - _MOST_FATES), end)
        missing = [tick for tick in known if tick not in self._fates]
        count = len(missing) + max(0, known.start - start)
        self.statistics.frames_lost += count
        self.statistics.frames_concealed += count
        self.statistics.frames_muted += count
        for tick in missing:
            self._set_fate(tick, _Fate.LOST)
