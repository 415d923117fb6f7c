"""Serial links over pseudo-terminals; the far end is the terminal's master side."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial  # type: ignore[import-untyped]

from benchmarks.realpeers import Modem, PacedLine, Terminal
from linkcodec.exceptions import ConfigError, LinkError
from transport.chat import Script
from transport.config import LinkConfig, SerialConfig
from transport.framing import StreamDeframer, encode_stream
from transport.links import SerialLink, SerialSettings, open_link

DIAL = Script.parse("ABORT BUSY TIMEOUT 5 '' ATZ OK ATDT5551234 CONNECT", "chat")
ANSWER = Script.parse("TIMEOUT 0 RING ATA TIMEOUT 5 CONNECT", "chat")
HANG_UP = Script.parse(r"TIMEOUT 3 '' \p+++\p\c OK ATH OK", "hang_up")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path / "ttyRadio")
    yield terminal
    terminal.unplug()


@pytest.fixture
def link(terminal: Terminal) -> Iterator[SerialLink]:
    with SerialLink(SerialSettings(port=str(terminal.path), baud=9600)) as link:
        yield link


def read(terminal: Terminal, count: int) -> bytes:
    data = b""
    while len(data) < count:
        assert select.select([terminal.master], [], [], 5)[0], f"only {len(data)} bytes came"
        data += terminal.read(count - len(data))
    return data


def collect(link: SerialLink, count: int) -> bytes:
    data = b""
    deadline = time.monotonic() + 5
    while len(data) < count:
        assert time.monotonic() < deadline, f"only {len(data)} of {count} bytes came"
        data += b"".join(link.receive(0.5))
    return data


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_byte_goes_through_unchanged(terminal: Terminal, link: SerialLink) -> None:
    everything = bytes(range(256))
    assert link.send(everything)
    assert read(terminal, 256) == everything
    terminal.write(everything)
    assert collect(link, 256) == everything
    assert link.statistics.bytes_sent == link.statistics.bytes_received == 256
    assert not link.datagram
    assert not link.half_duplex
    assert link.receive(0) == []


def test_packets_in_both_directions(terminal: Terminal, link: SerialLink) -> None:
    deframer = StreamDeframer()
    sent = [bytes([i]) * (i + 1) for i in range(20)]
    received = []
    for packet in sent:
        assert link.send(encode_stream(packet))
        wire = read(terminal, len(packet) + 2)
        terminal.write(wire)
        received += deframer.push(collect(link, len(wire)))
    assert received == sent


def test_bytes_leave_as_the_line_carries_them(terminal: Terminal) -> None:
    """A modem of 1200 bit/s behind a port of 115200 baud; never two frames ahead of it."""
    settings = SerialSettings(port=str(terminal.path), baud=115_200, byte_seconds=8 / 1200)
    with SerialLink(settings) as link:
        start = time.monotonic()
        assert link.send(bytes(100))
        early = terminal.read(1000)
        assert len(early) == 24
        assert not link.send(b"too much"), "the first packet still takes longer than two frames"
        read(terminal, 100 - len(early))
        assert time.monotonic() - start >= 100 * 8 / 1200 - 0.16
        assert link.statistics.sends_dropped == 1


def test_what_was_sent_is_through_before_the_link_closes(terminal: Terminal) -> None:
    with SerialLink(SerialSettings(port=str(terminal.path), baud=1200)) as link:
        link.send(bytes(60))
    assert len(read(terminal, 60)) == 60


def test_vanished_port_is_opened_again(terminal: Terminal, link: SerialLink) -> None:
    link.send(b"before")
    assert read(terminal, 6) == b"before"
    terminal.unplug()
    wait_until(lambda: not link.up)
    assert not link.send(b"lost")
    assert link.receive(0.01) == []
    assert link.statistics.reopens == 0
    terminal.plug()
    wait_until(lambda: link.up)
    assert link.statistics.reopens == 1
    terminal.write(b"welcome")
    assert collect(link, 7) == b"welcome"
    link.send(b"back")
    assert read(terminal, 4) == b"back"


def test_vanished_port_is_noticed_when_sending(terminal: Terminal, link: SerialLink) -> None:
    terminal.unplug()
    assert not link.send(b"into the void")
    assert not link.up
    terminal.plug()


def test_vanished_port_is_noticed_when_receiving(terminal: Terminal, link: SerialLink) -> None:
    terminal.unplug()
    assert link.receive(5) == []
    assert not link.up
    terminal.plug()


def test_missing_port(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"cannot open serial port .*none: No such file"):
        SerialLink(SerialSettings(port=str(tmp_path / "none"), baud=9600))


def test_file_that_is_no_port(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(LinkError, match="cannot open serial port"):
        SerialLink(SerialSettings(port=str(path), baud=9600))


def test_closed_link_stays_closed(link: SerialLink) -> None:
    link.close()
    link.close()
    assert not link.send(b"x")
    assert link.receive(0) == []
    assert not link.up


def test_port_settings(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[dict[str, Any]] = []
    real = serial.Serial

    def note(**settings: Any) -> Any:
        opened.append(settings)
        return real(**{**settings, "rtscts": False})

    monkeypatch.setattr(serial, "Serial", note)
    config = LinkConfig(kind="serial", rate=1200, framing="8n1", port=str(terminal.path), baud=2400)
    with open_link(config, serial=SerialConfig(character="8E1", flow="rtscts")) as link:
        assert link.send(b"x")
    expected = {"baudrate": 2400, "parity": "E", "stopbits": 1, "rtscts": True, "timeout": 0}
    assert opened == [expected]


def test_a_character_that_takes_too_long() -> None:
    config = LinkConfig(kind="serial", rate=1200, framing="8n1", port="/dev/null")
    with pytest.raises(ConfigError, match=r"serial.character = '8E1' takes 11 bit times"):
        open_link(config, serial=SerialConfig(character="8E1"))


class KeyedPort(serial.Serial):  # type: ignore[misc]
    """A port that notes its RTS and DTR, which pseudo-terminals lack."""

    events: list[tuple[float, str, bool]]

    def _update_rts_state(self) -> None:
        self.events.append((time.monotonic(), "rts", self._rts_state))

    def _update_dtr_state(self) -> None:
        self.events.append((time.monotonic(), "dtr", self._dtr_state))


@pytest.mark.parametrize("key", ["rts", "dtr"])
@pytest.mark.parametrize("inverted", [False, True])
def test_push_to_talk(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, key: str, inverted: bool
) -> None:
    KeyedPort.events = []
    monkeypatch.setattr(serial, "Serial", KeyedPort)
    config = LinkConfig(kind="serial", rate=9600, framing="8n1", port=str(terminal.path), baud=9600)
    keyed = SerialConfig(ptt=key, ptt_inverted=inverted, ptt_lead_ms=150, ptt_tail_ms=100)
    with open_link(config, serial=keyed) as link:
        assert link.half_duplex
        released = [down for _, line, down in KeyedPort.events if line == key]
        assert released[-1] is inverted
        KeyedPort.events.clear()
        link.over(True)
        link.over(True)
        link.send(bytes(20))
        assert terminal.read(100) == b"", "not before the radio is ready"
        assert len(read(terminal, 20)) == 20
        sent_at = time.monotonic()
        time.sleep(0.3)
        (pressed_at, line, state) = KeyedPort.events[0]
        assert (line, state) == (key, not inverted)
        assert len(KeyedPort.events) == 1, "down as long as the over lasts"
        assert sent_at - pressed_at >= 0.15
        link.send(bytes(96))
        link.over(False)
        ended_at = time.monotonic()
        wait_until(lambda: len(KeyedPort.events) == 2)
        released_at, line, state = KeyedPort.events[1]
        assert (line, state) == (key, inverted)
        assert released_at - ended_at >= 0.1 + 0.09
        assert len(terminal.read(1000)) == 96


def test_an_over_is_not_cut_when_the_link_closes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    KeyedPort.events = []
    monkeypatch.setattr(serial, "Serial", KeyedPort)
    settings = SerialSettings(port=str(terminal.path), baud=1200, key="rts", lead=0.1, tail=0.05)
    with SerialLink(settings) as link:
        link.over(True)
        link.send(bytes(40))
    assert len(read(terminal, 40)) == 40
    keys = [(at, down) for at, line, down in KeyedPort.events if line == "rts"]
    pressed, released = keys[-2:]
    assert (pressed[1], released[1]) == (True, False)
    assert released[0] - pressed[0] >= 0.1 + 40 * 10 / 1200 + 0.05


def test_a_call_by_modem(tmp_path: Path) -> None:
    near, far = Modem.pair(tmp_path)
    with near, far:
        near.busy = 1
        answering = SerialLink(
            SerialSettings(port=str(far.port.path), baud=9600, chat=ANSWER, redial=0.1)
        )
        calling = SerialLink(
            SerialSettings(
                port=str(near.port.path), baud=9600, chat=DIAL, hang_up=HANG_UP, redial=1.0
            )
        )
        with answering, calling:
            assert not calling.send(b"nobody there yet")
            wait_until(lambda: bool(calling.trouble))
            assert calling.trouble == "no call: the modem said BUSY"
            wait_until(lambda: calling.up and answering.up)
            assert calling.trouble == ""
            assert calling.send(b"\0hello\0")
            assert collect(answering, 7) == b"\0hello\0"
            assert answering.send(b"\0yes\0")
            assert collect(calling, 5) == b"\0yes\0"
            near.hang_up()
            wait_until(lambda: not calling.receive(0.01) and not calling.up)
            assert calling.trouble == "the modem lost the carrier"
            wait_until(lambda: not answering.receive(0.01) and not answering.up)
            wait_until(lambda: calling.up and answering.up)
            calling.send(b"again")
            assert collect(answering, 5) == b"again"
        assert near.commands[-1] == "ATH"
        assert near.commands.count("ATDT5551234") == 3
        assert not near.connected
        assert not far.connected


def test_paced_line_is_as_slow_as_it_says(tmp_path: Path) -> None:
    with (
        PacedLine(tmp_path, baud=4800) as line,
        SerialLink(SerialSettings(port=str(line.near.path), baud=4800)) as near,
        SerialLink(SerialSettings(port=str(line.far.path), baud=4800)) as far,
    ):
        start = time.monotonic()
        near.send(bytes(240))
        collect(far, 240)
        assert time.monotonic() - start > 0.4
        descriptors = len(os.listdir("/proc/self/fd"))
        line.replug(line.near, after=0.1)
        wait_until(lambda: near.statistics.reopens == 1)
        near.send(b"back")
        assert collect(far, 4) == b"back"
        assert len(os.listdir("/proc/self/fd")) == descriptors
