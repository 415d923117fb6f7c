from __future__ import annotations

import math
from typing import Any

import pytest

from linkcodec.exceptions import ConfigError
from transport.config import (
    AdaptationConfig,
    ChannelConfig,
    JitterConfig,
    LinkConfig,
    StationConfig,
    WireConfig,
    parse_address,
)


def link(**changes: Any) -> LinkConfig:
    return LinkConfig(**{"kind": "loopback", "rate": 1200, "framing": "sync", **changes})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "pigeon"}, "link.kind = 'pigeon'"),
        ({"framing": "slip"}, "link.framing = 'slip'"),
        ({"rate": 0}, "link.rate = 0"),
        ({"kind": "udp"}, "link.framing = 'sync'"),
        ({"kind": "serial", "framing": "udp"}, "link.framing = 'udp'"),
        ({"bind": "5004"}, "link.bind = '5004'"),
        ({"peer": "host:port"}, "link.peer = 'host:port'"),
        ({"kind": "serial", "port": "x", "baud": -1}, "link.baud = -1"),
        ({"kind": "serial", "port": "x"}, "link.baud = 1200 carries 960 bit/s"),
    ],
)
def test_link_errors_name_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        link(**changes)


def test_serial_line_with_a_faster_port() -> None:
    assert link(kind="serial", port="x", baud=9600).line_baud == 9600
    assert link(kind="serial", port="x", framing="8n1").line_baud == 1200


def test_loopback_has_default_addresses() -> None:
    assert link().address_to_bind == link().address_of_peer == "127.0.0.1:47200"
    assert link(peer="127.0.0.1:9").address_of_peer == "127.0.0.1:9"
    assert link(kind="udp", framing="udp").address_to_bind == ""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5004", ("127.0.0.1", 5004)),
        ("radio.example:1", ("radio.example", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, "link.bind") == address


@pytest.mark.parametrize("text", ["", "a", ":5", "a:", "a:-1", "a:65536", "a:²", "a:1x"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^link\.bind = "):
        parse_address(text, "link.bind")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mode": "pigeons"}, "wire.mode = 'pigeons'"),
        ({"redundancy": "rs"}, "wire.redundancy = 'rs'"),
        ({"redundant_books": 5}, "wire.redundant_books = 5"),
        ({"redundancy_distance": 0}, "wire.redundancy_distance = 0"),
        ({"redundancy": "copy", "frames_per_packet": 86}, "use 1 to 85"),
    ],
)
def test_redundancy_errors_name_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        WireConfig(**{"frames_per_packet": 4, **changes})


def test_what_redundancy_costs() -> None:
    assert WireConfig(frames_per_packet=4).parity_books == 0
    assert WireConfig(frames_per_packet=4).repair_ms == 0
    copy = WireConfig(frames_per_packet=4, redundancy="copy")
    assert (copy.parity_books, copy.distances, copy.repair_ms) == (2, (2,), 640)
    parity = WireConfig(frames_per_packet=4, redundancy="parity", redundant_books=1)
    assert (parity.parity_books, parity.distances, parity.repair_ms) == (1, (1, 3), 960)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"floor": 0}, "adaptation.floor"),
        ({"ceiling": 17}, "adaptation.ceiling"),
        ({"floor": 6, "ceiling": 5}, "adaptation.floor = 6 is above"),
        ({"report_seconds": 0}, "adaptation.report_seconds"),
        ({"patience_seconds": math.nan}, "adaptation.patience_seconds"),
    ],
)
def test_adaptation_errors_name_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        AdaptationConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"call_sign": "n0call"}, "station.call_sign = 'n0call'"),
        ({"call_sign": "TOOLONG/PM"}, "up to 9"),
        ({"talker": 256}, "station.talker"),
        ({"identify_seconds": 601}, "station.identify_seconds"),
        ({"text_copies": 0}, "station.text_copies"),
    ],
)
def test_station_errors_name_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        StationConfig(**changes)


@pytest.mark.parametrize("frames", [0, 101])
def test_wire_errors(frames: int) -> None:
    with pytest.raises(ConfigError, match=f"wire.frames_per_packet = {frames}"):
        WireConfig(frames_per_packet=frames)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"delay_ms": -1}, "channel.delay_ms"),
        ({"jitter_ms": math.nan}, "channel.jitter_ms"),
        ({"loss": 1.1}, "channel.loss"),
        ({"burst": 0.5}, "channel.burst"),
        ({"ber": -0.1}, "channel.ber"),
        ({"loss": 0.9, "burst": 2}, "channel.burst = 2 is too short.*at least 9"),
    ],
)
def test_channel_errors_name_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        ChannelConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"floor_ms": -1}, "jitter_buffer.floor_ms"),
        ({"ceiling_ms": 1e9}, "jitter_buffer.ceiling_ms"),
        ({"quantile": 0}, "jitter_buffer.quantile"),
        ({"history_seconds": 0}, "jitter_buffer.history_seconds"),
        ({"floor_ms": 300, "ceiling_ms": 200}, "jitter_buffer.floor_ms = 300 is above"),
    ],
)
def test_jitter_errors_name_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        JitterConfig(**changes)
