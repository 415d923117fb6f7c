"""KISS: the framing, and the link over a pipe that stands for the modem."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import ConfigError
from transport.ax25 import Station, UiFrame
from transport.config import KissConfig, LinkConfig, StationConfig
from transport.links import KissLink, KissSettings, MemoryLink, open_link
from transport.links.kiss import KissDeframer, encode_kiss

SETTINGS = KissSettings(source=Station("N0CALL", 1), destination=Station("VOICE"))


def test_bytes_of_a_frame() -> None:
    """The escapes of the specification."""
    assert encode_kiss(b"TEST") == bytes.fromhex("c0 00 54455354 c0")
    assert encode_kiss(b"\xc0\xdb", port=5) == bytes.fromhex("c0 50 dbdc dbdd c0")
    assert encode_kiss(b"\x1e", command=1) == bytes.fromhex("c0 01 1e c0")


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(1, 50))
def test_what_goes_in_comes_out(frames: list[bytes], step: int) -> None:
    stream = b"".join(map(encode_kiss, frames))
    deframer = KissDeframer()
    out = []
    for start in range(0, len(stream), step):
        out += deframer.push(stream[start : start + step])
    assert out == frames
    assert deframer.damaged == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=5000), max_size=4))
def test_any_bytes_in_bounded_memory(pieces: list[bytes]) -> None:
    deframer = KissDeframer()
    for piece in pieces:
        for frame in deframer.push(piece):
            assert len(frame) <= 1024
    assert len(deframer._partial) <= 2048


def test_damaged_frames_are_counted() -> None:
    deframer = KissDeframer()
    assert deframer.push(b"\xc0\x00a\xdbb\xc0\x00" + bytes(5000) + b"\xc0\x00b\xc0") == [b"b"]
    assert deframer.damaged == 2


def test_other_ports_and_answers_are_left_out() -> None:
    deframer = KissDeframer(port=1)
    stream = encode_kiss(b"a") + encode_kiss(b"b", port=1) + encode_kiss(b"c", port=1, command=6)
    assert deframer.push(stream) == [b"b"]


def test_packets_over_ax25() -> None:
    near, modem = MemoryLink.pair(datagram=False)
    link = KissLink(near, SETTINGS)
    packet = bytes(range(250))
    assert link.send(packet)
    stream = b"".join(modem.receive(0))
    (frame,) = KissDeframer().push(stream)
    assert UiFrame.parse(frame) == UiFrame(
        destination=Station("VOICE"), source=Station("N0CALL", 1), info=packet
    )
    modem.send(stream[:100])
    assert link.receive(0) == []
    modem.send(stream[100:])
    assert link.receive(0) == [packet]
    assert link.datagram
    assert link.half_duplex
    assert link.frames_ignored == 0


def test_other_stations_are_ignored() -> None:
    near, modem = MemoryLink.pair(datagram=False)
    link = KissLink(near, SETTINGS)
    beacon = UiFrame(destination=Station("APRS"), source=Station("N1ABC"), info=b"!beacon")
    modem.send(encode_kiss(beacon.serialise()) + encode_kiss(b"no AX.25"))
    assert link.receive(0) == []
    assert link.frames_ignored == 2


def test_bare_packets() -> None:
    near, modem = MemoryLink.pair(datagram=False)
    link = KissLink(near, KissSettings(source=None, destination=Station("VOICE")))
    link.send(b"voice")
    assert modem.receive(0) == [encode_kiss(b"voice")]
    modem.send(encode_kiss(b"more"))
    assert link.receive(0) == [b"more"]


def test_modem_is_told_again_after_it_came_back() -> None:
    near, modem = MemoryLink.pair(datagram=False)
    times = KissSettings(
        source=None, destination=Station("VOICE"), port=2, tx_delay_ms=255, tx_tail_ms=0
    )
    told = encode_kiss(b"\x1a", port=2, command=1) + encode_kiss(b"\0", port=2, command=4)
    link = KissLink(near, times)
    for _ in range(2):
        link.send(b"a")
    assert b"".join(modem.receive(0)) == told + 2 * encode_kiss(b"a", port=2)
    near.statistics.reopens += 1
    link.send(b"b")
    assert b"".join(modem.receive(0)) == told + encode_kiss(b"b", port=2)


def test_closing_lets_go_of_the_pipe() -> None:
    near, modem = MemoryLink.pair(datagram=False)
    link = KissLink(near, SETTINGS)
    assert link.up
    link.close()
    assert not link.up
    assert not modem.up


@pytest.mark.parametrize(
    ("changes", "station", "field"),
    [
        ({"peer": "127.0.0.1:8001"}, "", "station.call_sign is missing"),
        ({"peer": "127.0.0.1:8001"}, "N0/CALL", "station.call_sign = 'N0/CALL' is no call sign"),
        ({}, "N0CALL", "link.peer is missing"),
        ({"port": "/dev/ttyUSB0"}, "N0CALL", "link.baud is missing"),
    ],
)
def test_open_link_names_what_is_missing(changes: dict[str, str], station: str, field: str) -> None:
    config = LinkConfig(kind="kiss", rate=1200, framing="kiss", **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=field):
        open_link(config, kiss=KissConfig(), station=StationConfig(call_sign=station))
