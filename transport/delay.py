"""How late packets are: the statistics behind the jitter buffer's delay."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from transport.config import JitterConfig

__all__ = ["DelayEstimator"]

_MOST_PACKETS = 250
_LEAST_PACKETS = 10


@dataclass(frozen=True, slots=True)
class _Arrival:
    time: float
    frames: int
    offset: float


class DelayEstimator:
    """Recent arrivals, as offsets between the receiver's clock and the sender's media time.

    An offset is (arrival - media time of the packet's first frame), so it holds the unknown
    clock difference, the time to collect and send a packet, and the path's delay. A frame
    played at `base + target` after its media time is there for the quantile of recent packets.
    Only packets of the full length count: short ones at the end of a spurt come earlier.
    Arrivals are forgotten after `history_seconds`, but the last ten never.

    base: smallest recent offset in seconds, None before the first packet.
    target: delay beyond `base` in seconds, between floor and ceiling of the settings.
    full_frames: frames in a full packet.
    """

    def __init__(self, config: JitterConfig) -> None:
        self.base: float | None = None
        self.target = config.floor_ms / 1000
        self.full_frames = 0
        self._config = config
        self._floor = config.floor_ms / 1000
        self._ceiling = config.ceiling_ms / 1000
        self._arrivals: deque[_Arrival] = deque(maxlen=_MOST_PACKETS)

    def reset(self) -> None:
        """Forget all arrivals."""
        self._arrivals.clear()
        self.base = None
        self.target = self._floor

    def add(self, *, offset: float, frames: int, now: float) -> None:
        """Take the arrival of a packet of `frames` frames."""
        self._arrivals.append(_Arrival(now, frames, offset))
        oldest = now - self._config.history_seconds
        while len(self._arrivals) > _LEAST_PACKETS and self._arrivals[0].time < oldest:
            self._arrivals.popleft()
        self.full_frames = max(one.frames for one in self._arrivals)
        offsets = [one.offset for one in self._arrivals if one.frames == self.full_frames]
        self.base = min(offsets)
        # Packets that no permitted delay would have caught say nothing about the best one.
        delays = sorted(one - self.base for one in offsets if one - self.base <= self._ceiling)
        wanted = delays[math.ceil(self._config.quantile * len(delays)) - 1]
        self.target = min(max(wanted, self._floor), self._ceiling)
