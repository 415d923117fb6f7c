"""Data channels between two ends in this process, over the loopback interface."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import free_port

from linkcodec.exceptions import ConfigError, LinkError
from transport.config import LinkConfig, WebRtcConfig
from transport.links import Link, open_link
from transport.links.webrtc import DataChannelLink
from transport.signalling import FolderSignalling


def config(**addresses: str) -> LinkConfig:
    return LinkConfig(kind="webrtc", rate=16_000, framing="webrtc", **addresses)  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def collect(link: Link, count: int) -> list[bytes]:
    packets: list[bytes] = []
    deadline = time.monotonic() + 10
    while len(packets) < count:
        assert time.monotonic() < deadline, f"only {len(packets)} of {count} came"
        packets += link.receive(0.5)
    return packets


def test_sender_and_receiver_share_one_configuration() -> None:
    pytest.importorskip("aiortc", reason="aiortc is missing: install the extra webrtc")
    address = f"127.0.0.1:{free_port()}"
    both = config(bind=address, peer=address)
    with open_link(both, receives=False) as sender:
        assert not sender.send(b"nobody there yet")
        wait_until(lambda: sender.trouble.startswith(f"cannot call {address}"))
        with open_link(both, sends=False) as receiver:
            wait_until(lambda: sender.up and receiver.up)
            assert sender.trouble == ""
            assert sender.datagram
            packets = [bytes([number]) * 80 for number in range(20)]
            for packet in packets:
                assert sender.send(packet)
                time.sleep(0.01)
            assert sorted(collect(receiver, 20)) == packets
            assert receiver.send(b"and back")
            assert collect(sender, 1) == [b"and back"]
        # The receiver starts again: a new call finds it.
        with open_link(both, sends=False) as receiver:
            wait_until(lambda: sender.statistics.reopens == 1 and receiver.up)
            assert sender.send(b"again")
            assert collect(receiver, 1) == [b"again"]
    assert not sender.up
    assert not sender.send(b"closed")
    sender.close()


def test_folder(tmp_path: Path) -> None:
    pytest.importorskip("aiortc", reason="aiortc is missing: install the extra webrtc")
    settings = WebRtcConfig(signalling=str(tmp_path))
    with (
        open_link(config(), webrtc=settings, sends=False) as receiver,
        open_link(config(), webrtc=settings) as sender,
    ):
        wait_until(lambda: sender.up and receiver.up)
        assert sender.send(b"packet")
        assert collect(receiver, 1) == [b"packet"]


def test_port_in_use() -> None:
    pytest.importorskip("aiortc", reason="aiortc is missing: install the extra webrtc")
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(LinkError, match=r"cannot listen on 127\.0\.0\.1"),
    ):
        open_link(config(bind=f"127.0.0.1:{taken.getsockname()[1]}"))


@pytest.mark.parametrize(
    ("link", "webrtc", "sends", "text"),
    [
        (config(), WebRtcConfig(), True, "link.peer is missing"),
        (config(), WebRtcConfig(), False, "link.bind is missing"),
        (config(), WebRtcConfig(signalling="/no such"), True, "is no folder"),
        (config(bind="0.0.0.0:8080"), WebRtcConfig(), False, "webrtc.token is missing"),
    ],
)
def test_what_is_missing_is_named(
    link: LinkConfig, webrtc: WebRtcConfig, sends: bool, text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        open_link(link, webrtc=webrtc, sends=sends)


def test_without_aiortc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with pytest.raises(LinkError, match=r"pip install 'linkcodec\[webrtc\]'"):
        DataChannelLink(FolderSignalling(tmp_path), calls=True, name="x")
