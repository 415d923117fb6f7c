"""Packets by radio: two Direwolf modems that hear each other through PulseAudio."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.realpeers import Direwolf, SoundServer, missing
from transport.ax25 import Station
from transport.links import KissLink, KissSettings, TcpLink

absent = missing("direwolf", "pulseaudio", "pactl")
pytestmark = pytest.mark.skipif(bool(absent), reason=absent)

FRAMES_SECONDS = 0.32


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def connect(modem: Direwolf, number: int) -> KissLink:
    settings = KissSettings(
        source=Station("N0CALL", number), destination=Station("VOICE"), tx_delay_ms=200
    )
    return KissLink(TcpLink("127.0.0.1", modem.port), settings)


@pytest.fixture
def links(tmp_path: Path) -> Iterator[tuple[KissLink, KissLink]]:
    ports = free_ports(2)
    with (
        SoundServer(tmp_path, ["there", "back"]) as server,
        Direwolf(tmp_path, server, hears="back", speaks="there", port=ports[0]) as near,
        Direwolf(tmp_path, server, hears="there", speaks="back", port=ports[1]) as far,
        connect(near, 1) as one,
        connect(far, 2) as other,
    ):
        greet(one, other)
        greet(other, one)
        yield one, other


def greet(speaker: KissLink, listener: KissLink) -> None:
    """Sound takes a moment to flow after the modems start."""
    deadline = time.monotonic() + 20
    speaker.send(b"hello")
    while not listener.receive(0.1):
        assert time.monotonic() < deadline
        if speaker.statistics.bytes_sent < 1000:
            time.sleep(0.5)
            speaker.send(b"hello")
    while listener.receive(1.5):
        pass


def test_an_over_by_radio(links: tuple[KissLink, KissLink]) -> None:
    near, far = links
    packets = [bytes([number, 0xC0, 0xDB]) * 12 for number in range(8)]
    heard: list[bytes] = []
    near.over(True)
    for packet in packets:
        assert near.send(packet)
        due = time.monotonic() + FRAMES_SECONDS
        while time.monotonic() < due:
            heard += far.receive(0.05)
    near.over(False)
    deadline = time.monotonic() + 8
    while len(heard) < len(packets) and time.monotonic() < deadline:
        heard += far.receive(0.1)
    assert heard == packets
    assert near.receive(0) == []
    assert far.send(b"and back")
    while not heard[len(packets) :] and time.monotonic() < deadline:
        heard += near.receive(0.1)
    assert heard[-1] == b"and back"
