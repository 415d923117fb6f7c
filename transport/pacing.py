"""The pacer: packets leave no faster than the line carries them, in line bits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from transport.linerate import Framing, line_bits, wire_bits
from transport.statistics import DelayMeter, RateMeter

__all__ = ["Pacer"]

_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class _Waiting:
    data: bytes
    voice: bool
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

    def offer(self, data: bytes, now: float, *, voice: bool = True) -> list[bytes]:
        """Queue a packet (before COBS); gives the packets dropped for it, at most one."""
        self._queue.append(_Waiting(data, voice, now))
        alike = [one for one in self._queue if one.voice == voice]
        if len(alike) <= self._limit:
            return []
        self._queue.remove(alike[0])
        self.packets_dropped += 1
        return [alike[0].data]

    def poll(self, now: float) -> list[bytes]:
        """Packets (before COBS) whose transmission starts now."""
        due = []
        while self._queue and self._free_at <= now + _EPSILON:
            packet = self._queue.popleft()
            start = max(self._free_at, packet.offered, now - self._slack)
            bits = line_bits(len(packet.data), self._framing)
            end = start + bits / self._rate
            self.line.add(start=start, end=end, bits=bits)
            self.wire.add(start=start, end=end, bits=wire_bits(len(packet.data), self._framing))
            self.queue_delay.add(start - packet.offered)
            self.send_time.add(end - start)
            self.packets_sent += 1
            self._free_at = end
            due.append(packet.data)
        return due

    def next_time(self) -> float | None:
        """When `poll` has something to give (may lie in the past); None if nothing waits."""
        if not self._queue:
            return None
        return max(self._free_at, self._queue[0].offered)

    @property
    def idle_at(self) -> float:
        """When the line falls idle if nothing more is offered, -inf if nothing was ever sent."""
        waiting = sum(line_bits(len(one.data), self._framing) for one in self._queue)
        return self._free_at + waiting / self._rate

    def __len__(self) -> int:
        return len(self._queue)
