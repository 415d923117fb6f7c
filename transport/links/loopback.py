"""A simulated channel in real time: UDP on this machine, with a bad line at the sending side."""

from __future__ import annotations

import heapq
import threading
import time
from itertools import count

from transport.channel import SimulatedChannel
from transport.config import ChannelConfig
from transport.linerate import Framing
from transport.links.base import Link
from transport.links.udp import UdpLink

__all__ = ["LoopbackLink"]

_MOST_IN_FLIGHT = 10_000


class LoopbackLink(Link):
    """A `UdpLink` whose packets first pass a `SimulatedChannel`; owns and closes it.

    Raises:
        InputError: a trace of the channel cannot be used.
    """

    def __init__(
        self, udp: UdpLink, *, channel: ChannelConfig, rate: int, framing: Framing
    ) -> None:
        super().__init__()
        self.datagram = not framing.stream
        self.name = udp.name.replace("udp", "loopback")
        self._udp = udp
        self._order = count()
        self._in_flight: list[tuple[float, int, bytes]] = []
        self._changed = threading.Condition()
        self._closed = False
        try:
            self._channel = SimulatedChannel(channel, rate=rate, framing=framing)
        except Exception:
            udp.close()
            raise
        self._thread = threading.Thread(target=self._deliver, name="loopback", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> bool:
        with self._changed:
            if self._closed or len(self._in_flight) >= _MOST_IN_FLIGHT:
                self.statistics.sends_dropped += 1
                return False
            for arrival, damaged in self._channel.transmit(data, time.monotonic()):
                heapq.heappush(self._in_flight, (arrival, next(self._order), damaged))
            self.statistics.bytes_sent += len(data)
            self._changed.notify()
        return True

    def receive(self, timeout: float) -> list[bytes]:
        chunks = self._udp.receive(timeout)
        self.statistics.bytes_received += sum(map(len, chunks))
        return chunks

    def close(self) -> None:
        """What is still in flight is lost, as on a line that is cut."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._udp.close()

    def _deliver(self) -> None:
        with self._changed:
            while not self._closed:
                if not self._in_flight:
                    self._changed.wait()
                    continue
                remaining = self._in_flight[0][0] - time.monotonic()
                if remaining > 0:
                    self._changed.wait(remaining)
                    continue
                self._udp.send(heapq.heappop(self._in_flight)[2])
