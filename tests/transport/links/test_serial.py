"""Serial links over pseudo-terminals; the far end is the terminal's master side."""

from __future__ import annotations

import os
import select
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from linkcodec.exceptions import LinkError
from transport.framing import StreamDeframer, encode_stream
from transport.links import SerialLink


class Terminal:
    """A pseudo-terminal behind a symbolic link, which stands for a device that can vanish."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plug()

    def plug(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path.symlink_to(os.ttyname(self.slave))

    def unplug(self) -> None:
        self.path.unlink()
        os.close(self.slave)
        os.close(self.master)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            assert select.select([self.master], [], [], 5)[0], f"only {len(data)} bytes came"
            data += os.read(self.master, count - len(data))
        return data

    def write(self, data: bytes) -> None:
        assert os.write(self.master, data) == len(data)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "ttyRadio")
    yield terminal
    terminal.unplug()


@pytest.fixture
def link(terminal: Terminal) -> Iterator[SerialLink]:
    with SerialLink(port=str(terminal.path), baud=9600) as link:
        yield link


def collect(link: SerialLink, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunks = link.receive(5)
        assert chunks, f"only {len(data)} of {count} bytes came"
        data += b"".join(chunks)
    return data


def test_every_byte_goes_through_unchanged(terminal: Terminal, link: SerialLink) -> None:
    everything = bytes(range(256))
    assert link.send(everything)
    assert terminal.read(256) == everything
    terminal.write(everything)
    assert collect(link, 256) == everything
    assert link.statistics.bytes_sent == link.statistics.bytes_received == 256
    assert not link.datagram
    assert link.receive(0) == []


def test_packets_over_a_pair(terminal: Terminal, link: SerialLink) -> None:
    """Two ports, with a wire between them."""
    with SerialLink(port=os.ttyname(terminal.slave), baud=9600) as same_end:
        assert same_end.up
    deframer = StreamDeframer()
    sent = [bytes([i]) * (i + 1) for i in range(50)]
    received = []
    for packet in sent:
        assert link.send(encode_stream(packet))
        wire = terminal.read(len(packet) + 2)
        terminal.write(wire)
        received += deframer.push(collect(link, len(wire)))
    assert received == sent


def test_backlog_is_bounded(link: SerialLink) -> None:
    """Nobody reads at the far end: after the kernel's buffer, packets are dropped whole."""
    accepted = [link.send(bytes(254)) for _ in range(2000)]
    assert accepted[0]
    assert not accepted[-1]
    assert link.statistics.sends_dropped == accepted.count(False)
    assert len(link._unsent) <= 512


def test_vanished_port_is_opened_again(terminal: Terminal, link: SerialLink) -> None:
    link.send(b"before")
    assert terminal.read(6) == b"before"
    terminal.unplug()
    deadline = time.monotonic() + 10
    while link.up and time.monotonic() < deadline:
        link.receive(0.01)
    assert not link.up
    while link.statistics.sends_dropped < 60 and time.monotonic() < deadline:
        assert not link.send(b"lost")  # also tries in vain to open the port
        time.sleep(0.01)
    assert link.statistics.reopens == 0
    terminal.plug()
    while not link.up and time.monotonic() < deadline:
        link.receive(0.05)
    assert link.up
    assert link.statistics.reopens == 1
    terminal.write(b"welcome")
    assert collect(link, 7) == b"welcome"
    link.send(b"back")
    assert terminal.read(4) == b"back"


def test_vanished_port_is_noticed_when_sending(terminal: Terminal, link: SerialLink) -> None:
    terminal.unplug()
    assert not link.send(b"into the void")
    assert not link.up
    terminal.plug()


def test_missing_port(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"cannot open serial port .*none: No such file"):
        SerialLink(port=str(tmp_path / "none"), baud=9600)


def test_file_that_is_no_port(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(LinkError, match="cannot open serial port"):
        SerialLink(port=str(path), baud=9600)


def test_closed_link_stays_closed(link: SerialLink) -> None:
    link.close()
    link.close()
    assert not link.send(b"x")
    assert link.receive(0) == []
    assert not link.up
