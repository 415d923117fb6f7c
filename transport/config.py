"""Settings of the transport: pure data, checked when made.

Each class is a section of a configuration file. A value that cannot be used raises a
`ConfigError` that names section and field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from linkcodec.exceptions import ConfigError
from transport.ax25 import Station
from transport.chat import Script
from transport.linerate import Framing, capacity_bps

__all__ = [
    "THIS_MACHINE",
    "AdaptationConfig",
    "ChannelConfig",
    "JitterConfig",
    "KissConfig",
    "LinkConfig",
    "SecurityConfig",
    "SerialConfig",
    "StationConfig",
    "WebRtcConfig",
    "WireConfig",
    "parse_address",
]

LINK_KINDS = ("kiss", "loopback", "serial", "udp", "webrtc")
WIRE_MODES = ("packets", "slots")
REDUNDANCIES = ("none", "copy", "parity")
THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
LOOPBACK_ADDRESS = "127.0.0.1:47200"
_MOST_DELAY_MS = 600_000
_SHORTEST_TOKEN = 12
_CALL_SIGN = re.compile("[A-Z0-9/-]{0,9}")


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

    kind: "loopback" (UDP on 127.0.0.1 behind a simulated channel), "udp", "serial", "kiss"
    (a radio modem, by `port` or by `peer`) or "webrtc" (a data channel).
    rate: bit/s of the line; with 8n1 framing the baud rate.
    framing: "sync", "8n1", "udp", "kiss" or "webrtc", see `transport.linerate.Framing`.
    bind, peer: where this end listens and where it sends to, as host:port; for kiss `peer` is
    the modem's TCP server.
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
        if self.kind in tuple(Framing) and self.framing != self.kind:
            raise ConfigError(
                f"link.framing = '{self.framing}' does not go with kind {self.kind}: "
                f"use {self.kind}"
            )
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
class SerialConfig:
    """[serial]: a port with more than two wires, and what is behind it.

    character: "8N1", or with parity "8E1", "8O1", or with two stop bits "8N2".
    flow: "none", or "rtscts" where the modem holds back by CTS.
    ptt: "none", or the line that keys a radio, "rts" or "dtr". ptt_inverted: it is keyed while
    the line is low. ptt_lead_ms, ptt_tail_ms: from the key to the first byte, and from the
    last byte to the key's release.
    chat, hang_up: dialogues that make and end a call, see `transport.chat`. redial_seconds:
    wait before the next try.
    """

    character: str = "8N1"
    flow: str = "none"
    ptt: str = "none"
    ptt_inverted: bool = False
    ptt_lead_ms: int = 200
    ptt_tail_ms: int = 50
    chat: str = ""
    hang_up: str = ""
    redial_seconds: float = 10.0

    def __post_init__(self) -> None:
        _check_choice("serial.character", self.character, ("8N1", "8E1", "8O1", "8N2"))
        _check_choice("serial.flow", self.flow, ("none", "rtscts"))
        _check_choice("serial.ptt", self.ptt, ("none", "rts", "dtr"))
        _check_range("serial.ptt_lead_ms", self.ptt_lead_ms, 0, 5000)
        _check_range("serial.ptt_tail_ms", self.ptt_tail_ms, 0, 5000)
        _check_range("serial.redial_seconds", self.redial_seconds, 1, 3600)
        Script.parse(self.chat, "serial.chat")
        Script.parse(self.hang_up, "serial.hang_up")
        if self.flow == "rtscts" and self.ptt == "rts":
            raise ConfigError("serial.ptt = 'rts' does not go with flow rtscts: use dtr")


@dataclass(frozen=True, kw_only=True)
class KissConfig:
    """[kiss]: a radio modem.

    ax25: packets travel in AX.25 frames from station.call_sign to `destination`, an address
    that all stations of the call share; False sends them bare, for modems that take any bytes.
    port: of a modem with several radios. tx_delay_ms, tx_tail_ms: how long the radio is
    keyed before and after the data; -1 leaves the modem's own values.
    """

    destination: str = "VOICE"
    ax25: bool = True
    port: int = 0
    tx_delay_ms: int = -1
    tx_tail_ms: int = -1

    def __post_init__(self) -> None:
        Station.parse(self.destination, "kiss.destination")
        _check_range("kiss.port", self.port, 0, 15)
        _check_range("kiss.tx_delay_ms", self.tx_delay_ms, -1, 2550)
        _check_range("kiss.tx_tail_ms", self.tx_tail_ms, -1, 2550)


@dataclass(frozen=True, kw_only=True)
class WebRtcConfig:
    """[webrtc]: how the two ends of a data channel find each other.

    signalling: "http" (the end with `bind` in [link] answers, the one with `peer` calls), or
    a folder that both see, or "-" for copy and paste.
    stun: server that tells this end its public address, such as "stun:stun.example.org:3478";
    empty within one network.
    token: secret of both ends, without which calls by HTTP are not taken; may be empty only
    where `bind` is an address of this machine alone.
    """

    signalling: str = "http"
    stun: str = ""
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.signalling:
            raise ConfigError("webrtc.signalling is empty: use http, a folder, or -")
        if self.token and len(self.token) < _SHORTEST_TOKEN:
            raise ConfigError(
                f"webrtc.token has {len(self.token)} letters: use at least {_SHORTEST_TOKEN}"
            )
        if self.stun and not self.stun.startswith(("stun:", "stuns:")):
            raise ConfigError(f"webrtc.stun = '{self.stun}' is no server: write stun:HOST:PORT")


@dataclass(frozen=True, kw_only=True)
class WireConfig:
    """[wire]: how frames become bytes.

    mode: "packets" for datagrams and byte pipes, "slots" for byte pipes only.
    frames_per_packet: N, the number of 80 ms frames in a full packet.
    redundancy: of packets; "copy" sends the first books of each packet again
    `redundancy_distance` packets later, "parity" combines those of the packets 1 and 3 before.
    redundant_books: number of first books that redundancy covers.
    interleaver_slots: slots over which the bits of each frame are spread; more survive longer
    bursts of errors and cost 80 ms each beyond the first.
    """

    frames_per_packet: int
    mode: str = "packets"
    redundancy: str = "none"
    redundant_books: int = 2
    redundancy_distance: int = 2
    interleaver_slots: int = 1

    def __post_init__(self) -> None:
        _check_choice("wire.mode", self.mode, WIRE_MODES)
        _check_choice("wire.redundancy", self.redundancy, REDUNDANCIES)
        _check_range("wire.frames_per_packet", self.frames_per_packet, 1, 100)
        _check_range("wire.redundant_books", self.redundant_books, 1, 4)
        _check_range("wire.redundancy_distance", self.redundancy_distance, 1, 3)
        _check_range("wire.interleaver_slots", self.interleaver_slots, 1, 8)
        if self.redundancy != "none" and self.frames_per_packet > 85:
            raise ConfigError(
                f"wire.frames_per_packet = {self.frames_per_packet} is too much for redundancy: "
                "use 1 to 85, or redundancy = 'none'"
            )

    @property
    def distances(self) -> tuple[int, ...]:
        """How many packets later redundancy comes; empty without any."""
        if self.redundancy == "none":
            return ()
        return (1, 3) if self.redundancy == "parity" else (self.redundancy_distance,)

    @property
    def repair_ms(self) -> float:
        """Milliseconds after a packet at which the last of its redundancy comes."""
        return 80.0 * self.frames_per_packet * max(self.distances, default=0)

    @property
    def parity_books(self) -> int:
        """Books that redundancy covers, 0 without any."""
        return 0 if self.redundancy == "none" else self.redundant_books


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """[adaptation]: how the sender follows what the receiver reports.

    enabled: without it, or without reports, the settings of the file stay.
    floor, ceiling: least and most codebooks per frame; a ceiling of 0 stands for
    codec.quantizers. report_seconds: time between the reports that this end sends.
    patience_seconds: how long a better link must last before it is used.
    half_duplex: reports wait for the next talk spurt of this end.
    """

    enabled: bool = False
    floor: int = 3
    ceiling: int = 0
    report_seconds: float = 5.0
    patience_seconds: float = 20.0
    half_duplex: bool = False

    def __post_init__(self) -> None:
        _check_range("adaptation.floor", self.floor, 1, 16)
        _check_range("adaptation.ceiling", self.ceiling, 0, 16)
        _check_range("adaptation.report_seconds", self.report_seconds, 1, 60)
        _check_range("adaptation.patience_seconds", self.patience_seconds, 1, 600)
        if self.ceiling and self.floor > self.ceiling:
            raise ConfigError(
                f"adaptation.floor = {self.floor} is above ceiling = {self.ceiling}: "
                "lower floor or raise ceiling"
            )


@dataclass(frozen=True, kw_only=True)
class StationConfig:
    """[station]: who sends.

    call_sign: sent at the start and the end of a call and every `identify_seconds`; empty for
    none. talker: number of the talker, 1 to 255; 0 tells none. text_copies: how often a text
    is sent, since nobody says whether it has come.
    """

    call_sign: str = ""
    identify_seconds: float = 540.0
    talker: int = 0
    text_copies: int = 2

    def __post_init__(self) -> None:
        if not _CALL_SIGN.fullmatch(self.call_sign):
            raise ConfigError(
                f"station.call_sign = '{self.call_sign}' is not possible: use up to 9 capital "
                "letters, digits, '/' and '-'"
            )
        _check_range("station.identify_seconds", self.identify_seconds, 10, 600)
        _check_range("station.talker", self.talker, 0, 255)
        _check_range("station.text_copies", self.text_copies, 1, 5)


@dataclass(frozen=True, kw_only=True)
class SecurityConfig:
    """[security]: who may listen and speak; see docs/security.md. Both ends set the same.

    mode: "off", "authenticated" (in the clear, signed) or "encrypted".
    key_file: file that `linkcodec key new` made; empty for the environment's LINKCODEC_KEY.
    tag_bytes: of the tag of each packet, an even number from 4 to 16.
    station: number of this end, 0 to 255; no two that send may have the same.
    announce_seconds: how often a sender tells its session to those who join; None for what
        `announce_every` chooses.
    rekey_minutes: how long a session's keys are used.
    state_dir: folder that keeps the newest session of each peer; empty for the user's own.
    """

    mode: str = "off"
    key_file: str = ""
    tag_bytes: int = 4
    station: int = 0
    announce_seconds: float | None = None
    rekey_minutes: float = 60.0
    state_dir: str = ""

    def __post_init__(self) -> None:
        _check_choice("security.mode", self.mode, ("off", "authenticated", "encrypted"))
        _check_range("security.station", self.station, 0, 255)
        if self.announce_seconds is not None:
            _check_range("security.announce_seconds", self.announce_seconds, 0.5, 60)
        _check_range("security.rekey_minutes", self.rekey_minutes, 1, 1440)
        if self.tag_bytes not in range(4, 17, 2):
            raise ConfigError(
                f"security.tag_bytes = {self.tag_bytes} is not possible: "
                "use 4, 6, 8, 10, 12, 14 or 16"
            )

    def announce_every(self, mode: str) -> float:
        """Seconds from one announcement to the next in a mode of [wire]; docs/security.md."""
        if self.announce_seconds is not None:
            return self.announce_seconds
        return 1.28 if mode == "slots" else 5.0


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
    history_seconds: how long a packet's delay is remembered; a quarter of it is enough to notice
        that jitter has become less.
    """

    floor_ms: float = 40.0
    ceiling_ms: float = 1000.0
    quantile: float = 0.95
    history_seconds: float = 120.0

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
