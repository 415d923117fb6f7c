from __future__ import annotations

import socket
import threading

import pytest

from linkcodec.exceptions import LinkError
from transport.links import UdpLink

HOST = "127.0.0.1"


def pair() -> tuple[UdpLink, UdpLink]:
    receiver = UdpLink(bind=(HOST, 0), peer=None)
    return UdpLink(bind=None, peer=(HOST, receiver.local_port)), receiver


def collect(link: UdpLink, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        chunks = link.receive(5)
        assert chunks, f"only {len(found)} of {count} datagrams came"
        found += chunks
    return found


def test_datagrams_come_one_by_one() -> None:
    sender, receiver = pair()
    with sender, receiver:
        sent = [bytes([i] * (i + 1)) for i in range(100)]
        assert all(sender.send(data) for data in sent)
        assert collect(receiver, 100) == sent
        assert receiver.receive(0) == []
        assert sender.statistics.bytes_sent == receiver.statistics.bytes_received == 5050
        assert sender.datagram
        assert sender.name == f"udp {HOST}:{receiver.local_port}"


def test_both_directions_on_one_socket() -> None:
    one = UdpLink(bind=(HOST, 0), peer=None)
    with one, UdpLink(bind=(HOST, 0), peer=(HOST, one.local_port)) as two:
        two.send(b"there")
        assert collect(one, 1) == [b"there"]
        with UdpLink(bind=None, peer=(HOST, two.local_port)) as back:
            back.send(b"back")
            assert collect(two, 1) == [b"back"]


def test_sending_to_nobody_is_survived() -> None:
    sender, receiver = pair()
    port = receiver.local_port
    receiver.close()
    with sender:
        for _ in range(3):
            sender.send(b"anyone?")
        with UdpLink(bind=(HOST, port), peer=None) as back:
            sender.send(b"hello")
            assert collect(back, 1) == [b"hello"]


def test_a_datagram_that_cannot_be_sent_is_counted() -> None:
    sender, receiver = pair()
    with sender, receiver:
        assert not sender.send(bytes(100_000))
        assert sender.statistics.sends_dropped == 1
        assert sender.send(b"next")
        assert collect(receiver, 1) == [b"next"]


def test_receive_wakes_up_for_data() -> None:
    sender, receiver = pair()
    with sender, receiver:
        timer = threading.Timer(0.05, sender.send, [b"wake"])
        timer.start()
        assert receiver.receive(30) == [b"wake"]
        timer.join()


def test_port_in_use() -> None:
    with (
        UdpLink(bind=(HOST, 0), peer=None) as first,
        pytest.raises(LinkError, match=f"cannot listen on {HOST}:{first.local_port}: "),
    ):
        UdpLink(bind=(HOST, first.local_port), peer=None)


def test_name_that_does_not_resolve() -> None:
    with pytest.raises(LinkError, match="cannot resolve no host"):
        UdpLink(bind=None, peer=("no host", 5004))


def test_addresses_of_two_kinds() -> None:
    """Each datagram would be dropped, as if nobody were there."""
    with pytest.raises(LinkError, match=r"::1 cannot be reached from 127\.0\.0\.1, one is IPv4"):
        UdpLink(bind=("127.0.0.1", 0), peer=("::1", 5004))


def test_sending_needs_a_peer() -> None:
    with (
        UdpLink(bind=(HOST, 0), peer=None) as link,
        pytest.raises(LinkError, match="has no peer"),
    ):
        link.send(b"x")


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        receiver = UdpLink(bind=("::1", 0), peer=None)
    except LinkError:
        pytest.skip("no IPv6 loopback here")
    with receiver, UdpLink(bind=None, peer=("::1", receiver.local_port)) as sender:
        sender.send(b"six")
        assert collect(receiver, 1) == [b"six"]
