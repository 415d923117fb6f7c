"""Packets as UDP datagrams."""

from __future__ import annotations

import contextlib
import select
import socket

from linkcodec.exceptions import LinkError
from transport.links.base import Link

__all__ = ["UdpLink"]

_MAX_DATAGRAM = 2048
_MOST_AT_ONCE = 64

Address = tuple[str, int]


class UdpLink(Link):
    """A UDP socket.

    bind: where to listen; None for any free port. peer: where to send to; None if nothing is
    sent. A host that cannot be reached costs packets, which are counted, and never the link.

    Raises:
        LinkError: a name that does not resolve, or addresses that cannot be used here.
    """

    datagram = True

    def __init__(self, *, bind: Address | None, peer: Address | None) -> None:
        super().__init__()
        address = peer or bind
        self.name = f"udp {address[0]}:{address[1]}" if address else "udp"
        family = socket.AF_INET
        self._peer: Address | None = None
        if peer:
            family, self._peer = _resolve(peer)
        local: Address | None = None
        if bind:
            of_peer, (family, local) = family, _resolve(bind)
            if peer and family != of_peer:
                raise LinkError(
                    f"{peer[0]} cannot be reached from {bind[0]}, one is IPv4 and one IPv6: give "
                    "two alike (--peer and --bind, or [link])"
                )
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(local or ("", 0))
        except OSError as error:
            self._socket.close()
            where = f"{bind[0]}:{bind[1]}" if bind else "any port"
            raise LinkError(
                f"cannot listen on {where}: {error.strerror}; name another address (--bind, or "
                "bind in [link])"
            ) from None

    @property
    def local_port(self) -> int:
        """The port that this end listens on."""
        return int(self._socket.getsockname()[1])

    def send(self, data: bytes) -> bool:
        if self._peer is None:
            raise LinkError(f"{self.name} has no peer to send to")
        try:
            self._socket.sendto(data, self._peer)
        except OSError:
            self.statistics.sends_dropped += 1
            return False
        self.statistics.bytes_sent += len(data)
        return True

    def receive(self, timeout: float) -> list[bytes]:
        if not select.select([self._socket], [], [], timeout)[0]:
            return []
        datagrams: list[bytes] = []
        # A refused connection is reported on the next read; it is no reason to stop.
        with contextlib.suppress(OSError):
            while len(datagrams) < _MOST_AT_ONCE:
                datagrams.append(self._socket.recv(_MAX_DATAGRAM))
        self.statistics.bytes_received += sum(map(len, datagrams))
        return datagrams

    def close(self) -> None:
        self._socket.close()


def _resolve(address: Address) -> tuple[socket.AddressFamily, Address]:
    try:
        found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise LinkError(
            f"cannot resolve {address[0]}: {error.strerror}; is the address right (--peer and "
            "--bind, or [link])?"
        ) from None
    family, _, _, _, resolved = found[0]
    return family, (str(resolved[0]), int(resolved[1]))
