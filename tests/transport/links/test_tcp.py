from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from linkcodec.exceptions import LinkError
from transport.ax25 import Station
from transport.config import KissConfig, LinkConfig, StationConfig
from transport.links import KissLink, TcpLink, open_link
from transport.links.kiss import KissDeframer

HOST = "127.0.0.1"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(5)
        yield server


def accept(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(5)
    return connection


def collect(link: TcpLink, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunks = link.receive(5)
        assert chunks
        data += b"".join(chunks)
    return data


def test_both_directions(server: socket.socket) -> None:
    with TcpLink(HOST, server.getsockname()[1]) as link, accept(server) as modem:
        assert link.up
        assert link.send(b"there")
        assert modem.recv(100) == b"there"
        modem.sendall(b"and back")
        assert collect(link, 8) == b"and back"
        assert link.receive(0) == []
        assert (link.statistics.bytes_sent, link.statistics.bytes_received) == (5, 8)


def test_comes_back_by_itself(server: socket.socket) -> None:
    with TcpLink(HOST, server.getsockname()[1]) as link:
        accept(server).close()
        deadline = time.monotonic() + 10
        while link.statistics.reopens == 0 and time.monotonic() < deadline:
            link.receive(0.05)
        with accept(server) as modem:
            assert link.up
            modem.sendall(b"again")
            assert collect(link, 5) == b"again"


def test_a_server_that_stalls_costs_packets(server: socket.socket) -> None:
    with TcpLink(HOST, server.getsockname()[1]) as link, accept(server):
        accepted = [link.send(bytes(65536)) for _ in range(300)]
        assert accepted[0]
        assert not accepted[-1]
        assert link.statistics.sends_dropped == accepted.count(False)


def test_nobody_there(server: socket.socket) -> None:
    port = server.getsockname()[1]
    server.close()
    with pytest.raises(LinkError, match=f"cannot reach {HOST}:{port}: Connection refused; start"):
        TcpLink(HOST, port)


def test_closed_link_stays_closed(server: socket.socket) -> None:
    link = TcpLink(HOST, server.getsockname()[1])
    link.close()
    link.close()
    assert not link.send(b"x")
    assert link.receive(0) == []
    assert not link.up


def test_kiss_modem_by_tcp(server: socket.socket) -> None:
    config = LinkConfig(
        kind="kiss", rate=1200, framing="kiss", peer=f"{HOST}:{server.getsockname()[1]}"
    )
    station = StationConfig(call_sign="N0CALL-2")
    with open_link(config, kiss=KissConfig(), station=station) as link, accept(server) as modem:
        assert isinstance(link, KissLink)
        link.send(b"voice")
        (frame,) = KissDeframer().push(modem.recv(100))
        assert frame.endswith(b"voice")
        assert str(Station("N0CALL", 2)) == "N0CALL-2"
