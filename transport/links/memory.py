"""A link inside one process, for tests and examples."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Self

from transport.links.base import Link

__all__ = ["MemoryLink"]


class MemoryLink(Link):
    """One end of a pair; what one end sends the other receives, at once and in order."""

    def __init__(self, *, datagram: bool = True) -> None:
        super().__init__()
        self.datagram = datagram
        self.name = "memory"
        self._inbox: deque[bytes] = deque(maxlen=1000)
        self._arrived = Condition()
        self._other: MemoryLink | None = None

    @classmethod
    def pair(cls, *, datagram: bool = True) -> tuple[Self, Self]:
        """Two ends that are joined."""
        one, two = cls(datagram=datagram), cls(datagram=datagram)
        one._other, two._other = two, one
        return one, two

    @property
    def up(self) -> bool:
        return self._other is not None

    def send(self, data: bytes) -> bool:
        other = self._other
        if other is None:
            self.statistics.sends_dropped += 1
            return False
        with other._arrived:
            other._inbox.append(data)
            other._arrived.notify_all()
        self.statistics.bytes_sent += len(data)
        return True

    def receive(self, timeout: float) -> list[bytes]:
        with self._arrived:
            self._arrived.wait_for(lambda: self._inbox, timeout)
            chunks = list(self._inbox)
            self._inbox.clear()
        self.statistics.bytes_received += sum(map(len, chunks))
        return chunks

    def close(self) -> None:
        if self._other is not None:
            self._other._other = None
            self._other = None
