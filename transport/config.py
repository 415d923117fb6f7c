"""Settings of the transport: pure data, checked when made.

Each class is a section of a configuration file. A value that cannot be used raises a
`ConfigError` that names section and field.
"""

from __future__ import annotations

from dataclasses import dataclass

from linkcodec.exceptions import ConfigError
from transport.linerate import Framing, capacity_bps

__all__ = ["ChannelConfig", "JitterConfig", "LinkConfig", "WireConfig", "parse_address"]

LINK_KINDS = ("loopback", "serial", "udp")
LOOPBACK_ADDRESS = "127.0.0.1:47200"
_MOST_DELAY_MS = 600_000


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also catches NaN
        raise ConfigError(f"{field} = {value} is not possible: use {low:g} to {high:g}")


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{field} = '{value}' is unknown: use one of {', '.join(choices)}")


def parse_address(text: str, field: str) -> tuple[str, int]:
    """Host and port of 'host:port' or '[v6 address]:port'.

    Raises:
        ConfigError: `text` has no host or no port of 0 to 65535; the text names `field`.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ConfigError(f"{field} = '{text}' is no address: write it as 127.0.0.1:5004")
    return host, int(port)


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """[link]: the way out of this machine.

    kind: "loopback" (UDP on 127.0.0.1 behind a simulated channel), "udp" or "serial".
    rate: bit/s of the line; with 8n1 framing the baud rate.
    framing: "sync", "8n1", "udp", "kiss" or "webrtc", see `transport.linerate.Framing`.
    bind, peer: where this end listens and where it sends to, as host:port.
    port: serial device. baud: its speed; 0 stands for `rate`.
    """

    kind: str
    rate: int
    framing: str
    bind: str = ""
    peer: str = ""
    port: str = ""
    baud: int = 0

    def __post_init__(self) -> None:
        _check_choice("link.kind", self.kind, LINK_KINDS)
        _check_choice("link.framing", self.framing, tuple(Framing))
        _check_range("link.rate", self.rate, 50, 1_000_000_000)
        if self.bind:
            parse_address(self.bind, "link.bind")
        if self.peer:
            parse_address(self.peer, "link.peer")
        if self.kind == "udp" and self.framing != Framing.UDP:
            raise ConfigError(f"link.framing = '{self.framing}' does not go with kind udp: use udp")
        if self.kind == "serial":
            self._check_serial()

    def _check_serial(self) -> None:
        framing = Framing(self.framing)
        if not framing.stream:
            raise ConfigError(
                f"link.framing = '{self.framing}' does not go with kind serial: use sync or 8n1"
            )
        _check_range("link.baud", self.baud, 0, 4_000_000)
        carried = capacity_bps(self.line_baud, Framing.ASYNC_8N1)
        needed = capacity_bps(self.rate, framing)
        if carried < needed:
            raise ConfigError(
                f"link.baud = {self.line_baud} carries {carried:g} bit/s, less than the "
                f"{needed:g} of the line: raise baud or lower rate"
            )

    @property
    def line_baud(self) -> int:
        """Baud rate to open the serial port with."""
        return self.baud or self.rate

    @property
    def address_to_bind(self) -> str:
        """`bind`, or the default of a loopback link; may be empty."""
        return self.bind or (LOOPBACK_ADDRESS if self.kind == "loopback" else "")

    @property
    def address_of_peer(self) -> str:
        """`peer`, or the default of a loopback link; may be empty."""
        return self.peer or (LOOPBACK_ADDRESS if self.kind == "loopback" else "")


@dataclass(frozen=True, kw_only=True)
class WireConfig:
    """[wire]: frames_per_packet is N, the number of 80 ms frames in a full packet."""

    frames_per_packet: int

    def __post_init__(self) -> None:
        _check_range("wire.frames_per_packet", self.frames_per_packet, 1, 100)


@dataclass(frozen=True, kw_only=True)
class ChannelConfig:
    """[channel]: what a simulated link does to packets.

    delay_ms: fixed propagation delay. jitter_ms: mean of an exponential delay on top.
    loss: share of packets lost, 0 to 1. burst: mean number of packets in a run of losses
    (Gilbert-Elliott model; 1 = independent losses). ber: share of bits inverted.
    loss_trace: text file of 0 and 1 per packet, instead of loss and burst.
    delay_trace: text file of milliseconds per packet, instead of delay_ms and jitter_ms.
    seed: of all random numbers.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    burst: float = 1.0
    ber: float = 0.0
    loss_trace: str = ""
    delay_trace: str = ""
    seed: int = 1

    def __post_init__(self) -> None:
        _check_range("channel.delay_ms", self.delay_ms, 0, _MOST_DELAY_MS)
        _check_range("channel.jitter_ms", self.jitter_ms, 0, _MOST_DELAY_MS)
        _check_range("channel.loss", self.loss, 0, 1)
        _check_range("channel.burst", self.burst, 1, 1_000_000)
        _check_range("channel.ber", self.ber, 0, 1)
        if 1 < self.burst < self.loss / max(1 - self.loss, 1e-9) and self.loss < 1:
            raise ConfigError(
                f"channel.burst = {self.burst:g} is too short for loss = {self.loss:g}: "
                f"use 1 (independent) or at least {self.loss / (1 - self.loss):.3g}"
            )


@dataclass(frozen=True, kw_only=True)
class JitterConfig:
    """[jitter_buffer]: how long packets may wait for those that are late.

    floor_ms, ceiling_ms: bounds of the delay beyond the fastest recent packet.
    quantile: share of recent packets that should come in time.
    history_seconds: how long a packet's delay is remembered.
    """

    floor_ms: float = 40.0
    ceiling_ms: float = 1000.0
    quantile: float = 0.95
    history_seconds: float = 30.0

    def __post_init__(self) -> None:
        _check_range("jitter_buffer.floor_ms", self.floor_ms, 0, 10_000)
        _check_range("jitter_buffer.ceiling_ms", self.ceiling_ms, 0, 10_000)
        _check_range("jitter_buffer.quantile", self.quantile, 0.5, 1)
        _check_range("jitter_buffer.history_seconds", self.history_seconds, 1, 600)
        if self.floor_ms > self.ceiling_ms:
            raise ConfigError(
                f"jitter_buffer.floor_ms = {self.floor_ms:g} is above ceiling_ms = "
                f"{self.ceiling_ms:g}: lower floor_ms or raise ceiling_ms"
            )
