"""The seam between speech and wire: what sends frames, and what makes events of bytes.

A `Transmitter` takes frames and silences with their media ticks and gives bytes for a link;
a `WireReceiver` takes bytes from a link and gives events. Each has a form for packets
(`transport.packet_stream`) and one for slots (`transport.slot_sender`,
`transport.slot_receiver`). No I/O, no clocks: `now` is the time in seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from linkcodec.exceptions import ConfigError
from linkcodec.frame import Frame, Silence
from transport.config import (
    AdaptationConfig,
    LinkConfig,
    SecurityConfig,
    StationConfig,
    WireConfig,
)
from transport.packet import (
    CODEC_NUMBERS,
    ByePacket,
    SilencePacket,
    VoicePacket,
    other_format,
)
from transport.security import ReceiverSecurity, SenderSecurity
from transport.statistics import RateMeter, ReceiverStatistics, SenderStatistics

__all__ = [
    "CodecLabel",
    "Departure",
    "LinkInformation",
    "LinkState",
    "ReceiverReport",
    "StationId",
    "TalkerKey",
    "TextMessage",
    "Transmitter",
    "WireEvent",
    "WireReceiver",
    "WireSetup",
    "open_transmitter",
    "open_wire_receiver",
]

_RATE_WINDOW: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class CodecLabel:
    """Which codec makes or takes the frames.

    name: for messages. number: `CODEC_NUMBERS`, 0 for any other codec. weights: short hash of
    the weights, 16 bits, 0 if not known. quantizers: indices per frame that the sender sends,
    or that the receiver can decode.
    """

    name: str
    version: int
    quantizers: int
    weights: int = 0

    @property
    def number(self) -> int:
        """Number of the codec on the wire."""
        return CODEC_NUMBERS.get(self.name, 0)


@dataclass(frozen=True, kw_only=True)
class WireSetup:
    """All that decides how frames become bytes; both ends of a call need the same.

    outgoing, incoming: security of what a sender sends or a receiver hears, unless security is off.
    pre_roll_frames: most frames that a talk spurt may begin before its first tick.
    """

    link: LinkConfig
    wire: WireConfig
    label: CodecLabel
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    station: StationConfig = field(default_factory=StationConfig)
    security: SecurityConfig = field(default_factory=SecurityConfig)
    outgoing: SenderSecurity | None = None
    incoming: ReceiverSecurity | None = None
    pre_roll_frames: int = 0

    @property
    def call_sign(self) -> str:
        """Call sign of this end, empty for none."""
        return self.station.call_sign


@dataclass(frozen=True, kw_only=True)
class Departure:
    """Bytes that go to the link now.

    data: as the link takes them: a datagram, or a stretch of a byte pipe (COBS already there).
    ticks: media ticks, unwrapped, of the frames that travel in it for the first time.
    wire_bits: bits on the wire, start and stop bits left out. line_bits: with them.
    keep_alive: it only says that the talker is still quiet; radios that take turns leave it out.
    """

    data: bytes
    ticks: range
    wire_bits: int
    line_bits: int
    keep_alive: bool = False


@dataclass(frozen=True, kw_only=True)
class TextMessage:
    """A short text that has arrived whole."""

    text: str


@dataclass(frozen=True, kw_only=True)
class StationId:
    """The sender's call sign."""

    call_sign: str


@dataclass(frozen=True, kw_only=True)
class TalkerKey:
    """A talker, 1 to 255, pressed the key (`down`) or released it."""

    talker: int
    down: bool


@dataclass(frozen=True, kw_only=True)
class LinkInformation:
    """What the sender says about itself: version of the wire format, and its codec.

    weights: 16-bit hash, 0 if not told. quantizers: indices per frame, 0 if not told.
    talker: number of the talker, 0 if not told.
    """

    format_version: int
    codec_number: int
    codec_version: int
    weights: int = 0
    quantizers: int = 0
    talker: int = 0


@dataclass(frozen=True, kw_only=True)
class ReceiverReport:
    """How the link does, as a receiver tells the sender.

    loss: share of the frames that did not come by themselves. residual: of those that did
    not come at all, redundancy included; both 0 to 1. burst: mean length of a run of losses,
    in packets or slots.
    """

    loss: float
    residual: float
    burst: float = 1.0


WireEvent = (
    VoicePacket
    | SilencePacket
    | ByePacket
    | TextMessage
    | StationId
    | TalkerKey
    | LinkInformation
    | ReceiverReport
)
"""What a receiver finds in bytes. Packets carry ticks modulo `transport.packet.TICKS`; those of
the first three go into the jitter buffer."""


class LinkState(Enum):
    """What a receiver thinks of the bytes that come."""

    HUNTING = "hunting"
    """Nothing makes sense yet, or any more."""
    LOCKED = "locked"
    """Packets or slots come, and their checks are good."""
    FLYWHEEL = "flywheel"
    """Slots are damaged, but their places are known from before."""


class Transmitter(ABC):
    """Frames and silences in, bytes for the link out, never faster than the line carries them.

    Ticks are unwrapped media time: frame t of the encoder has tick t. The caller gives every
    tick once, in order, as `voice` or `silence`; only the frames of a pre-roll come again, as
    voice, right before the first frame of the spurt that they belong to.

    statistics: what became of the frames that were handed over. wire, line: meters of the
    bits, start and stop bits left out or included.
    """

    statistics: SenderStatistics
    wire: RateMeter
    line: RateMeter

    @abstractmethod
    def voice(self, frame: Frame, *, tick: int, start: bool, end: bool, now: float) -> None:
        """Take a frame of a talk spurt; the first one has `start`, the last one `end`."""

    @abstractmethod
    def silence(self, background: Silence, *, tick: int, now: float) -> None:
        """The talker is quiet from `tick` on; called for every tick of a silence."""

    @abstractmethod
    def finish(self, *, tick: int, now: float) -> None:
        """The call ends at `tick`: send what is left, then say goodbye."""

    @abstractmethod
    def poll(self, now: float) -> list[Departure]:
        """What goes to the link now, at the pace of its line."""

    @abstractmethod
    def next_time(self) -> float | None:
        """When `poll` has something to give; None while nothing waits."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """True once the call has ended and everything has left."""

    @property
    @abstractmethod
    def idle_at(self) -> float:
        """When the line falls idle if nothing more comes; -inf if nothing was ever sent."""

    @property
    @abstractmethod
    def queued(self) -> int:
        """Packets or slots that wait for the line."""

    @abstractmethod
    def send_text(self, text: str, now: float) -> None:
        """Send a short text besides the speech; it arrives whole or not at all.

        Raises:
            ConfigError: the text is empty or too long.
        """

    def key(self, *, down: bool, tick: int, now: float) -> None:
        """The talker pressed or released the key at `tick`; told if `[station] talker` is set.

        Raises:
            ConfigError: the mode cannot tell it.
        """
        raise ConfigError(
            f"station.talker cannot be told here (key {'down' if down else 'up'} at tick {tick}, "
            f"{now:.1f} s): set it to 0, or wire.mode = 'packets'"
        )

    @abstractmethod
    def send_report(self, report: ReceiverReport, now: float) -> None:
        """Tell the far end how its own speech arrives here; replaces one that still waits."""

    @abstractmethod
    def take_report(self, report: ReceiverReport, now: float) -> None:
        """The far end says how this end's speech arrives."""


class WireReceiver(ABC):
    """Bytes from a link in, events out.

    statistics: counters, shared with the jitter buffer. state: what it thinks of the link.
    problem: in words, why speech cannot be played although it comes; empty while all is well.
    stranger: in words, why traffic was dropped that is not of a holder of the key, or that what is
    signed could not be checked.
    last_packet_at: when something valid came last.
    """

    statistics: ReceiverStatistics
    state: LinkState
    problem: str
    stranger: str
    last_packet_at: float | None

    def __init__(self, *, statistics: ReceiverStatistics | None = None) -> None:
        self.statistics = statistics if statistics is not None else ReceiverStatistics()
        self.state = LinkState.HUNTING
        self.problem = ""
        self.stranger = ""
        self.last_packet_at = None
        self._recent: deque[tuple[float, int]] = deque()

    @abstractmethod
    def receive(self, data: bytes, now: float) -> list[WireEvent]:
        """Take a datagram, or any number of bytes of a byte pipe, that came at `now`."""

    @abstractmethod
    def tick(self, now: float) -> list[WireEvent]:
        """Let time pass; to be called about once per frame. Gives what is due by itself."""

    @abstractmethod
    def report(self, now: float) -> ReceiverReport | None:
        """A report for the far end, if one is due."""

    @property
    def repair_delay(self) -> float:
        """Seconds after a frame's own packet or slot at which its repair comes, 0 without any."""
        return 0.0

    def wire_bps(self, now: float) -> float:
        """Bits per second that came in the last seconds, start and stop bits left out."""
        self._forget(now)
        return sum(bits for _, bits in self._recent) / _RATE_WINDOW

    def _note(self, wire_bits: int, now: float) -> None:
        """Something valid of so many bits came."""
        self.last_packet_at = now
        self._recent.append((now, wire_bits))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] <= now - _RATE_WINDOW:
            self._recent.popleft()


def check_label(information: LinkInformation, own: CodecLabel, format_version: int) -> str:
    """Why speech of this sender cannot be played, in one line; empty if it can."""
    if information.format_version != format_version:
        return other_format(information.format_version, format_version)
    names = {number: name for name, number in CODEC_NUMBERS.items()}
    theirs = names.get(information.codec_number, "an unknown codec")
    if (information.codec_number, information.codec_version) != (own.number, own.version):
        return (
            f"the sender uses {theirs} version {information.codec_version}, this receiver "
            f"{own.name} version {own.version}: set the same codec on both sides"
        )
    if information.weights and own.weights and information.weights != own.weights:
        return (
            f"the sender's weights of {own.name} are {information.weights:04x}, this "
            f"receiver's {own.weights:04x}: install the same weights on both sides"
        )
    if information.quantizers > own.quantizers:
        return (
            f"the sender's frames have {information.quantizers} codebooks, codec {own.name} "
            f"has {own.quantizers}: start both with the same codec"
        )
    return ""


def open_transmitter(
    setup: WireSetup, *, statistics: SenderStatistics | None = None
) -> Transmitter:
    """The transmitter for `[wire] mode`.

    Raises:
        ConfigError: the settings do not fit the link.
    """
    _check_security(setup.security, setup.outgoing)
    # The modes build on this module.
    if setup.wire.mode == "slots":
        from transport.slot_sender import SlotTransmitter

        return SlotTransmitter(setup, statistics=statistics)
    from transport.packet_stream import PacketTransmitter

    return PacketTransmitter(setup, statistics=statistics)


def open_wire_receiver(
    setup: WireSetup, *, datagram: bool, statistics: ReceiverStatistics | None = None
) -> WireReceiver:
    """The receiver for `[wire] mode`; `datagram` is True where `receive` gets whole datagrams.

    Raises:
        ConfigError: the settings do not fit the link.
    """
    _check_security(setup.security, setup.incoming)
    if setup.wire.mode == "slots":
        from transport.slot_receiver import SlotReceiver

        return SlotReceiver(setup, statistics=statistics)
    from transport.packet_stream import PacketReceiver

    return PacketReceiver(setup, datagram=datagram, statistics=statistics)


def _check_security(
    config: SecurityConfig, sessions: SenderSecurity | ReceiverSecurity | None
) -> None:
    """Never send or take speech in the clear by an oversight."""
    if (config.mode != "off") != (sessions is not None):
        raise ConfigError(
            f"security.mode = '{config.mode}' does not go with "
            f"{'no' if sessions is None else 'a'} key: set a mode other than off, and a key"
        )
