"""What a slow port is given and when, together with the key of a radio. No I/O, no clocks."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["IN_FLIGHT_SECONDS", "Feed"]

IN_FLIGHT_SECONDS: Final = 0.16
"""Two frames: what drivers and modems may hold, so that delay never hides there."""

_EPSILON: Final = 1e-9


class Feed:
    """Hands bytes to a port no more than two frames before the line carries them.

    byte_seconds: time of one byte on the line. keyed: a radio must be keyed to send; it is
    keyed `lead` seconds before the first byte, and `tail` seconds after the last.
    """

    def __init__(
        self, *, byte_seconds: float, keyed: bool = False, lead: float = 0.0, tail: float = 0.0
    ) -> None:
        self._byte_seconds = byte_seconds
        self._keyed = keyed
        self._lead = lead if keyed else 0.0
        self._tail = tail
        self._at_once = max(1, math.floor(IN_FLIGHT_SECONDS / byte_seconds))
        self.reset()

    def reset(self) -> None:
        """Forget what waits: the port is gone."""
        self._waiting = bytearray()
        self._through_at = float("-inf")
        self._open_at = float("-inf")
        self._talking = False
        self.key_down = False

    def __len__(self) -> int:
        """Bytes not yet given to the port."""
        return len(self._waiting)

    def over(self, talking: bool, now: float) -> None:
        """An over starts or ends; the key goes down at once, while the first packet is made."""
        self._talking = talking
        if talking:
            self._press(now)

    def offer(self, data: bytes, now: float) -> bool:
        """Take a packet; False, and nothing is taken, if earlier ones wait too long."""
        waiting = len(self._waiting) * self._byte_seconds + max(0.0, self._through_at - now)
        if waiting > IN_FLIGHT_SECONDS + self._lead + _EPSILON:
            return False
        self._press(now)
        self._waiting += data
        return True

    def _press(self, now: float) -> None:
        if self._keyed and not self.key_down:
            self.key_down = True
            self._open_at = now + self._lead

    def poll(self, now: float, in_driver: int) -> bytes:
        """What the port may have now.

        in_driver: bytes that the operating system says wait in the port: more than the line's
        clock tells where the modem holds them back, or its clock is slow.
        """
        ahead = max(0.0, self._through_at - now)
        if self._waiting and now >= self._open_at - _EPSILON:
            room = min(
                math.floor((IN_FLIGHT_SECONDS - ahead) / self._byte_seconds + _EPSILON),
                self._at_once - in_driver,
            )
            # In pieces of a frame or so, not byte by byte.
            if room >= min(len(self._waiting), max(1, self._at_once // 2)):
                return bytes(self._waiting[:room])
        if self.key_down and not self._talking and not self._waiting and not in_driver:
            idle_since = max(self._through_at, self._open_at)
            self.key_down = now < idle_since + self._tail - _EPSILON
        return b""

    def given(self, count: int, now: float) -> None:
        """The port took so many bytes of what `poll` gave."""
        del self._waiting[:count]
        self._through_at = max(self._through_at, now) + count * self._byte_seconds

    def next_time(self, now: float) -> float | None:
        """When to `poll` again; None while nothing is to be done."""
        if self._waiting:
            return max(self._open_at, self._through_at - IN_FLIGHT_SECONDS / 2, now)
        if self.key_down and not self._talking:
            return max(max(self._through_at, self._open_at) + self._tail, now)
        return None
