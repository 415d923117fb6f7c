"""The pacer: packets leave no faster than the line carries them, in line bits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from transport.linerate import Framing, line_bits, wire_bits
from transport.statistics import DelayMeter, RateMeter

__all__ = ["Pacer", "Parcel"]

_EPSILON = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A packet (before COBS) on its way to the line.

    ticks: unwrapped media ticks of the frames that it carries first; payload_bits: bits of
    their codebook indices. keep_alive: it says again that the talker is quiet.
    """

    data: bytes
    voice: bool = True
    ticks: range = range(0)
    payload_bits: int = 0
    keep_alive: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    parcel: Parcel
    offered: float


class Pacer:
    """A token bucket that holds one packet: the next one leaves when the line is free again.

    rate: bit/s of the line, start and stop bits included.
    limit: voice packets that may wait, and as many control packets; when one more comes, the
        oldest of its kind is dropped. So a small control packet never costs speech.
    slack: seconds that a late `poll` may catch up, so that a coarse timer does not waste a
        full line; the line's own account never goes above its rate.

    Counters: `packets_sent`, `packets_dropped`; `wire` and `line` meter wire bits and line
    bits, spread over the time that each packet takes; `queue_delay` and `send_time` are the
    waiting time and the time on the line per packet.
    """

    def __init__(self, *, rate: int, framing: Framing, limit: int = 3, slack: float = 0.02) -> None:
        self.packets_sent = 0
        self.packets_dropped = 0
        self.wire = RateMeter()
        self.line = RateMeter()
        self.queue_delay = DelayMeter()
        self.send_time = DelayMeter()
        self._rate = rate
        self._framing = framing
        self._limit = limit
        self._slack = slack
        self._queue: deque[_Waiting] = deque()
        self._free_at = float("-inf")

    def offer(self, parcel: Parcel, now: float) -> list[Parcel]:
        """Queue a packet; gives the packets dropped for it, at most one."""
        self._queue.append(_Waiting(parcel, now))
        alike = [one for one in self._queue if one.parcel.voice == parcel.voice]
        if len(alike) <= self._limit:
            return []
        self._queue.remove(alike[0])
        self.packets_dropped += 1
        return [alike[0].parcel]

    def poll(self, now: float) -> list[Parcel]:
        """Packets whose transmission starts now."""
        due = []
        while self._queue and self._free_at <= now + _EPSILON:
            waiting = self._queue.popleft()
            length = len(waiting.parcel.data)
            start = max(self._free_at, waiting.offered, now - self._slack)
            bits = line_bits(length, self._framing)
            end = start + bits / self._rate
            self.line.add(start=start, end=end, bits=bits)
            self.wire.add(start=start, end=end, bits=wire_bits(length, self._framing))
            self.queue_delay.add(start - waiting.offered)
            self.send_time.add(end - start)
            self.packets_sent += 1
            self._free_at = end
            due.append(waiting.parcel)
        return due

    def next_time(self) -> float | None:
        """When `poll` has something to give (may lie in the past); None if nothing waits."""
        if not self._queue:
            return None
        return max(self._free_at, self._queue[0].offered)

    @property
    def idle_at(self) -> float:
        """When the line falls idle if nothing more is offered, -inf if nothing was ever sent."""
        waiting = sum(line_bits(len(one.parcel.data), self._framing) for one in self._queue)
        return self._free_at + waiting / self._rate

    def __len__(self) -> int:
        return len(self._queue)
