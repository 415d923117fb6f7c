from __future__ import annotations

import time
from pathlib import Path

import pytest

from linkcodec.exceptions import ConfigError, InputError
from transport.config import ChannelConfig, LinkConfig
from transport.framing import encode_stream
from transport.linerate import Framing
from transport.links import (
    Link,
    LoopbackLink,
    MemoryLink,
    SerialLink,
    UdpLink,
    open_link,
)

HOST = "127.0.0.1"


def pair(
    *, rate: int = 1_000_000, framing: Framing = Framing.SYNC, channel: ChannelConfig
) -> tuple[LoopbackLink, UdpLink]:
    receiver = UdpLink(bind=(HOST, 0), peer=None)
    udp = UdpLink(bind=None, peer=(HOST, receiver.local_port))
    return LoopbackLink(udp, channel=channel, rate=rate, framing=framing), receiver


def collect(link: Link, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        chunks = link.receive(10)
        assert chunks, f"only {len(found)} of {count} chunks came"
        found += chunks
    return found


def test_packets_arrive_in_order_and_not_too_early() -> None:
    sender, receiver = pair(rate=9600, channel=ChannelConfig(delay_ms=100, jitter_ms=20))
    sent = [encode_stream(bytes([i]) * 58) for i in range(5)]
    with sender, receiver:
        start = time.monotonic()
        assert all(sender.send(data) for data in sent)
        assert collect(receiver, 5) == sent
        assert time.monotonic() - start >= 0.1 + 5 * 480 / 9600
        assert not sender.datagram
        assert sender.name.startswith("loopback ")


def test_losses_and_bit_errors_happen(tmp_path: Path) -> None:
    trace = tmp_path / "loss.txt"
    trace.write_text("1 0")
    sender, receiver = pair(channel=ChannelConfig(loss_trace=str(trace), ber=1.0))
    with sender, receiver:
        for i in range(6):
            sender.send(bytes([i] * 8))
        assert collect(receiver, 3) == [bytes([255 - i] * 8) for i in (1, 3, 5)]


def test_a_wrong_trace_closes_the_socket(tmp_path: Path) -> None:
    udp = UdpLink(bind=(HOST, 0), peer=None)
    channel = ChannelConfig(loss_trace=str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot read the trace"):
        LoopbackLink(udp, channel=channel, rate=1200, framing=Framing.SYNC)
    with pytest.raises(OSError, match="Bad file descriptor"):
        udp.local_port  # noqa: B018


def test_closed_link_drops() -> None:
    sender, receiver = pair(channel=ChannelConfig(delay_ms=60_000))
    with receiver:
        assert sender.send(b"in flight")
        sender.close()
        assert not sender.send(b"too late")
        assert sender.statistics.sends_dropped == 1


def test_open_link_shares_one_configuration() -> None:
    with UdpLink(bind=(HOST, 0), peer=None) as free:
        address = f"{HOST}:{free.local_port}"
    config = LinkConfig(kind="loopback", rate=9600, framing="udp", bind=address, peer=address)
    with (
        open_link(config, sends=False) as receiver,
        open_link(config, receives=False, channel=ChannelConfig(delay_ms=1)) as sender,
    ):
        assert sender.datagram
        sender.send(b"hello")
        assert collect(receiver, 1) == [b"hello"]


def test_open_link_makes_what_the_configuration_says() -> None:
    config = LinkConfig(kind="udp", rate=9600, framing="udp", peer=f"{HOST}:9")
    with open_link(config, receives=False) as link:
        assert isinstance(link, UdpLink)
    with pytest.raises(ConfigError, match=r"^link\.bind is missing"):
        open_link(config)
    with pytest.raises(ConfigError, match=r"^link\.peer is missing"):
        open_link(LinkConfig(kind="udp", rate=9600, framing="udp"), receives=False)
    with pytest.raises(ConfigError, match=r"^link\.port is missing"):
        open_link(LinkConfig(kind="serial", rate=9600, framing="8n1"))


def test_memory_link() -> None:
    one, two = MemoryLink.pair(datagram=False)
    assert not one.datagram
    assert one.send(b"a")
    assert one.send(b"b")
    assert two.receive(0) == [b"a", b"b"]
    assert two.receive(0) == []
    assert two.send(b"c")
    assert one.receive(5) == [b"c"]
    assert one.up
    two.close()
    two.close()
    assert not one.up
    assert not one.send(b"d")
    assert one.statistics.sends_dropped == 1
    assert isinstance(one, Link)
    assert not isinstance(one, SerialLink)
