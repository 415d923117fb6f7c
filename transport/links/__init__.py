"""Links: loopback, UDP, serial, and one in memory for tests."""

from __future__ import annotations

from linkcodec.exceptions import ConfigError
from transport.config import ChannelConfig, LinkConfig, parse_address
from transport.linerate import Framing
from transport.links.base import Link, LinkStatistics
from transport.links.loopback import LoopbackLink
from transport.links.memory import MemoryLink
from transport.links.serial import SerialLink
from transport.links.udp import UdpLink

__all__ = [
    "Link",
    "LinkStatistics",
    "LoopbackLink",
    "MemoryLink",
    "SerialLink",
    "UdpLink",
    "open_link",
]


def open_link(
    config: LinkConfig,
    *,
    channel: ChannelConfig | None = None,
    sends: bool = True,
    receives: bool = True,
) -> Link:
    """Open the link of a configuration.

    sends, receives: what this end will do. An end that only sends takes any free local port,
        so that sender and receiver can share one configuration on one machine.
    channel: what a loopback link does to packets; other links ignore it.

    Raises:
        ConfigError: a field that this end needs is missing.
        LinkError: the port or socket cannot be opened.
    """
    if config.kind == "serial":
        if not config.port:
            raise ConfigError("link.port is missing: name the serial device, such as /dev/ttyUSB0")
        return SerialLink(port=config.port, baud=config.line_baud)
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
