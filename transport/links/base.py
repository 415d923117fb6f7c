"""What every link offers to the daemons. Links own sockets, ports and threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Self

__all__ = ["Link", "LinkStatistics"]


@dataclass(kw_only=True)
class LinkStatistics:
    """What went through a link."""

    bytes_sent: int = 0
    bytes_received: int = 0
    sends_dropped: int = 0
    """Calls of `send` whose data went nowhere: link down, or its buffer full."""
    reopens: int = 0
    """Times that a vanished port came back."""


class Link(ABC):
    """One end of a link; used by one thread for sending and one for receiving.

    datagram: True where each `send` is one packet and arrives as such; False for a byte pipe,
        which carries packets as `transport.framing.encode_stream` makes them.
    name: for people, such as "udp 127.0.0.1:5004".
    half_duplex: True where both ends share one channel: nothing should be sent between overs.
    trouble: in words, why the link is down; empty if it is up or nobody knows.
    """

    datagram: bool
    name: str
    half_duplex: bool = False

    def __init__(self) -> None:
        self.statistics = LinkStatistics()
        self.trouble = ""

    @property
    def up(self) -> bool:
        """False while the port or socket is gone; the link tries to come back by itself."""
        return True

    @abstractmethod
    def send(self, data: bytes) -> bool:
        """Send one packet without waiting; False if it was dropped (and counted)."""

    def over(self, talking: bool) -> None:  # noqa: B027
        """The talker is talking, or not; links with a key press or release it."""

    @abstractmethod
    def receive(self, timeout: float) -> list[bytes]:
        """Datagrams or chunks of bytes that came, after at most `timeout` seconds; may be empty."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the port or socket; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
