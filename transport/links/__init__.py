"""Links: loopback, UDP, serial, KISS, WebRTC data channel, and one in memory for tests."""

from __future__ import annotations

from linkcodec.exceptions import ConfigError
from transport.ax25 import Station
from transport.chat import Script
from transport.config import (
    ChannelConfig,
    KissConfig,
    LinkConfig,
    SerialConfig,
    StationConfig,
    WebRtcConfig,
    parse_address,
)
from transport.linerate import Framing
from transport.links.base import Link, LinkStatistics
from transport.links.kiss import KissLink, KissSettings
from transport.links.loopback import LoopbackLink
from transport.links.memory import MemoryLink
from transport.links.serial import SerialLink, SerialSettings
from transport.links.tcp import TcpLink
from transport.links.udp import UdpLink

__all__ = [
    "KissLink",
    "KissSettings",
    "Link",
    "LinkStatistics",
    "LoopbackLink",
    "MemoryLink",
    "SerialLink",
    "SerialSettings",
    "TcpLink",
    "UdpLink",
    "open_link",
]


def open_link(
    config: LinkConfig,
    *,
    channel: ChannelConfig | None = None,
    serial: SerialConfig | None = None,
    kiss: KissConfig | None = None,
    webrtc: WebRtcConfig | None = None,
    station: StationConfig | None = None,
    sends: bool = True,
    receives: bool = True,
) -> Link:
    """Open the link of a configuration.

    sends, receives: what this end will do. An end that only sends takes any free local port,
        so that sender and receiver can share one configuration on one machine.
    channel: what a loopback link does to packets. serial, kiss, webrtc, station: for links of
        these kinds, and the call sign; None stands for the defaults.

    Raises:
        ConfigError: a field that this end needs is missing.
        LinkError: the port or socket cannot be opened.
    """
    match config.kind:
        case "serial":
            return _open_serial(config, serial or SerialConfig())
        case "kiss":
            return _open_kiss(config, kiss or KissConfig(), station or StationConfig())
        case "webrtc":
            return _open_webrtc(config, webrtc or WebRtcConfig(), sends=sends)
    bind, peer = config.address_to_bind, config.address_of_peer
    if receives and not bind:
        raise ConfigError("link.bind is missing: say where to listen, such as 0.0.0.0:5004")
    if sends and not peer:
        raise ConfigError("link.peer is missing: say where to send to, such as 192.0.2.7:5004")
    udp = UdpLink(
        bind=parse_address(bind, "link.bind") if receives else None,
        peer=parse_address(peer, "link.peer") if sends else None,
    )
    if config.kind == "udp":
        return udp
    return LoopbackLink(
        udp,
        channel=channel or ChannelConfig(),
        rate=config.rate,
        framing=Framing(config.framing),
    )


def _open_serial(config: LinkConfig, serial: SerialConfig) -> SerialLink:
    if not config.port:
        raise ConfigError("link.port is missing: name the serial device, such as /dev/ttyUSB0")
    settings = SerialSettings(
        port=config.port,
        baud=config.line_baud,
        byte_seconds=Framing(config.framing).bit_times / config.rate,
        parity=serial.character[1],
        stop_bits=int(serial.character[2]),
        rtscts=serial.flow == "rtscts",
        key="" if serial.ptt == "none" else serial.ptt,
        key_inverted=serial.ptt_inverted,
        lead=serial.ptt_lead_ms / 1000.0,
        tail=serial.ptt_tail_ms / 1000.0,
        chat=Script.parse(serial.chat, "serial.chat") if serial.chat else None,
        hang_up=Script.parse(serial.hang_up, "serial.hang_up") if serial.hang_up else None,
        redial=serial.redial_seconds,
    )
    if settings.byte_seconds * settings.baud < settings.bits_per_byte - 1e-9:
        raise ConfigError(
            f"serial.character = '{serial.character}' takes {settings.bits_per_byte} bit times "
            f"per byte, too many for {config.rate} bit/s at {settings.baud} baud: raise link.baud"
        )
    return SerialLink(settings)


def _open_kiss(config: LinkConfig, kiss: KissConfig, station: StationConfig) -> KissLink:
    source = None
    if kiss.ax25:
        if not station.call_sign:
            raise ConfigError(
                "station.call_sign is missing: AX.25 frames carry it, such as N0CALL-7 "
                "(or set ax25 = false in [kiss])"
            )
        source = Station.parse(station.call_sign, "station.call_sign")
    settings = KissSettings(
        source=source,
        destination=Station.parse(kiss.destination, "kiss.destination"),
        port=kiss.port,
        tx_delay_ms=kiss.tx_delay_ms,
        tx_tail_ms=kiss.tx_tail_ms,
    )
    if config.port:
        if not config.baud:
            raise ConfigError("link.baud is missing: say the speed of the KISS modem's port")
        return KissLink(SerialLink(SerialSettings(port=config.port, baud=config.baud)), settings)
    if not config.peer:
        raise ConfigError(
            "link.peer is missing: name the KISS modem, such as 127.0.0.1:8001, or its serial "
            "device in link.port"
        )
    return KissLink(TcpLink(*parse_address(config.peer, "link.peer")), settings)


def _open_webrtc(config: LinkConfig, webrtc: WebRtcConfig, *, sends: bool) -> Link:
    # aiortc is an extra, and slow to import.
    from transport.links.webrtc import open_channel

    return open_channel(config, webrtc, sends=sends)
